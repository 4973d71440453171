//! Loops on which a request passes through several tasks, one iteration each, before it does anything that
//! shows.
//!
//! In: scripts of a loop's thread. Out: assertions. Times are in microseconds in the scripts.

use super::*;

impl Script {
    /// An iteration in which tasks pass a request on.
    fn passes_on(self) -> Self {
        self.cpu(20).look(0, 0, (1, 0, 0))
    }
}

/// A loop that has answered so many requests that had it to themselves, each three iterations after it was
/// read.
fn loop_that_passes_on(seen: usize) -> Script {
    (0..seen).fold(loop_of_two(), |script, _| {
        let came = script.now_ns;
        let read = script.read(9, GET, came, (1, 0, 0)).look(0, 0, (1, 0, 0));
        read.passes_on().passes_on().cpu(20).respond(9).look(-1, 1, (0, 0, 1000))
    })
}

/// ```text
/// loop: (read 9, look, look, look, write 9) three times
///       read 10, look, read 9, look, python 500, write 10, look, python 20, look, python 40, write 9
///                                    `sleeps`: it sleeps in the look after that
///                                    `later`: one look more
/// ```
#[test]
fn who_first_does_something_as_many_iterations_after_it_was_read_as_others_that_were_alone_was_ready_since() {
    for (seen, sleeps, later, is_known) in
        [(3, false, false, true), (2, false, false, false), (3, true, false, false), (3, false, true, true)]
    {
        let script = loop_that_passes_on(seen);
        let second = script.now_ns;
        let script = script.read(10, GET, second, (1, 0, 0)).look(0, 0, (1, 0, 0));
        let first = script.now_ns;
        let script = script.read(9, GET, first, (1, 0, 0)).look(0, 0, (1, 0, 0)).cpu(500).respond(10);
        let script = if sleeps { script.look(-1, 1, (0, 0, 30)) } else { script.look(0, 0, (1, 0, 0)) };
        let script = if later { script.passes_on() } else { script };
        let script = script.passes_on().cpu(40).respond(9).look(-1, 0, (0, 0, 10));
        let (requests, _) = requests_of(script);
        let request = requests.iter().find(|request| request.times.start_ns == first).unwrap();
        let what = format!("{seen} {sleeps} {later}: {:?}", request.phases);
        assert_eq!(us(request, Phase::Cpu), 40, "{what}");
        if is_known {
            assert!((500..540).contains(&us(request, Phase::LoopWait)), "{what}");
            // In what is left of the iterations it may have run.
            assert!(us(request, Phase::Unexplained) <= 30, "{what}");
        } else {
            assert!(us(request, Phase::LoopWait) < 100, "{what}");
        }
    }
}
