//! `gil.places` and a request's `gil_waits`: where in Python the holders of the interpreter lock were, and
//! those that waited long.
//!
//! In: the places of a snapshot, the waits of a request. Out: their numbers.

use profiler_core::model::{gil_place, gil_waits};
use serde::Serialize;

use super::gil_contender::{Contender, Holder};

view! {
    /// The waits of one request, one by one.
    pub(crate) struct Waits<'a>(waits: &'a gil_waits::GilWaits) {
        listed: Vec<Wait<'a>> = waits.listed.iter().map(Wait::new).collect(),
        others: u64 = waits.others,
        others_ns: u64 = waits.others_ns,
    }
}

view! {
    struct Wait<'a>(wait: &'a gil_waits::GilWait) {
        start_ns: u64 = wait.start_ns,
        wait_ns: u64 = wait.wait_ns,
        holder: Holder<'a> = Holder::new(&wait.holder),
        held_at: Option<HeldAt<'a>> = wait
            .held_at
            .as_ref()
            .map(|held_at| HeldAt { site: Site::new(&held_at.site), wait_ns: held_at.wait_ns }),
        stood_at: Option<Site<'a>> = wait.stood_at.as_ref().map(Site::new),
    }
}

#[derive(Serialize)]
struct HeldAt<'a> {
    #[serde(flatten)]
    site: Site<'a>,
    wait_ns: u64,
}

view! {
    struct Site<'a>(site: &'a gil_waits::Site) {
        at: Spot<'a> = Spot::new(&site.at),
        called_from: Option<Spot<'a>> = site.called_from.as_ref().map(Spot::new),
    }
}

view! {
    pub(super) struct Places<'a>(places: &'a gil_place::Places) {
        samples: u64 = places.samples,
        unstable: u64 = places.unstable,
        unreadable: u64 = places.unreadable,
        unknown_ns: u64 = places.unknown_ns,
        listed: Vec<Place<'a>> = places.places.iter().map(Place::new).collect(),
        other_ns: u64 = places.other_ns,
        blocked: Blocked<'a> = Blocked::new(&places.blocked),
    }
}

view! {
    struct Blocked<'a>(blocked: &'a gil_place::Blocked) {
        samples: u64 = blocked.samples,
        elsewhere: u64 = blocked.elsewhere,
        unreadable: u64 = blocked.unreadable,
        without_sample: u64 = blocked.without_sample,
        listed: Vec<Block<'a>> = blocked.listed.iter().map(Block::new).collect(),
        other_ns: u64 = blocked.other_ns,
    }
}

view! {
    struct Block<'a>(block: &'a gil_place::Block) {
        waiter: Contender<'a> = Contender::new(&block.waiter),
        at: Spot<'a> = Spot::new(&block.at),
        called_from: Option<Spot<'a>> = block.called_from.as_ref().map(Spot::new),
        wait_ns: u64 = block.wait_ns,
        waits: u64 = block.waits,
        longest_ns: u64 = block.longest_ns,
    }
}

view! {
    struct Place<'a>(place: &'a gil_place::Place) {
        at: Spot<'a> = Spot::new(&place.at),
        called_from: Option<Spot<'a>> = place.called_from.as_ref().map(Spot::new),
        wait_ns: u64 = place.wait_ns,
        waits: u64 = place.waits,
    }
}

view! {
    struct Spot<'a>(spot: &'a gil_place::Spot) {
        file: &'a str = &spot.file,
        function: &'a str = &spot.function,
        line: Option<u32> = (spot.line > 0).then_some(spot.line),
    }
}
