//! Samples of threads that computed or had slept, with the places that they were taken at.
//!
//! In: samples as the kernel side hands them over, each stack with its frames once in a while. Out:
//! [`SampleSeen`]s, and places that are new. A stack is named at once, while its code objects are there, and
//! its samples are told a little later: whether a thread collected garbage, its next sample says.

mod collecting;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use profiler_common::stack::{CUT, DRAWN, DRAWN_TWICE, MAX_STACK, StackFrame, StackSample};
use profiler_core::fact::place::PlaceSeen;
use profiler_core::fact::sample::{SampleSeen, Slept};
use zerocopy::FromBytes as _;

use self::collecting::{Collected, Collections};
use super::Proc;
use super::python::place::{PlaceRead, PlaceReader};

/// Stacks that are remembered.
const MAX_STACKS: usize = 8192;
/// Samples that wait for the next round.
const MAX_WAITING: usize = 65_536;
/// A thread's next sample has come after so long, most likely.
const TOLD_AFTER: Duration = Duration::from_millis(100);
/// How often stacks of processes that are gone are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Stacks by what distinguishes them, and samples that are not told yet.
#[derive(Debug, Default)]
pub struct Samples {
    stacks: HashMap<u64, Stack>,
    waiting: Vec<Waiting>,
    collections: Collections,
    /// When stacks of processes that are gone were looked for last.
    forgot_at: Option<Instant>,
}

#[derive(Debug)]
struct Stack {
    read: PlaceRead,
    number: Option<u32>,
    /// Its process was gone at the last look: what waits of it then is told by the next one.
    is_gone: bool,
}

/// A sample, and what distinguishes its stack.
#[derive(Debug)]
struct Waiting {
    seen: SampleSeen,
    stack: u64,
    collected: Collected,
    since: Instant,
}

impl Samples {
    /// A sample came. Returns whether there was room for it.
    pub fn note(&mut self, (reader, proc): (&mut PlaceReader, &Proc), record: &[u8]) -> bool {
        let Ok((sample, rest)) = StackSample::read_from_prefix(record) else { return true };
        let StackSample { time_ns, tgid, tid, stack, flags, count, slept_ns, system_call, drawn_ns, .. } =
            sample;
        let is_drawn = flags & DRAWN != 0;
        let asleep_ns = if is_drawn { drawn_ns.into() } else { slept_ns };
        // Within the sleep, where it is that which the thread did.
        let at_ns = time_ns.saturating_sub(asleep_ns);
        let slept = (slept_ns > 0).then_some(Slept { system_call, ns: slept_ns, is_drawn });
        if count > 0 && !self.stacks.contains_key(&stack) {
            let count = usize::try_from(count).unwrap_or(0).min(MAX_STACK);
            let frames: Vec<StackFrame> =
                rest.as_chunks::<{ size_of::<StackFrame>() }>().0.iter().take(count).map(frame).collect();
            if let Some(read) = reader.name(proc, tgid, &frames, flags & CUT != 0) {
                if self.stacks.len() >= MAX_STACKS {
                    self.stacks.clear();
                }
                self.stacks.insert(stack, Stack { read, number: None, is_gone: false });
            }
        }
        let collected = self.collections.note(&sample);
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        let times = if flags & DRAWN_TWICE != 0 { 2 } else { 1 };
        let seen = SampleSeen { tgid, tid, at_ns, place: None, slept, is_collecting: None };
        let since = Instant::now();
        let waiting = || Waiting { seen, stack, collected: collected.clone(), since };
        self.waiting.extend((0..times).map(|_| waiting()));
        true
    }

    /// What has waited for long enough, or all of it, each with its place, where that is new.
    pub fn take(&mut self, reader: &mut PlaceReader, is_last: bool) -> Vec<(SampleSeen, Option<PlaceSeen>)> {
        let ready = if is_last {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|waiting| waiting.since.elapsed() >= TOLD_AFTER)
        };
        let told = self.waiting.drain(..ready).map(|Waiting { mut seen, stack, collected, .. }| {
            let found = self.stacks.get_mut(&stack).and_then(|stack| stack.number(reader));
            let (number, new) = found.unzip();
            seen.place = number;
            seen.is_collecting = collected.known();
            (seen, new.flatten())
        });
        let told = told.collect();
        self.forget_gone(reader);
        told
    }

    /// Forgets stacks of processes that are gone: each has the names of all its frames.
    fn forget_gone(&mut self, reader: &PlaceReader) {
        if self.forgot_at.is_some_and(|at| at.elapsed() < FORGET_EVERY) {
            return;
        }
        self.forgot_at = Some(Instant::now());
        let known = reader.serials();
        self.stacks.retain(|_, stack| {
            let is_gone = !known.contains(&stack.read.serial());
            !(std::mem::replace(&mut stack.is_gone, is_gone) && is_gone)
        });
    }

    /// A new place got lost on its way.
    pub fn forget(&mut self, place: &PlaceSeen) {
        for stack in self.stacks.values_mut() {
            stack.number = stack.number.filter(|number| *number != place.number);
        }
    }
}

impl Stack {
    /// The number of its place, and the place if it is new.
    fn number(&mut self, reader: &mut PlaceReader) -> Option<(u32, Option<PlaceSeen>)> {
        if let Some(number) = self.number.filter(|number| reader.is_used(*number)) {
            return Some((number, None));
        }
        let (place, is_new) = reader.number(self.read.clone())?;
        self.number = Some(place.number);
        Some((place.number, is_new.then_some(place)))
    }
}

fn frame(bytes: &[u8; size_of::<StackFrame>()]) -> StackFrame {
    zerocopy::transmute!(*bytes)
}
