//! Requests without a wait that is followed: their time is summed by kind, for each endpoint.
//!
//! In: requests that are over. Out: sums by phase; of waits for back ends by port, of waits for the
//! interpreter lock by who had it.

use crate::model::request::Request;
use crate::phase::Phase;

/// Ports and holders kept apart of one endpoint. What has no room is summed as not known.
const MAX_KEPT: usize = 64;

/// Time of several requests in one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShortSum {
    pub ns: u64,
    pub requests: u64,
    pub longest_ns: u64,
}

impl ShortSum {
    const fn add(&mut self, ns: u64) {
        self.ns = self.ns.saturating_add(ns);
        self.requests += 1;
        if ns > self.longest_ns {
            self.longest_ns = ns;
        }
    }
}

/// Requests of an endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct ShortRequests {
    pub requests: u64,
    /// By phase.
    by_phase: [ShortSum; Phase::COUNT],
    /// Waits for back ends by port.
    pub by_port: Vec<(u16, ShortSum)>,
    /// Waits for the interpreter lock by the endpoint of who had it; `None`: not known.
    pub by_holder: Vec<(Option<u32>, ShortSum)>,
}

impl ShortRequests {
    /// Adds a request. `holders`: who had the interpreter lock while it waited for that.
    #[inline]
    pub(super) fn add(&mut self, request: &Request, holders: impl Iterator<Item = (Option<u32>, u64)>) {
        self.requests += 1;
        for (sum, ns) in self.by_phase.iter_mut().zip(request.phases.all()) {
            if *ns > 0 {
                sum.add(*ns);
            }
        }
        let back_end_ns = request.phases.get(Phase::BackendWait);
        if back_end_ns > 0 {
            let ports = request.round_trips.ports().map(|to| (to.port, to.waited_ns));
            add_parts(&mut self.by_port, ports, back_end_ns);
        }
        let gil_ns = request.phases.get(Phase::GilWait);
        if gil_ns > 0 {
            add_parts(&mut self.by_holder, holders, gil_ns);
        }
    }

    /// A phase of theirs, without what is known by port or by holder.
    pub(super) fn rest(&self, phase: Phase) -> ShortSum {
        let sum = self.by_phase.get(phase as usize).copied().unwrap_or_default();
        let known_ns: u64 = match phase {
            Phase::BackendWait => self.by_port.iter().map(|(_, part)| part.ns).sum(),
            Phase::GilWait => self.by_holder.iter().map(|(_, part)| part.ns).sum(),
            _ => 0,
        };
        ShortSum { ns: sum.ns.saturating_sub(known_ns), ..sum }
    }
}

/// Adds the parts of a wait, in all no more than it was long.
fn add_parts<K: PartialEq>(
    sums: &mut Vec<(K, ShortSum)>,
    parts: impl Iterator<Item = (K, u64)>,
    wait_ns: u64,
) {
    let mut left_ns = wait_ns;
    for (key, ns) in parts {
        let ns = ns.min(left_ns);
        if ns == 0 {
            continue;
        }
        let known = sums.iter().position(|(of, _)| *of == key);
        let place = known.unwrap_or(sums.len());
        if known.is_none() {
            if sums.len() >= MAX_KEPT {
                continue;
            }
            sums.push((key, ShortSum::default()));
        }
        if let Some((_, sum)) = sums.get_mut(place) {
            sum.add(ns);
            left_ns -= ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_wait_are_summed_and_never_more_than_the_wait() {
        let mut sums = Vec::new();
        add_parts(&mut sums, [(80, 30), (443, 0), (90, 50)].into_iter(), 60);
        add_parts(&mut sums, [(80, 7)].into_iter(), 10);
        let told: Vec<_> = sums.iter().map(|(port, sum)| (*port, sum.ns, sum.requests)).collect();
        assert_eq!(told, [(80, 37, 2), (90, 30, 1)]);
        assert_eq!(sums[0].1.longest_ns, 30);
    }

    #[test]
    fn what_has_no_room_is_not_known() {
        let mut short = ShortRequests::default();
        short.by_phase[Phase::BackendWait as usize].add(100);
        add_parts(&mut short.by_port, (0..100).map(|port| (port, 1)), 100);
        assert_eq!(short.by_port.len(), MAX_KEPT);
        assert_eq!(short.rest(Phase::BackendWait).ns, 100 - MAX_KEPT as u64);
        assert_eq!(short.rest(Phase::GilWait).ns, 0);
    }
}
