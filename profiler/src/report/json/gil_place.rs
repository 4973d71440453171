//! `gil.places` and a request's `gil_waits`: where in Python the holders of the interpreter lock were, and
//! those that waited long.
//!
//! In: the places of a snapshot, the waits of a request. Out: their numbers.

use profiler_core::model::{gil_place, gil_waits};
use serde::Serialize;

use super::gil_contender::{Contender, GilHolder};

view! {
    /// The waits of one request, one by one.
    pub(crate) struct Waits<'a>(waits: &'a gil_waits::GilWaits) {
        /// The longest, longest first, four at most.
        listed: Vec<Wait<'a>> = waits.listed.iter().map(Wait::new).collect(),
        /// How many others there were, of those that surely were its own.
        others: u64 = waits.others,
        /// How long (ns) they took together, run queue included.
        others_ns: u64 = waits.others_ns,
    }
}

view! {
    struct Wait<'a>(wait: &'a gil_waits::GilWait) {
        /// When it began, CLOCK_MONOTONIC, in ns; where the request began in the middle of it, then.
        start_ns: u64 = wait.start_ns,
        /// How long it took (ns), run queue included.
        wait_ns: u64 = wait.wait_ns,
        /// Who had the lock for the longest part of it; all null: not known.
        holder: GilHolder<'a> = GilHolder::new(&wait.holder),
        /// Where the holder was found (a sample), for the longest part of that; null: not known.
        held_at: Option<HeldAt<'a>> = wait
            .held_at
            .as_ref()
            .map(|held_at| HeldAt { site: Site::new(&held_at.site), wait_ns: held_at.wait_ns }),
        /// Where the waiter stood, if it waited long (4 ms and more); null: not known.
        stood_at: Option<Site<'a>> = wait.stood_at.as_ref().map(Site::new),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct HeldAt<'a> {
    #[serde(flatten)]
    site: Site<'a>,
    /// How long (ns) the request waited from the moments on at which it was found there.
    wait_ns: u64,
}

view! {
    struct Site<'a>(site: &'a gil_waits::Site) {
        /// What ran, or what the waiter was about to go on with.
        at: CodeLocation<'a> = CodeLocation::new(&site.at),
        /// Where the application called it, if it is a library's; else who called it. null: nobody, or
        /// further out than was read.
        called_from: Option<CodeLocation<'a>> = site.called_from.as_ref().map(CodeLocation::new),
    }
}

view! {
    pub(super) struct Places<'a>(places: &'a gil_place::Places) {
        /// Samples taken.
        samples: u64 = places.samples,
        /// Of those: the holder had gone on to another function before its frames were read; not used.
        unstable: u64 = places.unstable,
        /// Of those: it ran no Python function, or none that could be read.
        unreadable: u64 = places.unreadable,
        /// Time (ns) waited for which there is no sample that can be used.
        unknown_ns: u64 = places.unknown_ns,
        /// Places, the one that others waited for longest first, bounded.
        listed: Vec<Place<'a>> = places.places.iter().map(Place::new).collect(),
        /// Time (ns) waited because of places that are not listed.
        other_ns: u64 = places.other_ns,
        /// Where threads stood that waited long (4 ms and more), by their own frames. These are read once in
        /// a wait, at its first call from 4 ms on.
        blocked: Blocked<'a> = Blocked::new(&places.blocked),
    }
}

view! {
    struct Blocked<'a>(blocked: &'a gil_place::Blocked) {
        /// Waits in which frames were read.
        samples: u64 = blocked.samples,
        /// Of those: the thread has no readable frame in the interpreter whose thread had the lock. It runs
        /// another one that shares the lock, as under mod_wsgi, or no Python function.
        elsewhere: u64 = blocked.elsewhere,
        /// Of those: its frames could not be read, or nothing is known of them.
        unreadable: u64 = blocked.unreadable,
        /// Long waits in which none were read. Their last call began before 4 ms (a switch interval that is
        /// longer), or they had begun before the tracing.
        without_sample: u64 = blocked.without_sample,
        /// By waiter and place, the longest sum first, bounded.
        listed: Vec<Block<'a>> = blocked.listed.iter().map(Block::new).collect(),
        /// Time (ns) waited in others than those.
        other_ns: u64 = blocked.other_ns,
    }
}

view! {
    struct Block<'a>(block: &'a gil_place::Block) {
        /// Whom the thread served, or the thread itself while it served no request. All null: not known.
        waiter: Contender<'a> = Contender::new(&block.waiter),
        /// What it was about to go on with.
        at: CodeLocation<'a> = CodeLocation::new(&block.at),
        /// Where the application called it, if it is a library's; else who called it. null: nobody, or
        /// further out than was read.
        called_from: Option<CodeLocation<'a>> = block.called_from.as_ref().map(CodeLocation::new),
        /// Time (ns) it waited there all together, each wait from its begin to its end.
        wait_ns: u64 = block.wait_ns,
        /// Waits.
        waits: u64 = block.waits,
        /// Length (ns) of the longest of them.
        longest_ns: u64 = block.longest_ns,
    }
}

view! {
    struct Place<'a>(place: &'a gil_place::Place) {
        /// What ran.
        at: CodeLocation<'a> = CodeLocation::new(&place.at),
        /// Where the application called it, if it is a library's; else who called it. null: nobody, or
        /// further out than was read.
        called_from: Option<CodeLocation<'a>> = place.called_from.as_ref().map(CodeLocation::new),
        /// For how long (ns) others waited from the moment they found the holder there.
        wait_ns: u64 = place.wait_ns,
        /// How often they found it there.
        waits: u64 = place.waits,
    }
}

view! {
    /// A line of Python.
    struct CodeLocation<'a>(spot: &'a gil_place::Spot) {
        /// The file, as Python has it.
        file: &'a str = &spot.file,
        /// Qualified name of the function.
        function: &'a str = &spot.function,
        /// Line; null: not known.
        #[cfg_attr(test, schemars(range(min = 1)))]
        line: Option<u32> = (spot.line > 0).then_some(spot.line),
    }
}
