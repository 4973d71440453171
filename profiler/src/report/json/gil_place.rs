//! `gil.places` and a request's `gil_waits`: where in Python the holders of the interpreter lock were, and those that waited long.
//!
//! In: the places of a snapshot, the waits of a request. Out: their numbers.

use profiler_core::model::{gil_place, gil_waits};
use serde::Serialize;

use super::gil_party::{Holder, Party};

/// The waits of one request, one by one.
#[derive(Serialize)]
pub(crate) struct Waits<'a> {
    listed: Vec<Wait<'a>>,
    others: u64,
    others_ns: u64,
}

#[derive(Serialize)]
struct Wait<'a> {
    start_ns: u64,
    wait_ns: u64,
    holder: Holder<'a>,
    held_at: Option<HeldAt<'a>>,
    stood_at: Option<Site<'a>>,
}

#[derive(Serialize)]
struct HeldAt<'a> {
    #[serde(flatten)]
    site: Site<'a>,
    wait_ns: u64,
}

#[derive(Serialize)]
struct Site<'a> {
    at: Spot<'a>,
    called_from: Option<Spot<'a>>,
}

#[derive(Serialize)]
pub(super) struct Places<'a> {
    samples: u64,
    unstable: u64,
    unreadable: u64,
    unknown_ns: u64,
    listed: Vec<Place<'a>>,
    other_ns: u64,
    blocked: Blocked<'a>,
}

#[derive(Serialize)]
struct Blocked<'a> {
    samples: u64,
    elsewhere: u64,
    unreadable: u64,
    without_sample: u64,
    listed: Vec<Block<'a>>,
    other_ns: u64,
}

#[derive(Serialize)]
struct Block<'a> {
    waiter: Party<'a>,
    at: Spot<'a>,
    called_from: Option<Spot<'a>>,
    wait_ns: u64,
    waits: u64,
    longest_ns: u64,
}

#[derive(Serialize)]
struct Place<'a> {
    at: Spot<'a>,
    called_from: Option<Spot<'a>>,
    wait_ns: u64,
    waits: u64,
}

#[derive(Serialize)]
struct Spot<'a> {
    file: &'a str,
    function: &'a str,
    line: Option<u32>,
}

impl<'a> Places<'a> {
    pub(super) fn new(places: &'a gil_place::Places) -> Self {
        let listed = places.places.iter().map(|place| Place {
            at: Spot::new(&place.at),
            called_from: place.called_from.as_ref().map(Spot::new),
            wait_ns: place.wait_ns,
            waits: place.waits,
        });
        Self {
            samples: places.samples,
            unstable: places.unstable,
            unreadable: places.unreadable,
            unknown_ns: places.unknown_ns,
            listed: listed.collect(),
            other_ns: places.other_ns,
            blocked: Blocked::new(&places.blocked),
        }
    }
}

impl<'a> Blocked<'a> {
    fn new(blocked: &'a gil_place::Blocked) -> Self {
        let listed = blocked.listed.iter().map(|block| Block {
            waiter: Party::new(&block.waiter),
            at: Spot::new(&block.at),
            called_from: block.called_from.as_ref().map(Spot::new),
            wait_ns: block.wait_ns,
            waits: block.waits,
            longest_ns: block.longest_ns,
        });
        Self {
            samples: blocked.samples,
            elsewhere: blocked.elsewhere,
            unreadable: blocked.unreadable,
            without_sample: blocked.without_sample,
            listed: listed.collect(),
            other_ns: blocked.other_ns,
        }
    }
}

impl<'a> Waits<'a> {
    pub(super) fn new(waits: &'a gil_waits::GilWaits) -> Self {
        let listed = waits.listed.iter().map(|wait| Wait {
            start_ns: wait.start_ns,
            wait_ns: wait.wait_ns,
            holder: Holder::new(&wait.holder),
            held_at: wait
                .held_at
                .as_ref()
                .map(|held_at| HeldAt { site: Site::new(&held_at.site), wait_ns: held_at.wait_ns }),
            stood_at: wait.stood_at.as_ref().map(Site::new),
        });
        Self { listed: listed.collect(), others: waits.others, others_ns: waits.others_ns }
    }
}

impl<'a> Site<'a> {
    fn new(site: &'a gil_waits::Site) -> Self {
        Self { at: Spot::new(&site.at), called_from: site.called_from.as_ref().map(Spot::new) }
    }
}

impl<'a> Spot<'a> {
    fn new(spot: &'a gil_place::Spot) -> Self {
        let line = (spot.line > 0).then_some(spot.line);
        Self { file: &spot.file, function: &spot.function, line }
    }
}
