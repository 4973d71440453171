//! A look at a thread that is asleep: how it sleeps, in which call, and on what.
//!
//! In: `/proc/PID` of its process. Out: [`Look`]s. Nothing here waits for what the thread itself waits for:
//! files are named, and looked at only where their file system is here. Every read is bounded. That the
//! thread slept on meanwhile is for the caller to check. Paths are redacted before anything keeps them.

mod argument;
mod call;
mod child;
mod descriptor;
mod ends;
mod fdinfo;
mod file_lock;
mod kernel;
mod locks;
mod mapping;
mod mounts;
mod named;
mod others;
mod path;
mod sockets;
mod state;
mod text;

use std::io;
use std::time::Duration;

use profiler_common::system_call::FUTEX;
use profiler_core::fact::asleep::{AsleepSeen, ConnectionState, ObjectSeen, OtherProcess, SleepState};

use profiler_core::fact::place::{OwnCode, PlaceSeen};

use self::argument::About;
use self::call::Call;
use self::ends::Ends;
use self::file_lock::LockTable;
use self::mounts::Mounts;
use self::others::Others;
use self::sockets::Sockets;
use self::text::HeldMaps;
use super::process::process_of_thread;
use super::python::place::{Locks, PlaceRead, PlaceReader};
use super::{Proc, read};

/// Bytes of one file of a thread.
const MAX_BYTES: u64 = 8 * 1024;
/// After so long a connection on which something was on its way is looked at again: what is sent again is
/// sent some hundred milliseconds later.
const CONNECTION_AGAIN: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looks {
    /// What threads sleep on, and who else on this host stands behind it.
    #[default]
    All,
    /// Nothing of processes that are not the target's.
    Own,
    /// Nothing.
    Off,
}

/// Why nothing can be said of a thread.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is gone, or may not be looked at.
    #[error("the thread cannot be looked at: {0}")]
    Read(#[from] io::Error),
    /// It runs.
    #[error("the thread is not asleep")]
    Awake,
    /// What `/proc` says cannot be understood.
    #[error("what the kernel says of the thread cannot be understood")]
    Malformed,
}

/// A thread, and since when it sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asleep {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// When it went to sleep.
    pub since_ns: u64,
}

/// What a look has shown so far.
#[derive(Debug)]
pub struct Look {
    /// What was seen.
    pub seen: AsleepSeen,
    /// More may be seen if the thread is looked at again after so long.
    pub again: Option<Duration>,
    /// Whose processes are still to be found.
    ends: Option<Ends>,
    /// Where in Python it is.
    place: Option<PlaceRead>,
}

/// What a sleep is about, as far as one process shows it.
#[derive(Debug)]
struct Found {
    object: ObjectSeen,
    ends: Option<Ends>,
    again: Option<Duration>,
}

impl From<ObjectSeen> for Found {
    fn from(object: ObjectSeen) -> Self {
        Self { object, ends: None, again: None }
    }
}

/// Reads one thread after another.
#[derive(Default)]
pub struct Reader {
    proc: Proc,
    looks: Looks,
    /// Processes of the target.
    target: Vec<u32>,
    mounts: Mounts,
    sockets: Sockets,
    others: Others,
    locks: LockTable,
    held_maps: HeldMaps,
    /// `None`: where in Python threads are is not wanted.
    places: Option<PlaceReader>,
}

impl Reader {
    /// A reader of this `/proc`.
    pub fn new(proc: Proc, looks: Looks) -> Self {
        Self { proc, looks, ..Self::default() }
    }

    /// Reads in the interpreter's memory where in Python threads are; this is named as own code.
    #[must_use]
    pub fn with_places(self, own: &[String]) -> Self {
        Self { places: Some(PlaceReader::with_own(own)), ..self }
    }

    /// These are processes of the target now; the others are not looked at with [`Looks::Own`].
    pub fn follow(&mut self, target: Vec<u32>) {
        self.target = target;
    }

    /// Looks at one thread.
    ///
    /// # Errors
    /// If it is gone, is not asleep, or may not be looked at.
    pub fn look(&mut self, thread: Asleep) -> Result<Look, Refused> {
        let of_task = |name: &str| self.proc.of(thread.tgid, &format!("task/{}/{name}", thread.tid));
        let call = Call::parse(&read::text(&of_task("syscall"), MAX_BYTES)?)?;
        let letter = state::letter(&read::text(&of_task("stat"), MAX_BYTES)?).ok_or(Refused::Malformed)?;
        let stack = kernel::stack(&of_task("stack"), &of_task("wchan"));
        let state = state::of(letter, &stack).ok_or(Refused::Awake)?;
        let call = call.restarted(&stack);
        let held_by = (state == SleepState::Traced)
            .then(|| read::text(&of_task("status"), MAX_BYTES).ok().and_then(|text| state::tracer(&text)))
            .flatten()
            // The thread that traces it.
            .and_then(|tracer| process_of_thread(&self.proc, tracer).ok())
            .and_then(|tgid| self.process(tgid));
        if state == SleepState::MemoryMap {
            self.held_maps.note(thread.tgid);
        }
        let found = match state {
            SleepState::Interruptible | SleepState::Uninterruptible => {
                let sleep = Sleep { tgid: thread.tgid, call: &call, state, stack: &stack };
                self.object(&sleep)
            }
            SleepState::PageFault => self.mapping(thread.tgid, &stack),
            // It does not wait for what its call is about.
            _ => None,
        };
        let (object, ends, again) =
            found.map_or((None, None, None), |found| (Some(found.object), found.ends, found.again));
        let seen = AsleepSeen {
            tgid: thread.tgid,
            tid: thread.tid,
            since_ns: thread.since_ns,
            system_call: call.number,
            arguments: call.first_three(),
            state,
            held_by,
            object,
            place: None,
            locks: Vec::new(),
            lock_taken_by: None,
        };
        let waits_at = (call.number == Some(FUTEX)).then(|| call.first_three()[0]);
        let read = |places: &mut PlaceReader| places.read(&self.proc, (thread.tgid, thread.tid), waits_at);
        let (place, locks) = self.places.as_mut().and_then(read).unzip();
        let Locks { taken, taken_by } = locks.unwrap_or_default();
        let seen = AsleepSeen { locks: taken, lock_taken_by: taken_by, ..seen };
        Ok(Look { seen, again, ends, place })
    }

    /// Gives the place of a look its number, once the thread is known to have slept on. Returns it where it
    /// is new.
    pub fn number_place(&mut self, look: &mut Look) -> Option<PlaceSeen> {
        let (place, is_new) = self.places.as_mut()?.number(look.place.take()?)?;
        look.seen.place = Some(place.number);
        is_new.then_some(place)
    }

    /// What reads where in Python threads are, and the `/proc` to do it with; `None`: it is not wanted.
    pub fn places(&mut self) -> Option<(&mut PlaceReader, &Proc)> {
        Some((self.places.as_mut()?, &self.proc))
    }

    /// A new place got lost on its way.
    pub fn forget_place(&mut self, place: &PlaceSeen) {
        if let Some(places) = &mut self.places {
            places.forget(place);
        }
    }

    /// Places that were told before it was known whose code they are, of which it is known now.
    pub fn take_owned(&mut self) -> Vec<PlaceSeen> {
        self.places.as_mut().map_or_else(Vec::new, |places| places.take_owned(&self.proc))
    }

    /// Whether it is known of every place whose code it is.
    pub fn is_settled(&self) -> bool {
        self.places.as_ref().is_none_or(PlaceReader::is_settled)
    }

    /// Threads whose place was not read since this was asked last, as there was no time or no room for it.
    pub fn take_unplaced(&mut self) -> u64 {
        self.places.as_mut().map_or(0, PlaceReader::take_unplaced)
    }

    /// What was found to be own code since this was asked last, and what decided that.
    pub fn take_own(&mut self) -> Vec<OwnCode> {
        self.places.as_mut().map_or_else(Vec::new, PlaceReader::take_own)
    }

    /// What the call is about.
    fn object(&mut self, sleep: &Sleep<'_>) -> Option<Found> {
        match argument::about(sleep.call) {
            About::Descriptor(fd) => self.descriptor(sleep, fd),
            About::Sends { from, .. } if sleep.state == SleepState::Uninterruptible => {
                self.descriptor(sleep, from)
            }
            About::Sends { to, .. } => self.descriptor(sleep, to),
            About::Poll { address, count } => {
                let fd = self.only_polled(sleep.tgid, address, count)?;
                self.descriptor(sleep, fd)
            }
            About::Select { count, sets } => {
                let fd = self.only_selected(sleep.tgid, count, sets)?;
                self.descriptor(sleep, fd)
            }
            About::Epoll(fd) => {
                let fd = self.only_in_list(sleep.tgid, fd)?;
                self.descriptor(sleep, fd)
            }
            About::Lock(fd) => self.file_lock(sleep.tgid, fd),
            About::Path { directory: Some(fd), address: 0 } => self.descriptor(sleep, fd),
            About::Path { directory, address } => self.named(sleep, directory, address),
            About::Child(which) => self.child(sleep.tgid, which),
            About::Time(address) => self.database_lock(sleep.tgid, address),
            About::Nothing => None,
        }
    }

    /// What another process is at; `None`: it is gone, or nothing is to be said of it.
    fn process(&self, tgid: u32) -> Option<OtherProcess> {
        let may_be_named = self.looks == Looks::All || self.target.contains(&tgid);
        may_be_named.then(|| others::process(&self.proc, tgid)).flatten()
    }
}

/// A sleep that is being looked at.
struct Sleep<'a> {
    tgid: u32,
    call: &'a Call,
    state: SleepState,
    stack: &'a [String],
}

impl Sleep<'_> {
    /// Whether one of these functions of the kernel is on the thread's stack.
    fn is_in(&self, functions: &[&str]) -> bool {
        self.stack.iter().any(|function| functions.contains(&function.as_str()))
    }
}

/// When a connection that stands so is worth another look.
const fn again(state: ConnectionState) -> Option<Duration> {
    match state {
        ConnectionState::InFlight | ConnectionState::Unknown => Some(CONNECTION_AGAIN),
        _ => None,
    }
}
