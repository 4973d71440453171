//! How long requests of one endpoint waited for each back end, by the time at which they ended: what changes
//! within a window.
//!
//! In: completed requests, with what they had to do with each port. Out: [`OverTime`], of each port sums of
//! at most 32 stretches of equal length. These take [`MAX_BYTES`] at most, some 10 kB, and those of all
//! endpoints 5 MB: whoever adds requests lets [`MAX_SERIES`] begin, the first ones, and has the rest counted.

use crate::model::lengths::{FEW_STEPS_BYTES, Lengths};
use crate::model::round_trips::ToPort;

/// Stretches of a port; when there are more, each two become one.
const MAX_STRETCHES: u64 = 32;
/// Ports distinguished, as many as `round_trips` has.
const MAX_PORTS: usize = 8;
/// Ports of all endpoints together that have stretches.
pub const MAX_SERIES: usize = 512;
/// Memory that a port of an endpoint takes at most.
pub const MAX_BYTES: usize =
    size_of::<Waits>() + MAX_STRETCHES as usize * (size_of::<Stretch>() + FEW_STEPS_BYTES);
/// The shortest stretches are of two to the power of so many nanoseconds: 67 ms.
const SHORTEST: u32 = 26;

/// Requests that ended within one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Requests that had to do with the port.
    pub requests: u64,
    /// Their round trips; one that waited and got no answer counts as well.
    pub round_trips: u64,
    /// Their waits, without those until connections were ready.
    pub waited_ns: u64,
    /// How long each waited for a round trip, on average.
    pub each: Lengths,
}

impl Stretch {
    /// Another stretch as well.
    pub fn merge(&mut self, other: &Self) {
        self.count(other);
        self.each.merge(&other.each);
    }

    /// Adds another stretch, where the result is kept: its lengths stay few.
    fn merge_in_few(&mut self, other: &Self) {
        self.count(other);
        self.each.merge_in_few(&other.each);
    }

    fn count(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.round_trips = self.round_trips.saturating_add(other.round_trips);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
    }

    /// This stretch without a part of it.
    pub fn without(&self, part: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(part.requests),
            round_trips: self.round_trips.saturating_sub(part.round_trips),
            waited_ns: self.waited_ns.saturating_sub(part.waited_ns),
            each: self.each.without(&part.each),
        }
    }
}

/// What requests of one endpoint had to do with one port over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The peer's port (0: a UNIX socket, or not known).
    pub port: u16,
    /// Length of a stretch, as a power of two of nanoseconds.
    shift: u32,
    /// Number of the first stretch, counted from the zero of the clock.
    first: u64,
    stretches: Vec<Stretch>,
}

impl Waits {
    fn new(port: u16) -> Self {
        Self { port, shift: SHORTEST, ..Self::default() }
    }

    fn add(&mut self, end_ns: u64, to: &ToPort) {
        let (round_trips, waited_ns) = waits_of(to);
        let Some(stretch) = self.stretch_at(end_ns) else { return };
        stretch.requests = stretch.requests.saturating_add(1);
        stretch.round_trips = stretch.round_trips.saturating_add(round_trips);
        stretch.waited_ns = stretch.waited_ns.saturating_add(waited_ns);
        stretch.each.record_in_few(waited_ns.checked_div(round_trips).unwrap_or(0));
    }

    /// The stretch of this moment. All become longer until there is room for it.
    fn stretch_at(&mut self, time_ns: u64) -> Option<&mut Stretch> {
        if self.stretches.is_empty() {
            self.first = time_ns >> self.shift;
            self.stretches.push(Stretch::default());
        }
        while self.span_with(time_ns >> self.shift) > MAX_STRETCHES {
            self.join_pairs();
        }
        let number = time_ns >> self.shift;
        while number < self.first {
            self.stretches.reserve_exact(1);
            self.stretches.insert(0, Stretch::default());
            self.first = self.first.saturating_sub(1);
        }
        let place = usize::try_from(number.saturating_sub(self.first)).ok()?;
        if place >= self.stretches.len() {
            self.stretches.reserve_exact(place.saturating_add(1).saturating_sub(self.stretches.len()));
            self.stretches.resize(place.saturating_add(1), Stretch::default());
        }
        self.stretches.get_mut(place)
    }

    /// How many stretches there are if this one is among them.
    fn span_with(&self, number: u64) -> u64 {
        let last = self.first.saturating_add(self.stretches.len() as u64).saturating_sub(1);
        last.max(number).saturating_sub(self.first.min(number)).saturating_add(1)
    }

    fn join_pairs(&mut self) {
        let mut joined: Vec<Stretch> = Vec::with_capacity(self.stretches.len());
        for (number, stretch) in (self.first..).zip(&self.stretches) {
            match joined.last_mut() {
                Some(last) if number % 2 == 1 => last.merge_in_few(stretch),
                _ => joined.push(stretch.clone()),
            }
        }
        (self.stretches, self.first, self.shift) = (joined, self.first / 2, self.shift.saturating_add(1));
    }

    /// Length of a stretch, as a power of two of nanoseconds.
    pub const fn shift(&self) -> u32 {
        self.shift
    }

    /// The stretches in order, each with its number among those of this length, which is no shorter than its
    /// own.
    pub fn numbered(&self, shift: u32) -> impl DoubleEndedIterator<Item = (u64, &Stretch)> {
        let coarser = shift.saturating_sub(self.shift).min(u64::BITS - 1);
        let stretches = self.stretches.iter().enumerate();
        stretches.map(move |(place, stretch)| (self.first.saturating_add(place as u64) >> coarser, stretch))
    }

    /// All stretches as one.
    pub fn total(&self) -> Stretch {
        let mut all = Stretch::default();
        self.stretches.iter().for_each(|stretch| all.merge(stretch));
        all
    }

    /// A sum over all stretches, without the distributions that [`Self::total`] adds up.
    pub fn sum(&self, of: impl Fn(&Stretch) -> u64) -> u64 {
        self.stretches.iter().fold(0, |sum, stretch| sum.saturating_add(of(stretch)))
    }

    /// Whether at some moment so many requests had ended and as many were to come.
    pub fn can_be_parted(&self, least: u64) -> bool {
        let all = self.sum(|stretch| stretch.requests);
        let mut before = 0_u64;
        self.stretches.iter().any(|stretch| {
            before = before.saturating_add(stretch.requests);
            before >= least && all.saturating_sub(before) >= least
        })
    }
}

/// The round trips of a request to a port, and how long it waited for them: not until connections were ready.
fn waits_of(to: &ToPort) -> (u64, u64) {
    (to.count.max(1), to.waited_ns.saturating_sub(to.connecting_ns))
}

/// Waits for back ends over time, by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverTime {
    /// In the order in which they were asked first.
    pub list: Vec<Waits>,
    /// Round trips to ports beyond the bounds.
    pub others: u64,
    /// How long was waited for these.
    pub others_ns: u64,
}

impl OverTime {
    /// Whether this port has stretches.
    pub fn has(&self, port: u16) -> bool {
        self.list.iter().any(|known| known.port == port)
    }

    /// A request had this to do with a port for which there is no room.
    pub fn add_other(&mut self, to: &ToPort) {
        if to.count == 0 && to.waited_ns == 0 {
            return;
        }
        let (round_trips, waited_ns) = waits_of(to);
        self.others = self.others.saturating_add(round_trips);
        self.others_ns = self.others_ns.saturating_add(waited_ns);
    }

    /// A request that ended then had this to do with a port.
    pub fn add(&mut self, end_ns: u64, to: &ToPort) {
        if to.count == 0 && to.waited_ns == 0 {
            return;
        }
        if let Some(known) = self.list.iter_mut().find(|known| known.port == to.port) {
            known.add(end_ns, to);
        } else if self.list.len() < MAX_PORTS {
            let mut waits = Waits::new(to.port);
            waits.add(end_ns, to);
            self.list.push(waits);
        } else {
            self.add_other(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn asked(port: u16, count: u64, waited_ms: u64) -> ToPort {
        ToPort { port, count, waited_ns: waited_ms * MILLISECOND, ..ToPort::default() }
    }

    /// What there was, by stretch: number, requests.
    fn told(waits: &Waits) -> Vec<(u64, u64)> {
        let all = waits.numbered(waits.shift());
        all.filter(|(_, stretch)| stretch.requests > 0)
            .map(|(number, stretch)| (number, stretch.requests))
            .collect()
    }

    #[test]
    fn what_ends_in_one_stretch_is_added_up_there_however_late_it_is_told() {
        let mut over_time = OverTime::default();
        let stretch_ns = 1 << SHORTEST;
        for number in [5, 7, 5, 3] {
            over_time.add(number * stretch_ns + 9, &asked(5432, 2, 10));
        }
        let waits = &over_time.list[0];
        assert_eq!(told(waits), [(3, 1), (5, 2), (7, 1)]);
        let total = waits.total();
        assert_eq!((total.requests, total.round_trips, total.waited_ns), (4, 8, 40 * MILLISECOND));
        assert_eq!(waits.sum(|stretch| stretch.requests), total.requests);
        assert_eq!(waits.sum(|stretch| stretch.waited_ns), total.waited_ns);
        assert!(
            total.each.quantile_ns(0.5).abs_diff(5 * MILLISECOND) < MILLISECOND,
            "a round trip took half of it"
        );
    }

    #[test]
    fn a_longer_window_has_longer_stretches_and_never_more_of_them() {
        for seconds in [1_u64, 3, 60, 86_400, 10_000_000] {
            let mut over_time = OverTime::default();
            for step in 0..1_000 {
                over_time.add(7_777_777_777 + seconds * MILLISECOND * step, &asked(80, 1, 1));
            }
            let waits = &over_time.list[0];
            assert!(waits.stretches.len() as u64 <= MAX_STRETCHES, "{seconds}: {}", waits.stretches.len());
            assert_eq!(waits.total().requests, 1_000);
            assert!(seconds < 2 || waits.stretches.len() as u64 > MAX_STRETCHES / 2, "{seconds}");
        }
    }

    #[test]
    fn any_two_moments_have_room() {
        let mut over_time = OverTime::default();
        for time_ns in [u64::MAX, 0, 1 << 40, u64::MAX / 3] {
            over_time.add(time_ns, &asked(80, 1, 1));
        }
        assert_eq!(over_time.list[0].total().requests, 4);
    }

    #[test]
    fn longer_stretches_of_others_number_the_same_moments_alike() {
        let (mut fine, mut coarse) = (OverTime::default(), OverTime::default());
        fine.add(10 << SHORTEST, &asked(80, 1, 1));
        fine.add(13 << SHORTEST, &asked(80, 1, 1));
        coarse.add(0, &asked(80, 1, 1));
        coarse.add(40 << SHORTEST, &asked(80, 1, 1));
        let shift = coarse.list[0].shift();
        assert_eq!(shift, SHORTEST + 1);
        let numbers: Vec<u64> = fine.list[0].numbered(shift).map(|(number, _)| number).collect();
        assert_eq!(numbers, [5, 5, 6, 6]);
    }

    #[test]
    fn waits_until_a_connection_is_ready_do_not_count_and_waits_without_an_answer_do() {
        let mut over_time = OverTime::default();
        let connecting_ns = 30 * MILLISECOND;
        over_time.add(0, &ToPort { connecting_ns, ..asked(80, 2, 50) });
        over_time.add(0, &asked(80, 0, 7));
        over_time.add(0, &asked(443, 0, 0));
        let total = over_time.list[0].total();
        assert_eq!((total.requests, total.round_trips, total.waited_ns), (2, 3, 27 * MILLISECOND));
        assert_eq!(over_time.list.len(), 1);
    }

    #[test]
    fn a_stretch_without_a_part_of_it_is_the_rest() {
        let of = |all: &[(u64, u64)]| {
            let mut over_time = OverTime::default();
            all.iter().for_each(|(count, waited_ms)| over_time.add(0, &asked(80, *count, *waited_ms)));
            over_time.list.first().map_or_else(Stretch::default, Waits::total)
        };
        let all: &[(u64, u64)] = &[(1, 5), (2, 90), (3, 5), (1, 700)];
        for cut in 0..=all.len() {
            let (part, rest) = all.split_at(cut);
            assert_eq!(of(all).without(&of(part)), of(rest), "{cut}");
        }
    }

    #[test]
    fn ports_beyond_the_bound_are_counted() {
        let mut over_time = OverTime::default();
        (1..=10).for_each(|port| over_time.add(0, &asked(port, 3, 1)));
        assert_eq!((over_time.list.len(), over_time.others), (MAX_PORTS, 6));
        assert_eq!(over_time.others_ns, 2 * MILLISECOND);
        assert!(over_time.has(8) && !over_time.has(9));
        // Nothing was done there.
        over_time.add(0, &asked(11, 0, 0));
        assert_eq!(over_time.others, 6);
    }

    #[test]
    fn a_port_takes_no_more_memory_than_it_is_said_to() {
        let mut over_time = OverTime::default();
        for step in 0..20_000_u64 {
            // Of every length, at every moment, the last ones first.
            let waited_ns = (8 + step % 8) << (7 + step / 8 % 32);
            over_time.add((20_000 - step) << 24, &ToPort { waited_ns, ..asked(80, 1, 0) });
        }
        let waits = &over_time.list[0];
        assert!(waits.stretches.capacity() as u64 <= MAX_STRETCHES, "{}", waits.stretches.capacity());
        assert!(waits.stretches.iter().all(|stretch| stretch.each.bytes() <= FEW_STEPS_BYTES));
        assert_eq!(waits.total().requests, 20_000);
    }

    #[test]
    fn what_is_kept_of_all_endpoints_takes_less_than_eight_megabytes() {
        const { assert!(MAX_SERIES * MAX_BYTES < 8_000_000) };
    }

    #[test]
    fn parts_have_to_have_enough_on_both_sides() {
        let of = |requests: [u64; 3]| {
            let mut over_time = OverTime::default();
            for (number, requests) in (0..).zip(requests) {
                (0..requests).for_each(|_| over_time.add(number << SHORTEST, &asked(80, 1, 1)));
            }
            over_time.list[0].can_be_parted(20)
        };
        assert!(of([20, 0, 20]) && of([5, 15, 20]));
        assert!(!of([40, 0, 0]) && !of([19, 0, 40]) && !of([10, 25, 10]));
    }
}
