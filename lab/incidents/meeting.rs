//! Who meets the leaf, and when.
//!
//! In: a source of random numbers, the leaf, the kind of server, the path. Out: [`Meeting`], and a path that
//! fits it.

use std::fmt;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::draw::pick;
use crate::leaf::Leaf;
use crate::path::Hop;
use crate::server::ServerKind;

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Request,
    /// A thread of the process, which has what requests wait for meanwhile.
    Thread,
    /// The server's main thread, between two things that it does for the server.
    Main,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// In two bursts.
    Bursts,
    /// Once in each process.
    Once,
    /// From before anybody watches.
    SinceBefore,
}

/// Begin and end of the bursts, in seconds from the first request on.
const BURSTS: [(f64, f64); 2] = [(1.0, 2.2), (3.5, 4.7)];
/// When it is met once, in the same.
const ONCE_AT: f64 = 1.0;
/// How long it takes in a burst, and where it is met once for each time, in ms.
const IN_BURST_MS: u32 = 300;
const AT_ONCE_MS: u32 = 2000;
/// How long the server's main thread does not meet it in between, in ms.
const MAIN_PAUSE_MS: u32 = 60;

/// Who and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meeting {
    pub(crate) who: Who,
    pub(crate) when: When,
}

impl Meeting {
    /// A request, always.
    pub(crate) const PLAIN: Self = Self { who: Who::Request, when: When::Always };

    /// Of a leaf behind these hops, which are changed where they do not fit.
    pub(crate) fn drawn(rng: &mut Rng, leaf: Leaf, server: ServerKind, hops: &mut Vec<Hop>) -> Self {
        if !leaf.has_path() {
            return Self::PLAIN;
        }
        let who = match rng.u32(0..10) {
            0..=1 if leaf != Leaf::Forgotten => Who::Thread,
            2 if leaf.is_of_its_own_length() && server.runs_hooks() => Who::Main,
            _ => Who::Request,
        };
        match who {
            Who::Request => {}
            Who::Thread => {
                hops.retain(|hop| !hop.is_itself() && *hop != Hop::Import);
                if !hops.first().is_some_and(Hop::is_exclusive) {
                    let first = rng.choice([Hop::Lock, Hop::Log, Hop::Queue]).unwrap_or(Hop::Lock);
                    hops.insert(0, first);
                    hops.truncate(crate::path::MOST_HOPS);
                }
            }
            Who::Main => hops.clear(),
        }
        if !leaf.lasts() {
            let imports = hops.iter_mut().filter(|hop| **hop == Hop::Import);
            imports.for_each(|hop| *hop = Hop::Lock);
        }
        let keeps_all = who != Who::Request || hops.first().is_some_and(Hop::is_serial);
        let when = match rng.u32(0..10) {
            _ if hops.contains(&Hop::Import) => pick(rng, When::Once, &[When::Once, When::Bursts]),
            0..=1 if leaf.lasts() => When::Bursts,
            2..=3 if leaf.is_of_its_own_length() && keeps_all => When::Once,
            4..=6 if leaf.hangs() => When::SinceBefore,
            _ => When::Always,
        };
        Self { who, when }
    }

    /// How long a leaf takes that lasts `usual_ms` at any time, in ms.
    pub(crate) fn leaf_ms(self, usual_ms: u32, hops: &[Hop]) -> u32 {
        match self.when {
            _ if usual_ms == 0 => 0,
            When::Once => AT_ONCE_MS,
            When::Bursts if hops.contains(&Hop::Import) => AT_ONCE_MS / 2,
            When::Bursts => IN_BURST_MS,
            When::Always | When::SinceBefore => usual_ms,
        }
    }

    /// Adds to the application's plan of a route.
    pub(crate) fn plan(self, hops: &[Hop], route: &mut Map<String, Value>) {
        let who = match self.who {
            Who::Request => "request",
            Who::Thread => "thread",
            Who::Main => "main",
        };
        let times = match self.when {
            When::Always | When::SinceBefore => Value::Null,
            When::Once => json!([[ONCE_AT, null]]),
            When::Bursts => json!(BURSTS),
        };
        let count = hops.first().map_or(1, Hop::count);
        let all = [("who", json!(who)), ("times", times), ("count", json!(count))];
        route.extend(all.map(|(name, value)| (name.to_owned(), value)));
        route.insert("pause_ms".to_owned(), json!(MAIN_PAUSE_MS));
    }
}

impl fmt::Display for Meeting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Request => "",
            Who::Thread => " of a background thread",
            Who::Main => " of the main thread",
        };
        let when = match self.when {
            When::Always => "",
            When::Bursts => " in two bursts",
            When::Once => " once",
            When::SinceBefore => " since before the trace",
        };
        write!(formatter, "{who}{when}")
    }
}
