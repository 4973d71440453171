//! Loops of front ends that are traced with the server: who asks the server behind.
//!
//! In: scripts of a thread whose process stands before the server, or not. Out: assertions. Times are in
//! microseconds in the scripts.

use super::unattributed::{OTHER_BACKEND, last_two};
use super::*;

impl Script {
    /// Connects to the server behind, and sends the request once that is done.
    fn pass_on(self, fd: i32) -> Self {
        self.connect(fd).look(-1, 1, (0, 0, 30)).send(fd)
    }
}

/// A loop that has passed a request on one iteration after it had read that.
fn loop_of(is_front: bool) -> Script {
    let mut script = Script::new(1);
    let seen = ProcessSeen { tgid: script.tgid, front_end: is_front, ..ProcessSeen::default() };
    script.events.push(Event { time_ns: START, body: Body::Fact(Box::new(Fact::ProcessSeen(seen))) });
    let script = script.watch(LISTENER).look(-1, 1, (0, 0, 100)).accept(9, (1, 0, 0)).accept(10, (1, 0, 0));
    let came = script.now_ns;
    let script = script.watch(9).watch(10).read(9, GET, came, (1, 0, 0)).pass_on(BACKEND);
    script.look(-1, 1, (0, 0, 500)).receive(BACKEND).respond(9).look(-1, 1, (0, 0, 1000))
}

/// ```text
/// loop: read 9, ask A, look 400, recv a part of A, look (more is ready),
///       read 10, ask B, look 3 000, recv B, write 10, look 700, recv the rest of A, write 9
/// ```
#[test]
fn a_request_that_was_just_read_is_passed_on_and_none_that_has_a_part_of_its_answer() {
    for is_front in [true, false] {
        let script = loop_of(is_front);
        let came = script.now_ns;
        let script = script.read(9, GET, came, (1, 0, 0)).pass_on(BACKEND);
        let script = script.look(-1, 1, (0, 0, 400)).receive(BACKEND).look(-1, 1, (1, 0, 0));
        let came = script.now_ns;
        let script = script.read(10, GET, came, (1, 0, 0)).pass_on(OTHER_BACKEND);
        let script = script.look(-1, 1, (0, 0, 3000)).receive(OTHER_BACKEND).respond(10);
        let script = script.look(-1, 1, (0, 0, 700)).receive(BACKEND).respond(9).look(-1, 0, (0, 0, 10));
        let (second, _, report) = last_two(script);
        // asyncio may resume the other one first: what is not known is said.
        let expected = if is_front { (30 + 3000, 0) } else { (0, 3000) };
        let told = (us(&second, Phase::BackendWait), us(&second, Phase::Unexplained) / 1000 * 1000);
        assert_eq!(told, expected, "{is_front}: {:?}", second.phases);
        assert_eq!(report.back_ends_unknown == 0, is_front);
    }
}

/// ```text
/// loop: read 9, registers 9 for both (by its edges), ask A, look 400, recv a part of A, write 9, look 5 000,
///       recv the rest of A, write 9 (or: write 9)
/// ```
#[test]
fn who_is_always_told_of_its_client_s_room_waited_for_what_it_does_first() {
    const BOTH_EDGES: u32 = 1 | 4 | 1 << 31;
    let register = Call::EpollControl { epoll_fd: EPOLL, operation: 3, fd: 9, events: BOTH_EDGES };
    let head = b"HTTP/1.1 200 xx\r\nContent-Length: 1000\r\n\r\n";
    for is_server_s in [true, false] {
        let script = loop_of(true);
        let came = script.now_ns;
        let script = script.read(9, GET, came, (1, 0, 0)).call(register, 0, (0, 0, 0), 0).pass_on(BACKEND);
        let script = script.look(-1, 1, (0, 0, 400)).receive(BACKEND).write_head(9, head, (5, 0, 0));
        let script = script.write(9, 400, (5, 0, 0)).look(-1, 1, (0, 0, 5000));
        let script = if is_server_s { script.receive(BACKEND) } else { script };
        let (_, request, _) = last_two(script.write(9, 600, (5, 0, 0)).look(-1, 0, (0, 0, 10)));
        let told = [Phase::BackendWait, Phase::ClientWriteStall].map(|phase| us(&request, phase));
        let expected = if is_server_s { [30 + 400 + 5000, 0] } else { [30 + 400, 5000] };
        assert_eq!(told, expected, "{:?}", request.phases);
    }
}
