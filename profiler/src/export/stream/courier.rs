//! The way from a session to the writing of its rows, without ever holding the session up.
//!
//! In: facts, entries and windows, on the session's thread. Out: all of it on a thread of its own, which
//! writes. Between the two stands a queue with a bound. When writing is behind for longer than the queue
//! lasts, requests are left out and counted, in [`Totals`] and in their window's row.

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use profiler_core::fact::Fact;
use profiler_core::model::Snapshot;
use profiler_core::model::request::{OnGil, Request};
use profiler_core::timeline::Entry;

use super::super::ExportError;
use super::super::rows::is_row;
use super::{Here, Settings, Stream, Surroundings, Totals};
use crate::session::known::Known;
use crate::source::live::clock::monotonic_ns;

/// Entries that wait to be written.
const MAX_ENTRIES: usize = 8_192;
/// Entries that are passed on together: whoever writes is woken once for so many.
const ENTRIES_AT_ONCE: usize = 256;
/// Snapshots of windows that wait.
const MAX_SNAPSHOTS: usize = 8;

/// What goes through the queue.
enum Message {
    Begin { known: Box<Known>, began_ns: u64 },
    Entries(Vec<Entry>),
    Roll,
    Window(Ending),
    End(Ending),
}

/// The end of a window.
struct Ending {
    /// `None`: it had to be left out.
    snapshot: Option<Box<Snapshot>>,
    /// Requests of it that were left out.
    not_written: u64,
}

/// The session's end of it.
pub struct Courier {
    queue: Mutex<Sending>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the session's thread knows.
struct Sending {
    /// `None` once it is over.
    sender: Option<Sender<Message>>,
    /// Entries that are not passed on yet: nothing is seen of them before their window ends.
    entries: Vec<Entry>,
    /// Facts before the run begins, and when the first came.
    known: Option<(Box<Known>, u64)>,
    /// Requests that were left out since the window before.
    not_written: u64,
}

#[derive(Default)]
struct Shared {
    totals: Mutex<Totals>,
    requests_behind: AtomicU64,
    windows_behind: AtomicU64,
    entries_waiting: AtomicUsize,
    snapshots_waiting: AtomicUsize,
    is_full: AtomicBool,
}

impl Courier {
    /// Begins: the directory is looked at now, nothing is written before there is something.
    ///
    /// # Errors
    /// If nothing can be written in the directory, or no thread can be started.
    pub fn start(settings: Settings) -> Result<Self, ExportError> {
        Self::with(settings, Box::new(Here))
    }

    fn with(settings: Settings, surroundings: Box<dyn Surroundings>) -> Result<Self, ExportError> {
        let path = settings.to.clone();
        let stream = Stream::open(settings, surroundings)?;
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared { totals: Mutex::new(stream.totals.clone()), ..Shared::default() });
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("parquet".to_owned())
            .spawn(move || write(stream, &receiver, &writer))
            .map_err(|source| ExportError::Write { path, source })?;
        let queue = Sending { sender: Some(sender), entries: Vec::new(), known: None, not_written: 0 };
        Ok(Self { queue: Mutex::new(queue), shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a fact, before what it changes: the rows of a run begin with its first window.
    pub fn note(&self, fact: &Fact) {
        let mut queue = lock(&self.queue);
        if matches!(fact, Fact::SessionStarted(_)) {
            queue.known = Some((Box::new(Known::nothing()), monotonic_ns()));
        }
        let Some((known, _)) = &mut queue.known else { return };
        known.note(fact);
        if matches!(fact, Fact::WindowStarted)
            && let Some((known, began_ns)) = queue.known.take()
        {
            queue.send(Message::Begin { known, began_ns });
        }
    }

    /// Takes an entry.
    pub fn entry(&self, entry: &Entry) {
        if !is_row(entry) {
            return;
        }
        let mut queue = lock(&self.queue);
        if self.shared.entries_waiting.load(Ordering::Acquire) < MAX_ENTRIES {
            self.shared.entries_waiting.fetch_add(1, Ordering::AcqRel);
            queue.entries.push(without_what_has_no_column(entry));
            if queue.entries.len() >= ENTRIES_AT_ONCE {
                queue.pass_on();
            }
        } else if matches!(entry, Entry::Request(_)) {
            // A connection that is left out is counted in its window all the same.
            queue.not_written = queue.not_written.saturating_add(1);
            self.shared.requests_behind.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The window was ended; its snapshot comes soon.
    pub fn roll(&self) {
        lock(&self.queue).send(Message::Roll);
    }

    /// Takes the snapshot of the window that was ended.
    pub fn window(&self, snapshot: &Snapshot) {
        self.ending(snapshot, Message::Window);
    }

    /// Takes the last window of a run.
    pub fn end(&self, snapshot: &Snapshot) {
        self.ending(snapshot, Message::End);
    }

    fn ending(&self, snapshot: &Snapshot, kind: fn(Ending) -> Message) {
        let mut queue = lock(&self.queue);
        let not_written = std::mem::take(&mut queue.not_written);
        let has_room = self.shared.snapshots_waiting.load(Ordering::Acquire) < MAX_SNAPSHOTS;
        if has_room {
            self.shared.snapshots_waiting.fetch_add(1, Ordering::AcqRel);
        } else {
            self.shared.windows_behind.fetch_add(1, Ordering::Relaxed);
        }
        let snapshot = has_room.then(|| Box::new(snapshot.clone()));
        queue.send(kind(Ending { snapshot, not_written }));
    }

    /// Whether the window should end now, as its files are full: says so once for each set of files.
    pub fn take_full(&self) -> bool {
        self.shared.is_full.swap(false, Ordering::AcqRel)
    }

    /// What became of the requests so far.
    pub fn totals(&self) -> Totals {
        let requests_behind = self.shared.requests_behind.load(Ordering::Relaxed);
        let windows_behind = self.shared.windows_behind.load(Ordering::Relaxed);
        Totals { requests_behind, windows_behind, ..lock(&self.shared.totals).clone() }
    }

    /// Nothing more comes: what waits is written.
    pub fn finish(&self) -> Totals {
        {
            let mut queue = lock(&self.queue);
            queue.pass_on();
            queue.sender = None;
        }
        if let Some(thread) = lock(&self.thread).take() {
            // The thread does not panic; if it did, what it has not written is not in the totals.
            let _ = thread.join();
        }
        self.totals()
    }
}

/// A copy of it. Stretches and holders of the lock have no column: the session's thread does not copy them.
fn without_what_has_no_column(entry: &Entry) -> Entry {
    let Entry::Request(request) = entry else { return entry.clone() };
    let Request { id, connection, index_on_connection, tgid, tid, slot, phases, seen, .. } = **request;
    Entry::Request(Box::new(Request {
        id,
        connection,
        index_on_connection,
        tgid,
        tid,
        slot,
        times: request.times.clone(),
        http: request.http.clone(),
        round_trips: request.round_trips.clone(),
        phases,
        stretches: Vec::new(),
        gil: OnGil::default(),
        seen,
    }))
}

impl Sending {
    /// Puts it into the queue, after the entries before it; once that is closed nothing is wanted any more.
    fn send(&mut self, message: Message) {
        self.pass_on();
        if let Some(sender) = &self.sender {
            // The receiving thread goes first only if it panicked.
            let _ = sender.send(message);
        }
    }

    fn pass_on(&mut self) {
        if let Some(sender) = &self.sender
            && !self.entries.is_empty()
        {
            let _ = sender.send(Message::Entries(std::mem::take(&mut self.entries)));
        }
    }
}

fn write(mut stream: Stream, queue: &Receiver<Message>, shared: &Shared) {
    let mut was_full = false;
    while let Ok(message) = queue.recv() {
        let are_entries = matches!(message, Message::Entries(_));
        match message {
            Message::Begin { known, began_ns } => stream.begin(&known, began_ns),
            Message::Entries(entries) => {
                let count = entries.len();
                stream.entries(entries);
                shared.entries_waiting.fetch_sub(count, Ordering::AcqRel);
            }
            Message::Roll => stream.roll(),
            Message::Window(ending) => stream.window(taken(ending.snapshot, shared), ending.not_written),
            Message::End(ending) => stream.end(taken(ending.snapshot, shared), ending.not_written),
        }
        let is_full = stream.is_full();
        if is_full && !was_full {
            shared.is_full.store(true, Ordering::Release);
        }
        was_full = is_full;
        let mut totals = lock(&shared.totals);
        if !are_entries || totals.failing != stream.totals.failing {
            say(totals.failing.as_deref(), stream.totals.failing.as_deref());
            totals.clone_from(&stream.totals);
        }
    }
}

/// A snapshot leaves the queue.
fn taken(snapshot: Option<Box<Snapshot>>, shared: &Shared) -> Option<Snapshot> {
    let snapshot = snapshot?;
    shared.snapshots_waiting.fetch_sub(1, Ordering::AcqRel);
    Some(*snapshot)
}

/// Says once that rows are not written, and once that they are again.
fn say(before: Option<&str>, now: Option<&str>) {
    let line = match (before, now) {
        (None, Some(why)) => format!("rows are not written: {why}; the next window is tried again"),
        (Some(_), None) => "rows are written again; /metrics says how many are missing".to_owned(),
        _ => return,
    };
    // Nobody may be reading: then there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "wsgi-trace: {line}");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while it held the lock had only added to sums.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
