//! uvloop: it reads all that is ready, runs all that this lets go on, and then sends what they wrote, in any
//! order.
//!
//! In: scripts of a loop's thread in whose process uvloop is loaded. Out: assertions. Times are in
//! microseconds in the scripts.

use super::*;
use ProcessSeen;

/// A loop of uvloop with two clients that it has served once, and two requests of theirs that it reads now,
/// with the moment at which both came.
fn reads_two() -> (Script, u64) {
    let mut script = loop_of_two();
    let mapped_files = vec!["uvloop".to_owned()];
    let seen = ProcessSeen { tgid: script.tgid, mapped_files, ..ProcessSeen::default() };
    script.events.push(Event { time_ns: START, body: Body::Fact(Box::new(Fact::ProcessSeen(seen))) });
    let came = script.now_ns;
    (script.read(9, GET, came, (1, 0, 0)).read(10, GET, came, (1, 0, 0)), came)
}

/// The requests that came at this moment, as they were answered.
fn of(script: Script, came: u64) -> Vec<Request> {
    let (requests, _) = requests_of(script.look(-1, 0, (0, 0, 10)));
    requests.into_iter().filter(|request| request.times.start_ns == came).collect()
}

/// ```text
/// loop: read 9, read 10, python 5000, write the one, write the other
/// ```
#[test]
fn who_of_those_read_has_run_before_the_first_answer_is_sent_is_not_known() {
    for [one, other] in [[9, 10], [10, 9]] {
        let (script, came) = reads_two();
        let requests = of(script.cpu(5000).respond(one).respond(other), came);
        assert_eq!(requests.len(), 2);
        for request in &requests {
            assert_eq!(us(request, Phase::Unexplained), 5000, "{one}: {request:?}");
            assert!(us(request, Phase::LoopWait) <= 20, "{one}: {request:?}");
        }
    }
}

/// ```text
/// loop: read 9, read 10, python 5000, write 10, look 20 000 (a timer), python 30, write 9
/// ```
#[test]
fn who_sleeps_after_an_iteration_in_which_others_ran_has_slept_only_since_its_end() {
    let (script, came) = reads_two();
    let script = script.cpu(5000).respond(10).look(20, 0, (1, 0, 20_000)).cpu(30).respond(9);
    let requests = of(script, came);
    let slept = requests.iter().max_by_key(|request| request.total_ns()).unwrap();
    assert_eq!(us(slept, Phase::Sleep), 20_000, "{slept:?}");
    assert_eq!(us(slept, Phase::Cpu), 30, "{slept:?}");
    assert_eq!(us(slept, Phase::Unexplained), 1 + 5000 + 10, "{slept:?}");
}

/// ```text
/// loop: read 9, python 5000, write 9
/// ```
#[test]
fn who_was_read_alone_has_run_until_its_answer_is_sent() {
    let (script, came) = reads_two();
    let script = script.respond(9).respond(10).look(-1, 1, (0, 0, 1000));
    let second = script.now_ns;
    assert!(second > came);
    let requests = of(script.read(9, GET, second, (1, 0, 0)).cpu(5000).respond(9), second);
    assert_eq!(us(&requests[0], Phase::Cpu), 5000, "{requests:?}");
    assert_eq!(us(&requests[0], Phase::Unexplained), 0, "{requests:?}");
}
