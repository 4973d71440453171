//! Bounds: how short response times would be at best, if one kind of wait were gone and nothing else changed.
//!
//! In: the phases of requests, by endpoint. Out: [`Bounds`]. They are no forecasts. A wait that goes makes
//! room for another: without waits for a thread more requests want the interpreter lock at once. So the truth
//! lies between today's figure and the bound, or beyond today's.

use profiler_core::phase::{Phase, Phases};

use crate::quantiles::Quantiles;

/// A kind of wait that a change of settings can remove at best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Waits for the interpreter lock: processes instead of threads.
    Gil,
    /// Clients that send or read slowly: a buffering proxy.
    SlowClients,
    /// Waits for a slot, in the accept queue or behind it: more threads or processes.
    SlotWaits,
    /// Waits for a CPU: one core more.
    RunQueue,
}

impl Without {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Gil, Self::SlowClients, Self::SlotWaits, Self::RunQueue];

    /// Name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gil => "without_gil_waits",
            Self::SlowClients => "without_slow_clients",
            Self::SlotWaits => "without_slot_waits",
            Self::RunQueue => "with_one_core_more",
        }
    }

    /// The phases that go.
    pub const fn phases(self) -> &'static [Phase] {
        match self {
            Self::Gil => &[Phase::GilWait],
            Self::SlowClients => &[Phase::ClientReadStall, Phase::ClientWriteStall],
            Self::SlotWaits => &[Phase::AcceptQueue, Phase::PoolWait, Phase::LoopWait],
            Self::RunQueue => &[Phase::RunQueue],
        }
    }

    /// How long a request with these phases takes at best.
    pub fn left_ns(self, phases: &Phases) -> u64 {
        self.phases().iter().fold(phases.total_ns(), |left, phase| left.saturating_sub(phases.get(*phase)))
    }
}

/// A request, as far as bounds need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Number of its endpoint.
    pub endpoint: usize,
    /// Where its time went.
    pub phases: Phases,
}

/// Today's response times, and those at best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtBest {
    /// As measured.
    pub today: Quantiles,
    /// Without each kind of wait, in the order of [`Without::ALL`].
    pub without: [Quantiles; Without::ALL.len()],
}

impl AtBest {
    fn of<'a>(requests: impl Iterator<Item = &'a Measured> + Clone) -> Self {
        Self {
            today: Quantiles::of(requests.clone().map(|request| request.phases.total_ns())),
            without: Without::ALL.map(|without| {
                Quantiles::of(requests.clone().map(|request| without.left_ns(&request.phases)))
            }),
        }
    }
}

/// Bounds of all requests, and of each endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of all requests.
    pub overall: AtBest,
    /// By number of the endpoint; endpoints without a request are all 0.
    pub by_endpoint: Vec<AtBest>,
}

/// The bounds of these requests.
pub fn bounds(requests: &[Measured], endpoints: usize) -> Bounds {
    let mut by_endpoint: Vec<Vec<Measured>> = vec![Vec::new(); endpoints];
    for request in requests {
        if let Some(of_endpoint) = by_endpoint.get_mut(request.endpoint) {
            of_endpoint.push(*request);
        }
    }
    Bounds {
        overall: AtBest::of(requests.iter()),
        by_endpoint: by_endpoint.iter().map(|of_endpoint| AtBest::of(of_endpoint.iter())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured(endpoint: usize, durations_ns: &[(Phase, u64)]) -> Measured {
        let mut phases = Phases::default();
        durations_ns.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
        Measured { endpoint, phases }
    }

    #[test]
    fn each_bound_takes_its_own_waits_and_no_others() {
        let all: Vec<(Phase, u64)> = Phase::ALL.iter().enumerate().map(|(at, p)| (*p, 1 << at)).collect();
        let found = bounds(&[measured(0, &all)], 1).overall;
        let today_ns = (1 << Phase::COUNT) - 1;
        assert_eq!(found.today.p50_ns, today_ns);
        for (without, quantiles) in Without::ALL.into_iter().zip(found.without) {
            let gone: u64 = without.phases().iter().map(|phase| 1 << (*phase as u32)).sum();
            assert_eq!(quantiles.p99_ns, today_ns - gone, "{}", without.name());
        }
    }

    #[test]
    fn endpoints_have_bounds_of_their_own() {
        let fast = measured(0, &[(Phase::Cpu, 5)]);
        let slow = measured(1, &[(Phase::Cpu, 10), (Phase::PoolWait, 90)]);
        let found = bounds(&[fast, slow, slow], 3);
        let slot_waits = |at_best: &AtBest| (at_best.today.p50_ns, at_best.without[2].p50_ns);
        assert_eq!(found.by_endpoint.iter().map(slot_waits).collect::<Vec<_>>(), [(5, 5), (100, 10), (0, 0)]);
        assert_eq!(slot_waits(&found.overall), (100, 10));
    }

    proptest! {
        #[test]
        fn no_bound_is_above_today(
            requests in prop::collection::vec(prop::collection::vec((0..Phase::COUNT, 0_u64..1 << 40), 0..6), 1..40)
        ) {
            let of = |list: &Vec<(usize, u64)>| {
                measured(0, &list.iter().map(|(at, ns)| (Phase::ALL[*at], *ns)).collect::<Vec<_>>())
            };
            let found = bounds(&requests.iter().map(of).collect::<Vec<_>>(), 1).overall;
            for best in found.without {
                prop_assert!(best.p50_ns <= found.today.p50_ns);
                prop_assert!(best.p90_ns <= found.today.p90_ns);
                prop_assert!(best.p99_ns <= found.today.p99_ns);
            }
        }
    }
}
