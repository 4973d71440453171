//! Streams that are kept, and what is given back of them.

use profiler_core::fact::asleep::AsleepSeen;
use profiler_core::fact::place::PlaceSeen;
use profiler_core::fact::{DescriptorSeen, InterpreterSeen, OpenSlice, ProcessSeen, SessionStarted};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn keep(seconds: u64, budget_bytes: usize) -> Kept {
    Kept::new(Keep { length: Duration::from_secs(seconds), budget_bytes })
}

fn mark(second: u64, emitted: u64) -> Mark {
    let counters =
        Counters { emitted: vec![("slice".to_owned(), emitted)], received: emitted, ..Counters::default() };
    let open = OpenSlice { tid: 7, system_call: Some(0), enter_ns: SECOND, ..OpenSlice::default() };
    let facts = vec![Fact::SessionStarted(SessionStarted::default()), Fact::OpenSlice(open)];
    Mark { time_ns: second * SECOND, counters, facts }
}

fn mark_at(kept: &mut Kept, second: u64, emitted: u64) {
    kept.mark(mark(second, emitted));
    kept.also_at_mark(Vec::new());
}

fn fact(kept: &mut Kept, second: u64, fact: Fact) {
    kept.fact(&FactRecord { time_ns: second * SECOND, fact });
}

/// All items of a copy that ends then: facts by their time in seconds, kernel records by their length.
fn written(kept: &mut Kept, second: u64) -> Vec<(u64, Fact)> {
    let bytes = kept.copy(second * SECOND, Vec::new()).unwrap().write().unwrap();
    let mut recording = Recording::from_reader(bytes.as_slice(), Path::new("x")).unwrap();
    let mut facts = Vec::new();
    while let Some(item) = recording.next_item() {
        if let Item::Fact(record) = item {
            facts.push((record.time_ns / SECOND, record.fact));
        }
    }
    assert!(recording.summary().is_complete());
    facts
}

fn ticks(facts: &[(u64, Fact)]) -> Vec<u64> {
    let ticks = facts.iter().filter(|(_, fact)| *fact == Fact::Tick);
    ticks.map(|(second, _)| *second).collect()
}

#[test]
fn what_is_older_goes_and_the_rest_begins_with_a_mark() {
    let mut kept = keep(8, usize::MAX);
    assert!(kept.is_due(0), "nothing is there yet");
    for second in 0..30 {
        if kept.is_due(second * SECOND) {
            mark_at(&mut kept, second, second);
        }
        fact(&mut kept, second, Fact::Tick);
    }
    let facts = written(&mut kept, 30);
    let first = facts.iter().position(|(_, fact)| *fact == Fact::WindowStarted).unwrap();
    assert_eq!(facts[first].0, 20);
    assert_eq!(ticks(&facts), (20..30).collect::<Vec<_>>());
    assert!(matches!(facts[0].1, Fact::SessionStarted(_)));
    assert_eq!(facts.last().unwrap().1, Fact::WindowEnded { reason: EndReason::StillOpen });
    assert_eq!(kept.held(30 * SECOND).length_ns, 10 * SECOND);
}

#[test]
fn the_budget_holds_however_much_comes() {
    let mut kept = keep(3_600, 100_000);
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for second in 0..2_000 {
        if kept.is_due(second * SECOND) {
            mark_at(&mut kept, second, second);
        }
        // Does not compress.
        kept.kernel(&(0..1_000).map(|_| noise()).collect::<Vec<_>>());
        let copy = kept.copy(second * SECOND, Vec::new());
        assert!(copy.is_some());
    }
    let held = kept.held(2_000 * SECOND);
    assert!(held.bytes <= 110_000 && held.length_ns < 300 * SECOND, "{held:?}");
}

#[test]
fn what_was_learned_before_is_in_it_once_and_the_windows_of_the_session_are_not() {
    let mut kept = keep(4, usize::MAX);
    mark_at(&mut kept, 0, 0);
    let place = Fact::PlaceSeen(PlaceSeen { number: 3, ..PlaceSeen::default() });
    let look = |tid, since_ns| Fact::AsleepSeen(AsleepSeen { tid, since_ns, ..AsleepSeen::default() });
    fact(&mut kept, 1, place.clone());
    fact(&mut kept, 1, look(7, SECOND));
    fact(&mut kept, 1, look(8, SECOND));
    for second in [5, 10, 15] {
        mark_at(&mut kept, second, 100);
    }
    for of_windows in [Fact::WindowRolled, Fact::OpenSlice(OpenSlice::default())] {
        fact(&mut kept, 16, of_windows);
    }
    // One that came later is no look of the beginning.
    fact(&mut kept, 16, look(7, 16 * SECOND));
    fact(&mut kept, 16, Fact::Counters(Counters { received: 130, ..Counters::default() }));
    let facts = written(&mut kept, 17);
    let count = |wanted: &Fact| facts.iter().filter(|(_, fact)| fact == wanted).count();
    assert_eq!(count(&place), 1);
    assert_eq!(count(&look(7, SECOND)), 1, "it sleeps still");
    assert_eq!(count(&look(8, SECOND)), 0, "nothing says so");
    assert_eq!(count(&Fact::WindowRolled), 0);
    assert_eq!(facts.iter().filter(|(_, fact)| matches!(fact, Fact::OpenSlice(_))).count(), 1);
    let counters: Vec<u64> = facts
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::Counters(counters) => Some(counters.received),
            _ => None,
        })
        .collect();
    assert_eq!(counters, [30], "since its beginning");
}

#[test]
fn a_connection_that_was_open_at_the_beginning_is_in_it_as_one_that_was_found() {
    let mut kept = keep(4, usize::MAX);
    mark_at(&mut kept, 0, 0);
    let header = RecordHeader { time_ns: SECOND, kind: KIND_CONNECTION, tgid: 5, ..RecordHeader::default() };
    let accepted = |fd| ConnectionRecord { header, fd, listener_fd: 3, ..ConnectionRecord::default() };
    for fd in [8, 9] {
        kept.kernel(accepted(fd).as_bytes());
    }
    for second in [5, 10, 15] {
        kept.mark(mark(second, 0));
        let class = DescriptorClass::Client;
        let (interest, interest_events) = <_>::default();
        let open =
            DescriptorSeen { tgid: 5, fd: 9, class, interest, interest_events, shared: false, local_port: 0 };
        kept.also_at_mark(vec![Fact::DescriptorSeen(open)]);
    }
    let late = ConnectionRecord { header: RecordHeader { time_ns: 18 * SECOND, ..header }, ..accepted(11) };
    kept.kernel(late.as_bytes());
    let bytes = kept.copy(17 * SECOND, Vec::new()).unwrap().write().unwrap();
    let mut recording = Recording::from_reader(bytes.as_slice(), Path::new("x")).unwrap();
    let mut found = Vec::new();
    while let Some(item) = recording.next_item() {
        if let Item::Kernel(record) = item {
            let (connection, _) = ConnectionRecord::read_from_prefix(record).unwrap();
            found.push((connection.header.time_ns / SECOND, connection.fd, connection.origin));
        }
    }
    assert_eq!(found, [(10, 9, SEEDED)]);
}

#[test]
fn of_processes_that_are_gone_nothing_is_remembered() {
    let mut kept = keep(4, usize::MAX);
    mark_at(&mut kept, 0, 0);
    for tgid in [5, 6] {
        fact(&mut kept, 1, Fact::InterpreterSeen(InterpreterSeen { tgid, ..InterpreterSeen::default() }));
    }
    kept.mark(mark(2, 0));
    kept.also_at_mark(vec![Fact::ProcessSeen(ProcessSeen { tgid: 6, ..ProcessSeen::default() })]);
    let is_interpreter = |fact: &Fact| matches!(fact, Fact::InterpreterSeen(_));
    assert_eq!(kept.learned.values().filter(|fact| is_interpreter(fact)).count(), 1);
}

#[test]
fn of_nothing_there_is_no_copy() {
    assert!(keep(60, 1).copy(SECOND, Vec::new()).is_none());
}
