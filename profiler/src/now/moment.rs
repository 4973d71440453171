//! One moment of a server: who is where.
//!
//! In: the snapshot and the threads of that moment, what looks saw before. Out: [`Moment`]: threads that are
//! at something, and requests that no thread is at. A line is that of a look in the same sleep, or of a
//! sample of the last moments; else there is none. Names in it are hostile input.

use std::collections::BTreeMap;

use profiler_core::event::Tid;
use profiler_core::fact::asleep::{AsleepSeen, SleepState};
use profiler_core::fact::place::{PlaceSeen, Whose};
use profiler_core::finding::threshold::Thresholds;
use profiler_core::model::Snapshot;
use profiler_core::model::now::{Now, RequestNow, ThreadNow};
use profiler_core::model::thread_state::ThreadState;
use profiler_core::server::Role;
use profiler_core::verdict;

use super::looked::Looked;
use crate::report::vocabulary::{self, Term};
use crate::report::{chain_words, document, verdict_words};

/// A sample of computing that is older says nothing of this moment.
const FRESH_NS: u64 = 200_000_000;

/// One moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// The server, in a line.
    pub server: String,
    /// When, since 1970.
    pub at_wall_ns: i64,
    /// For how long it was watched.
    pub watched_ns: u64,
    /// Threads that are at something, the longest first.
    pub threads: Vec<Busy>,
    /// Slots by configuration; `None`: not known.
    pub configured: Option<u32>,
    /// What a slot is called.
    pub noun: &'static str,
    /// Requests in flight that no thread is at, oldest first.
    pub waiting: Vec<Asked>,
    /// Further ones of which nobody has read a byte.
    pub unread: Unread,
    /// What a report on this short window would begin with; empty: nothing.
    pub verdict: String,
    /// Connections that wait to be accepted; `None`: not read.
    pub queued: Option<u64>,
}

/// A thread that is at something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busy {
    /// Process.
    pub tgid: Tid,
    /// Thread.
    pub tid: Tid,
    /// Its name.
    pub comm: String,
    /// What it works for.
    pub work: Work,
    /// What it does: a word of the vocabulary.
    pub state: &'static str,
    /// What it does, or waits for, in words.
    pub what: String,
    /// The system call that it is in; `None`: none.
    pub call: Option<&'static str>,
    /// How long it has slept, at least where that began before it was watched; `None`: it does not, or not
    /// known.
    pub slept_ns: Option<u64>,
    /// It has slept since before it was watched.
    pub since_before: bool,
    /// Where in Python it is.
    pub place: Option<PlaceSeen>,
    /// What its request waits for in the end, where that is not this thread's own wait.
    pub chain: Option<String>,
}

/// What a thread works for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// A request.
    Request(Asked),
    /// A request that began before it was watched, so that its head was not seen.
    Before,
    /// A request, and it is not known which: it began before it was watched, or a loop has several.
    Some,
    /// The application, beside requests.
    #[default]
    Beside,
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Method; empty: its head was not read.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// How long ago its first byte came, or it was first seen.
    pub for_ns: u64,
}

/// Requests that nobody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub count: u64,
    /// For how long the oldest has waited, as far as it was watched.
    pub longest_ns: u64,
}

impl Unread {
    /// What is open without a head, but for what is `listed` and for so many at which threads hang.
    fn of(snapshot: &Snapshot, listed: &[RequestNow], hung: u64) -> Self {
        let no_head = snapshot.by_endpoint.list.iter().filter(|endpoint| endpoint.method.is_empty());
        let open = no_head.map(|endpoint| &endpoint.open);
        let (count, longest_ns) = open.fold((0_u64, 0), |(count, longest_ns), open| {
            (count + open.count, open.longest_ns.max(longest_ns))
        });
        let known = listed.iter().filter(|request| request.method.is_empty()).count() as u64;
        Self { count: count.saturating_sub(known).saturating_sub(hung), longest_ns }
    }
}

/// What a report would begin with, where it names what is wrong.
fn verdict(snapshot: &Snapshot) -> String {
    let findings = verdict::findings(snapshot, &Thresholds::default());
    let said = verdict::of(snapshot, &findings);
    if !said.pattern.is_wrong() {
        return String::new();
    }
    verdict_words::sentence(snapshot, &findings, &said)
}

impl Asked {
    fn of(request: &RequestNow, at_ns: u64) -> Self {
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            for_ns: at_ns.saturating_sub(request.start_ns),
        }
    }
}

impl Moment {
    /// The moment of these looks.
    pub fn of(snapshot: &Snapshot, now: &Now, looked: &Looked, queued: Option<u64>) -> Self {
        let view = View { snapshot, now, looked };
        let works = |thread: &&ThreadNow| !view.is_master(thread.tgid);
        let mut threads: Vec<Busy> =
            now.threads.iter().filter(works).filter_map(|thread| view.busy(thread)).collect();
        let longest = |busy: &Busy| {
            let asked_ns = busy.asked().map_or(0, |asked| asked.for_ns);
            (busy.since_before, asked_ns.max(busy.slept_ns.unwrap_or(0)))
        };
        threads.sort_by_key(|busy| (std::cmp::Reverse(longest(busy)), busy.tgid, busy.tid));
        let is_at = |request: &&RequestNow| {
            now.threads.iter().any(|thread| {
                thread.state != ThreadState::Idle
                    && view.request(thread).is_some_and(|at| at.id == request.id)
            })
        };
        let waiting = now.requests.iter().filter(|request| !is_at(request));
        let hung = threads.iter().filter(|busy| busy.work == Work::Before).count() as u64;
        let kind = profiler_core::server::kind_named(&snapshot.server.name);
        Self {
            server: document::header::server_in_brief(snapshot),
            at_wall_ns: now.at_ns.cast_signed().saturating_add(snapshot.session.wall_clock_offset_ns),
            watched_ns: now.at_ns.saturating_sub(snapshot.window.start_ns),
            configured: snapshot.slots.configured,
            noun: kind.slot_noun(&snapshot.server),
            waiting: waiting.map(|request| Asked::of(request, now.at_ns)).collect(),
            unread: Unread::of(snapshot, &now.requests, hung),
            verdict: verdict(snapshot),
            threads,
            queued,
        }
    }
}

/// The application's lines at which threads are, by thread.
pub fn lines(snapshot: &Snapshot, now: &Now, looked: &Looked) -> BTreeMap<Tid, String> {
    let view = View { snapshot, now, looked };
    let line = |thread: &ThreadNow| Some((thread.tid, chain_words::own_lines_at(view.place(thread)?)?));
    now.threads.iter().filter_map(line).collect()
}

impl Busy {
    /// Its request, if its head was seen.
    pub const fn asked(&self) -> Option<&Asked> {
        match &self.work {
            Work::Request(asked) => Some(asked),
            Work::Before | Work::Some | Work::Beside => None,
        }
    }
}

/// What there is to look at.
struct View<'a> {
    snapshot: &'a Snapshot,
    now: &'a Now,
    looked: &'a Looked,
}

impl View<'_> {
    fn is_master(&self, tgid: Tid) -> bool {
        let process = self.snapshot.processes.iter().find(|process| process.tgid == tgid);
        process.is_some_and(|process| process.role == Role::Master.name())
    }

    /// The request that a thread is at.
    fn request(&self, thread: &ThreadNow) -> Option<&RequestNow> {
        let by_id = |id| self.now.requests.iter().find(|request| request.id == id);
        let by_thread = || self.now.requests.iter().find(|request| request.tid == Some(thread.tid));
        thread.request.and_then(by_id).or_else(by_thread)
    }

    /// The last look at a thread, if it is asleep still.
    fn look(&self, thread: &ThreadNow) -> Option<&AsleepSeen> {
        let is_awake = matches!(thread.state, ThreadState::Running | ThreadState::RunQueue);
        self.looked.asleep(thread.tid).filter(|seen| !is_awake && seen.tgid == thread.tgid)
    }

    fn place(&self, thread: &ThreadNow) -> Option<&PlaceSeen> {
        match self.look(thread) {
            Some(seen) => self.looked.place(seen.place),
            None => self.looked.computed(thread.tid, self.now.at_ns.saturating_sub(FRESH_NS)),
        }
    }

    /// What a thread is at; `None`: nothing of the application.
    fn busy(&self, thread: &ThreadNow) -> Option<Busy> {
        let look = self.look(thread);
        let since_before = look.is_some_and(|seen| seen.since_ns <= self.snapshot.window.start_ns);
        let place = self.place(thread);
        let owns = place.is_some_and(|place| has(place, Whose::Own));
        let request = self.request(thread).filter(|_| thread.state != ThreadState::Idle);
        let work = match request {
            Some(request) => Work::Request(Asked::of(request, self.now.at_ns)),
            None if !owns => return None,
            None if !place.is_some_and(PlaceSeen::is_in_request) => Work::Beside,
            None if since_before => Work::Before,
            None => Work::Some,
        };
        let slept_ns = match look {
            Some(_) if since_before => self.looked.not_run_ns(thread.tid),
            seen => seen.map(|seen| self.now.at_ns.saturating_sub(seen.since_ns)),
        };
        let term = term(thread, owns);
        Some(Busy {
            tgid: thread.tgid,
            tid: thread.tid,
            comm: thread.comm.clone(),
            work,
            state: term.name,
            what: self.what(thread, term, look),
            call: thread.call,
            slept_ns,
            since_before,
            place: place.cloned(),
            chain: request.and_then(|request| self.chain(request)),
        })
    }

    /// What it does, or waits for.
    fn what(&self, thread: &ThreadNow, term: Term, look: Option<&AsleepSeen>) -> String {
        let held = look.and_then(|seen| of_state(seen.state));
        let meaning = if term.name == ThreadState::Other.name() { "waiting" } else { term.meaning };
        let mut words = held.unwrap_or(meaning).to_owned();
        if let Some(object) = look.and_then(|seen| seen.object.as_ref()) {
            words.push_str(&format!(": {}", chain_words::of_object(object)));
        }
        if let Some(tracer) = look.and_then(|seen| seen.held_by.as_ref()) {
            words.push_str(&format!(", by {} {}", tracer.comm, tracer.tgid));
        }
        if thread.holder_tid > 0 {
            words.push_str(&format!(", which thread {} has", thread.holder_tid));
            let holder = self.now.threads.iter().find(|other| other.tid == thread.holder_tid);
            let at = holder.and_then(|holder| self.place(holder)).and_then(chain_words::own_lines_at);
            words.extend(at.map(|at| format!(" at {at}")));
        }
        words
    }

    /// What a request waits for in the end, where others stand between.
    fn chain(&self, request: &RequestNow) -> Option<String> {
        let chains = &self.snapshot.chains;
        let time = chains.of_request(request.id).filter(|time| !time.hops.is_empty())?;
        let mut words =
            format!("{}, by way of {}", chain_words::leaf(chains, time), chain_words::way(&time.hops));
        words.extend(chain_words::lines(chains, time.place).map(|lines| format!(", at {lines}")));
        Some(words)
    }
}

/// What a thread does. One that stands in the application's code waits for no work of the server's, whatever
/// its call is like.
fn term(thread: &ThreadNow, owns: bool) -> Term {
    match (thread.state, thread.call) {
        (ThreadState::Idle, Some("futex")) if owns => vocabulary::of_state(ThreadState::LockWait),
        (ThreadState::Idle, _) if owns => vocabulary::of_state(ThreadState::Other),
        _ => vocabulary::of_thread(thread),
    }
}

/// How a thread is held that does not wait in its call.
const fn of_state(state: SleepState) -> Option<&'static str> {
    match state {
        SleepState::Interruptible | SleepState::Uninterruptible => None,
        SleepState::Stopped => Some("stopped by a signal"),
        SleepState::Traced => Some("stopped by a tracer"),
        SleepState::Frozen => Some("frozen with its cgroup"),
        SleepState::MemoryHigh => Some("held, as its cgroup is above memory.high"),
        SleepState::MemoryMap => Some("waiting for the lock of its process's map of memory"),
        SleepState::PageFault => Some("waiting for a page of memory"),
    }
}

fn has(place: &PlaceSeen, whose: Whose) -> bool {
    place.frames.iter().any(|frame| frame.whose == whose)
}
