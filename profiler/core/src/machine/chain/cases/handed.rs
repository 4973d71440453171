//! Requests of a process whose threads were seen at requests, where nothing shows which one had them.
//!
//! In: what such threads did, a request that was handed on. Out: its leaves.

use super::*;

const READER: Tid = 2;

impl Case {
    /// A thread that serves waits for work, works, and waits for work again; a look saw it at a request.
    fn served(self, tid: Tid, (from_ms, until_ms): (u64, u64), did: Did) -> Self {
        let mut case = self.did(tid, from_ms, IDLE).did(tid, until_ms, did).did(tid, 200, IDLE);
        case.chain.histories.get_mut(tid).unwrap().serves_request();
        case.chain.handed.seen_at_request(PROCESS);
        case
    }

    /// The request is read at once, and answered at 100 ms; what was between is not known.
    fn was_handed_on(self) -> Vec<Found> {
        self.did(READER, 200, IDLE)
            .on(READER, (0, 1))
            .phase(Phase::Cpu, 1)
            .phase(Phase::Unexplained, 99)
            .leaves()
    }
}

fn back_end(port: u16, ms: u64) -> Found {
    (LeafKind::BackEnd, Object::Peer { port }, None, None, ms)
}

#[test]
fn a_request_was_with_the_thread_that_was_done_as_it_was_answered() {
    let case = Case::new().served(3, (2, 99), asks(80)).served(4, (2, 60), asks(81));
    assert_eq!(case.was_handed_on()[0], back_end(80, 97));
}

#[test]
fn who_was_done_long_before_or_began_before_the_request_had_it_not() {
    let unseen = |ms| (LeafKind::NotFollowed, Object::Unknown, None, Some(NotFollowed::NotSeen), ms);
    let case = Case::new().served(3, (20, 40), asks(80)).served(4, (20, 60), asks(81));
    assert_eq!(case.was_handed_on()[0], unseen(99));
    let mut case = Case::new();
    case.chain.handed.seen_at_request(PROCESS);
    assert_eq!(case.was_handed_on()[0], unseen(99), "no thread is known to serve");
}

#[test]
fn a_request_waits_for_a_thread_only_while_none_of_them_is_free() {
    let busy = Case::new().did(3, 200, asks(80)).of_pool(3).did(4, 200, asks(80)).of_pool(4);
    let mut busy = busy;
    busy.chain.handed.seen_at_request(PROCESS);
    let found = busy.was_handed_on();
    assert_eq!(found[0], back_end(80, 99));
    let mut free = Case::new().did(3, 200, asks(80)).of_pool(3).did(4, 200, IDLE).of_pool(4);
    free.chain.handed.seen_at_request(PROCESS);
    assert_eq!(free.was_handed_on()[0].3, Some(NotFollowed::NotSeen));
}

#[test]
fn a_loop_of_light_mode_that_answers_for_others_is_none_of_them() {
    let mut case = Case::new().served(3, (2, 99), asks(80)).did(READER, 200, IDLE).of_pool(READER);
    case.chain.histories.get_mut(READER).unwrap().polls = true;
    assert!(case.chain.dispatches(READER));
    let case = case.on(READER, (0, 100)).phase(Phase::Cpu, 1).phase(Phase::Unexplained, 99);
    assert_eq!(case.leaves()[0], back_end(80, 97));
}
