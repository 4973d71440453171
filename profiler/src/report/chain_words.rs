//! What a chain of waits ends at, and who is on the way there, in words.
//!
//! In: leaves, hops and names of endpoints and threads (hostile). Out: words for people, and the short forms
//! that the JSON report and the tables have of an object and a call.

mod place;
mod seen;
mod whereabouts;

use profiler_common::system_call;
use profiler_core::fact::asleep::ObjectSeen;
use profiler_core::fact::place::{PlaceSeen, PythonFrame};
use profiler_core::model::chain::{
    Chains, Held, Hops, Leaf, LeafKind, LeafTime, NotFollowed, Object, TakenBy, Unreleased,
};
use profiler_core::model::computed::line_of;
use profiler_core::verdict::Cause;

pub(crate) use self::whereabouts::{computed, was_in};

/// A kind of leaf in a few words.
pub(crate) const fn of_kind(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Computing => "computing",
        LeafKind::Spinning => "calls that return at once",
        LeafKind::Reading => "reading the request",
        LeafKind::Writing => "writing the response",
        LeafKind::BackEnd => "back end",
        LeafKind::NameServer => "name server",
        LeafKind::Client => "client",
        LeafKind::Child => "child process",
        LeafKind::File => "file",
        LeafKind::FileLock => "file lock",
        LeafKind::Pipe => "pipe",
        LeafKind::PageFault => "page faults",
        LeafKind::KernelLock => "lock inside the kernel",
        LeafKind::Sleep => "sleeping on purpose",
        LeafKind::StoodStill => "stood still",
        LeafKind::NotReleased => "lock, not released",
        LeafKind::CpuTaken => "CPU taken",
        LeafKind::NoThread => "nobody to serve it",
        LeafKind::Upgraded => "WebSocket or tunnel",
        LeafKind::Stream => "stream of events",
        LeafKind::FrontEnd => "front end",
        LeafKind::NotFollowed => "not followed",
    }
}

/// For whom threads worked.
pub(crate) fn worked_for(chains: &Chains, endpoint: u32, is_loop: bool) -> String {
    let otherwise = if is_loop { "on event loops" } else { "none, or not known" };
    chains.endpoint(endpoint).unwrap_or(otherwise).to_owned()
}

/// Why a chain was not followed, in a few words.
pub(crate) const fn of_reason(reason: NotFollowed) -> &'static str {
    match reason {
        NotFollowed::Short => "too short",
        NotFollowed::NotSeen => "not seen",
        NotFollowed::Forgotten => "too long ago",
        NotFollowed::Holder => "holder not known",
        NotFollowed::Waker => "waker not known",
        NotFollowed::Idle => "nobody was at it",
        NotFollowed::Acceptors => "acceptor not known",
        NotFollowed::TooDeep => "too many hops",
        NotFollowed::Circle => "leads to itself",
    }
}

const fn of_unreleased(unreleased: Unreleased) -> &'static str {
    match unreleased {
        Unreleased::Cycle => "cycle",
        Unreleased::NobodyCould => "lock nobody could release",
        Unreleased::Watched => "lock, not released while watched",
    }
}

/// What was waited for; `None`: not known, or there is nothing. Hostile input.
pub(crate) fn object(chains: &Chains, time: &LeafTime) -> Option<String> {
    if let Some(seen) = chains.seen(time) {
        return Some(seen::words(seen));
    }
    of_leaf(time.leaf.object)
}

fn of_leaf(object: Object) -> Option<String> {
    match object {
        Object::Unknown | Object::Named { .. } => None,
        Object::Peer { port: 0 } => Some("socket without port".to_owned()),
        Object::Peer { port } => Some(format!("port {port}")),
        Object::Descriptor { fd } => Some(format!("descriptor {fd}")),
        Object::Futex { address } => Some(format!("futex {address:#x}")),
        Object::Client => Some("client's connection".to_owned()),
        Object::Several => Some("several descriptors".to_owned()),
    }
}

/// How much of an object is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What it is, and who is at its other end.
    Short,
    /// In which state both are, and in which call, too.
    Full,
}

/// What is waited for in the end; `None`: not known, or no object is most of it. Hostile input.
pub(crate) fn object_of(chains: &Chains, cause: &Cause, length: Length) -> Option<String> {
    let seen = cause.seen.and_then(|number| chains.objects.get(number as usize));
    match (seen, length) {
        (Some(seen), Length::Short) => Some(seen::in_short(seen)),
        (Some(seen), Length::Full) => Some(seen::words(seen)),
        (None, _) => of_leaf(cause.object?),
    }
}

/// Name of the system call of the wait; `None`: none, or not known.
pub(crate) fn system_call(leaf: &Leaf) -> Option<&'static str> {
    u32::try_from(leaf.system_call).ok().map(system_call::name)
}

/// How a thread was held from outside.
const fn of_held(held: Held) -> &'static str {
    match held {
        Held::Stopped => "stopped by a signal",
        Held::Traced => "stopped by a tracer",
        Held::Frozen => "frozen",
        Held::MemoryHigh => "held by memory.high",
    }
}

/// Name of the program or the endpoint that had the CPU; `None`: it was neither, or is not known. Hostile
/// input.
pub(crate) fn taken_by(chains: &Chains, taken_by: TakenBy) -> Option<&str> {
    match taken_by {
        TakenBy::Request { endpoint } => chains.endpoint(endpoint),
        TakenBy::Program { number } => chains.programs.get(number as usize).map(String::as_str),
        TakenBy::Thread | TakenBy::Quota | TakenBy::Hypervisor => None,
    }
}

/// Who had the CPU. Hostile input.
fn of_taken(chains: &Chains, by: Option<TakenBy>) -> String {
    let name = by.and_then(|by| taken_by(chains, by)).filter(|name| !name.is_empty());
    match (by, name) {
        (None, _) => ", not known by whom".to_owned(),
        (Some(TakenBy::Program { .. }), Some(name)) => format!(" by the program {name}"),
        (Some(TakenBy::Program { .. }), None) => " by another program".to_owned(),
        (Some(TakenBy::Request { .. }), Some(name)) => format!(" by {name}"),
        (Some(TakenBy::Request { .. }), None) => " by a request".to_owned(),
        (Some(TakenBy::Thread), _) => " by the server's threads without a request".to_owned(),
        (Some(TakenBy::Quota), _) => " away by the quota".to_owned(),
        (Some(TakenBy::Hypervisor), _) => " by the hypervisor".to_owned(),
    }
}

/// What a leaf is: its kind, its object, its call. Hostile input.
pub(crate) fn leaf(chains: &Chains, time: &LeafTime) -> String {
    of_leaf_time(chains, time, Length::Full)
}

/// The same for a row of a table: of what has a name, the call says nothing more. Hostile input.
pub(crate) fn leaf_in_row(chains: &Chains, time: &LeafTime) -> String {
    of_leaf_time(chains, time, Length::Short)
}

fn of_leaf_time(chains: &Chains, time: &LeafTime, length: Length) -> String {
    let leaf = &time.leaf;
    let mut words = match (leaf.unreleased, leaf.reason) {
        (Some(unreleased), _) => of_unreleased(unreleased).to_owned(),
        (_, Some(reason)) => format!("{}: {}", of_kind(leaf.kind), of_reason(reason)),
        _ if time.is_collecting => "collecting garbage".to_owned(),
        _ => leaf.held.map_or(of_kind(leaf.kind), of_held).to_owned(),
    };
    let computes_in = system_call(leaf).filter(|_| leaf.kind == LeafKind::Computing);
    words.extend(computes_in.map(|call| format!(" in {call}")));
    let says_by_whom = leaf.taken_by.is_some() || length == Length::Full;
    if leaf.kind == LeafKind::CpuTaken && says_by_whom {
        words.push_str(&of_taken(chains, leaf.taken_by));
    }
    // A client is called so already, and the address of a lock says nothing to people.
    let is_said = matches!(leaf.object, Object::Client | Object::Futex { .. });
    let in_short = || chains.seen(time).map(seen::in_short).filter(|_| length == Length::Short);
    let object = in_short().or_else(|| object(chains, time)).filter(|_| !is_said);
    let at = if computes_in.is_some() { " at" } else { "" };
    words.extend(object.as_ref().map(|object| format!("{at} {object}")));
    // Sleeping on purpose says it all.
    let says_all = leaf.kind == LeafKind::Sleep || computes_in.is_some();
    let is_named = length == Length::Short && (is_said || object.is_some());
    if !says_all && !is_named {
        words.extend(system_call(leaf).map(|call| format!(" ({call})")));
    }
    if leaf.since_before {
        words.push_str(", since before the trace");
    }
    if time.is_shared_connection {
        words.push_str(", one connection in several processes");
    }
    words
}

/// The application's own lines at a place; `None`: they are not known, or there are none. Hostile input.
pub(crate) fn lines(chains: &Chains, number: Option<u32>) -> Option<String> {
    place::own_lines(chains.place(number)?)
}

/// The application's own lines at a place that is at hand. Hostile input.
pub(crate) fn own_lines_at(place: &PlaceSeen) -> Option<String> {
    place::own_lines(place)
}

/// A frame by its line. Hostile input.
pub(crate) fn frame_line(frame: &PythonFrame) -> String {
    place::line(frame)
}

/// What a look at a sleeping thread saw. Hostile input.
pub(crate) fn of_object(object: &ObjectSeen) -> String {
    seen::words(object)
}

/// The line by which a place is known: the application's innermost, or where it has no frame the innermost of
/// all. Hostile input.
pub(crate) fn line_at(chains: &Chains, number: u32) -> Option<String> {
    chains.place(Some(number)).and_then(line_of).map(place::line)
}

/// The application's innermost line at a place; `None`: it has none there. Hostile input.
pub(crate) fn own_line_at(chains: &Chains, number: u32) -> Option<String> {
    chains.place(Some(number))?.own().last().map(|frame| place::line(frame))
}

/// A lock, by the line where it is waited for; `None`: that line is not known. Hostile input.
pub(crate) fn lock(chains: &Chains, number: u32) -> Option<String> {
    chains.place(Some(number)).and_then(place::lock)
}

/// The application's line that led to the one of [`line_at`]; `None`: none did. Hostile input.
pub(crate) fn called_from(chains: &Chains, number: u32) -> Option<String> {
    let own = chains.place(Some(number))?.own();
    own.iter().rev().nth(1).map(|frame| place::line(frame))
}

/// Whose lines are shown, and what decided that; `None`: not known. Hostile input.
pub(crate) fn own_code(chains: &Chains) -> Option<String> {
    place::own_code(&chains.own)
}

/// What comes behind a duration: ` for back end port 5432 (recvfrom), by way of lock_wait, at shop/db.py:3
/// query`. Hostile input.
pub(crate) fn wait(chains: &Chains, time: &LeafTime) -> String {
    let before = if time.leaf.kind == LeafKind::NotFollowed { "," } else { " for" };
    let mut words = format!("{before} {}", leaf(chains, time));
    if !time.hops.is_empty() {
        words.push_str(&format!(", by way of {}", way(&time.hops)));
    }
    words.extend(lines(chains, time.place).map(|lines| format!(", at {lines}")));
    words
}

/// For whom the last of a chain worked: an endpoint, or else which thread that was; its name stands in the
/// example, as most have that of their program. Hostile input.
pub(crate) fn who(chains: &Chains, time: &LeafTime) -> Option<String> {
    if time.leaf.endpoint > 0 {
        return chains.endpoint(time.leaf.endpoint).map(str::to_owned);
    }
    let last = time.example.as_ref()?.hops.last().filter(|hop| hop.tid > 0)?;
    Some(format!("thread {}", last.tid))
}

/// The way to a leaf; empty: the request was there itself.
pub(crate) fn way(hops: &Hops) -> String {
    hops.iter().map(|hop| hop.name()).collect::<Vec<_>>().join(" > ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use profiler_core::model::chain::{ChainExample, ExampleHop};
    use profiler_core::phase::Phase;

    use super::*;

    fn time(leaf: Leaf) -> LeafTime {
        LeafTime {
            place: None,
            leaf,
            hops: Hops::NONE,
            held_ns: 1,
            unusual_ns: 0,
            prevented_ns: None,
            requests: 1,
            longest_ns: 1,
            victim: None,
            is_shared_connection: false,
            is_collecting: false,
            measured: profiler_core::model::independence::Independence::Unknown,
            seen: None,
            waited_at: None,
            example: None,
        }
    }

    #[test]
    fn no_two_kinds_reasons_or_grades_read_alike() {
        let kinds = LeafKind::ALL.map(of_kind).into_iter();
        let reasons = NotFollowed::ALL.map(of_reason).into_iter();
        let grades = Unreleased::ALL.map(of_unreleased).into_iter();
        let words: BTreeSet<&str> = kinds.chain(reasons).chain(grades).collect();
        assert_eq!(words.len(), LeafKind::COUNT + NotFollowed::COUNT + Unreleased::COUNT);
    }

    #[test]
    fn a_leaf_says_what_was_waited_for_in_which_call_and_why_it_is_no_further() {
        let recvfrom = i32::try_from(system_call::RECVFROM).unwrap();
        let futex = i32::try_from(system_call::FUTEX).unwrap();
        let back_end = Leaf {
            object: Object::Peer { port: 5432 },
            system_call: recvfrom,
            since_before: true,
            ..Leaf::of(LeafKind::BackEnd)
        };
        let lock = Leaf {
            object: Object::Futex { address: 0x7f00 },
            system_call: futex,
            unreleased: Some(Unreleased::NobodyCould),
            ..Leaf::of(LeafKind::NotReleased)
        };
        let client = Leaf { object: Object::Client, ..Leaf::of(LeafKind::Client) };
        let written = Leaf {
            object: Object::Descriptor { fd: 7 },
            system_call: system_call::WRITE.cast_signed(),
            ..Leaf::of(LeafKind::Computing)
        };
        let collecting = LeafTime { is_collecting: true, ..time(Leaf::of(LeafKind::Computing)) };
        let shared = LeafTime { is_shared_connection: true, ..time(Leaf::of(LeafKind::BackEnd)) };
        for (time, words) in [
            (time(back_end), "back end port 5432 (recvfrom), since before the trace"),
            (time(lock), "lock nobody could release (futex)"),
            (time(client), "client"),
            (time(written), "computing in write at descriptor 7"),
            (time(Leaf { system_call: futex, ..Leaf::of(LeafKind::Sleep) }), "sleeping on purpose"),
            (time(Leaf::not_followed(NotFollowed::Waker)), "not followed: waker not known"),
            (collecting, "collecting garbage"),
            (shared, "back end, one connection in several processes"),
        ] {
            assert_eq!(leaf(&Chains::default(), &time), words);
        }
        let chains = Chains::default();
        assert_eq!(object(&chains, &time(lock)).as_deref(), Some("futex 0x7f00"));
        assert_eq!(leaf_in_row(&chains, &time(back_end)), "back end port 5432, since before the trace");
        let nameless = Leaf { system_call: recvfrom, ..Leaf::of(LeafKind::BackEnd) };
        assert_eq!(leaf_in_row(&chains, &time(nameless)), "back end (recvfrom)");
        assert_eq!(leaf_in_row(&chains, &time(Leaf::of(LeafKind::CpuTaken))), "CPU taken");
    }

    #[test]
    fn who_had_the_cpu_is_said_as_far_as_it_is_known() {
        let chains = Chains {
            endpoints: vec![String::new(), "GET /a".to_owned()],
            programs: vec!["cc1".to_owned(), String::new()],
            ..Chains::default()
        };
        for (taken_by, words) in [
            (None, "CPU taken, not known by whom"),
            (Some(TakenBy::Request { endpoint: 1 }), "CPU taken by GET /a"),
            (Some(TakenBy::Request { endpoint: 0 }), "CPU taken by a request"),
            (Some(TakenBy::Thread), "CPU taken by the server's threads without a request"),
            (Some(TakenBy::Program { number: 0 }), "CPU taken by the program cc1"),
            (Some(TakenBy::Program { number: 1 }), "CPU taken by another program"),
            (Some(TakenBy::Quota), "CPU taken away by the quota"),
            (Some(TakenBy::Hypervisor), "CPU taken by the hypervisor"),
        ] {
            assert_eq!(leaf(&chains, &time(Leaf { taken_by, ..Leaf::of(LeafKind::CpuTaken) })), words);
        }
    }

    #[test]
    fn who_it_was_is_an_endpoint_or_else_the_last_thread_or_not_known() {
        let chains = Chains { endpoints: vec![String::new(), "GET /a".to_owned()], ..Chains::default() };
        let mut time = time(Leaf::of(LeafKind::Sleep));
        assert_eq!(who(&chains, &time), None);
        let hop = |tid, comm: &str| ExampleHop {
            place: None,
            tgid: 7,
            tid,
            comm: comm.to_owned(),
            endpoint: 0,
            phase: Phase::Sleep,
            start_ns: 0,
            end_ns: 1,
        };
        time.example = Some(ChainExample {
            request: 1,
            endpoint: 0,
            start_ns: 0,
            wait_ns: 1,
            hops: vec![hop(9, "pool")],
            candidates: Vec::new(),
        });
        assert_eq!(who(&chains, &time).as_deref(), Some("thread 9"));
        time.leaf.endpoint = 1;
        assert_eq!(who(&chains, &time).as_deref(), Some("GET /a"));
    }
}
