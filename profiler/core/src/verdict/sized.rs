//! To what number advice raises threads or workers, where the load shows it.
//!
//! In: a [`Basis`], the advice on a finding. Out: the same advice with numbers to set, and with what more
//! threads may make worse. With these numbers hardly a request would wait for a slot, if as many were asked
//! for at once as were busy or waited for in this window. Where each process has a queue of its own, one in a
//! hundred may find all slots of its process busy.

use crate::finding::basis::{Basis, served_ns, sum, waited_ns};
use crate::finding::load::{busiest_process_cpu, server_cpu_ns};
use crate::finding::ratio;
use crate::phase::Phase;
use crate::server::advice::{Advice, Change, Direction, Sizes};
use crate::server::queueing::{all_busy, waiting};

/// So many times the present number at most: what more of them would do cannot be known from this load.
const MOST_TIMES: u64 = 4;
/// The same where each process has a queue of its own: each needs slots to spare. Two in each of seven
/// workers were too few for two slow clients, which met in one, and p99 rose tenfold (`make mixes`, seed 37).
const MOST_TIMES_APART: u64 = 8;
/// What more threads may make worse. A third one in a pool of two gave half as many answers more, and p99 of
/// the requests that computed rose from 79 to 87 ms (`make mixes`, seed 49).
const COMPUTING_TAKES_LONGER: &str =
    "requests that compute may take longer then: threads of one process share its GIL";
/// The share of service time, without what clients took, that is computing or waiting to, from which that is
/// worth saying.
const COMPUTING_MIN_RATIO: f64 = 0.1;
/// So many requests may find all slots of their process busy that p99 does not see them.
const ALL_BUSY_MAX_RATIO: f64 = 0.01;

/// The advice with the numbers that the load shows.
pub(super) fn with_numbers(basis: &Basis<'_>, advice: Advice) -> Advice {
    let Some(load) = Load::of(basis) else { return advice };
    let advice = advice.raised_to(|change| load.number(change));
    let phases = basis.phases();
    let computing_ns = sum(phases, &[Phase::Cpu, Phase::RunQueue, Phase::GilWait]);
    let of_clients_ns = sum(phases, &[Phase::ClientReadStall, Phase::ClientWriteStall]);
    if ratio(computing_ns, served_ns(phases).saturating_sub(of_clients_ns)) < COMPUTING_MIN_RATIO {
        return advice;
    }
    let is_meant = |change: &Change| {
        change.direction == Direction::Raise && change.setting.sizes == Some(Sizes::Threads)
    };
    advice.with_caveat(COMPUTING_TAKES_LONGER, is_meant)
}

/// What the slots met, on average while there was something to do.
struct Load {
    slots: u64,
    /// Slots that were busy.
    busy: f64,
    /// Slots that were busy or waited for: what would be busy if there were enough.
    wanted: f64,
    /// Of the time of requests, so much may be spent waiting for a slot.
    waits_max_ratio: f64,
    /// So many times as much CPU as was used could be had: by one interpreter, by the server.
    interpreter_growth: f64,
    host_growth: f64,
}

impl Load {
    /// `None`: the server has no slots that can be counted.
    fn of(basis: &Basis<'_>) -> Option<Self> {
        let slots = &basis.snapshot.slots;
        let (count, load_ns) = (u64::from(slots.count()), basis.load_ns());
        if count == 0 || load_ns == 0 || slots.are_loops() || slots.come_and_go {
            return None;
        }
        let limits = basis.thresholds;
        let cores = f64::from(basis.snapshot.session.cpu_count);
        let busy_ns = basis.busy_ns();
        Some(Self {
            slots: count,
            busy: ratio(busy_ns, load_ns),
            wanted: ratio(busy_ns.saturating_add(waited_ns(basis.phases())), load_ns),
            // Half of what the finding lets pass, so that it is gone.
            waits_max_ratio: limits.waited_request_min_ratio / 2.0,
            interpreter_growth: limits.interpreter_full_min_ratio / busiest_process_cpu(basis),
            host_growth: limits.full_min_ratio * cores / ratio(server_cpu_ns(basis), load_ns),
        })
    }

    /// The number to which a change raises threads or workers; `None`: not known, or none is needed.
    fn number(&self, change: &Change) -> Option<u64> {
        // The limit is then another one.
        if change.limit.is_some() || change.setting.is_seen {
            return None;
        }
        let growth = match change.setting.sizes? {
            Sizes::Threads => self.interpreter_growth.min(self.host_growth),
            Sizes::Processes => self.host_growth,
            Sizes::Greenlets => return None,
        };
        let present: u64 = change.setting.present.as_ref()?.parse().ok()?;
        // Threads of each of so many processes, or the other way round.
        let each_has = self.slots.checked_div(present).filter(|each| each * present == self.slots)?;
        let queues = if change.setting.queues_apart { each_has } else { 1 };
        let number = self.enough(growth, queues)?.div_ceil(each_has).min(change.at_most.unwrap_or(u64::MAX));
        (number > present).then_some(number)
    }

    /// Slots of which hardly any request would wait for one, as far as the CPU allows to keep them busy;
    /// `None`: it does not.
    fn enough(&self, growth: f64, queues: u64) -> Option<u64> {
        let is_apart = queues > 1;
        let most = self.slots.saturating_mul(if is_apart { MOST_TIMES_APART } else { MOST_TIMES });
        let enough = |slots: &u64| {
            if is_apart {
                all_busy(*slots / queues, self.wanted / queues as f64) <= ALL_BUSY_MAX_RATIO
            } else {
                waiting(*slots, self.wanted) <= self.wanted * self.waits_max_ratio
            }
        };
        let step = usize::try_from(queues).unwrap_or(usize::MAX).max(1);
        let enough = (self.slots..most).step_by(step).find(enough).unwrap_or(most);
        // With more slots busy they would wait for the CPU instead.
        let kept_busy = self.busy * growth;
        let number = if kept_busy < self.wanted { enough.min(kept_busy as u64) } else { enough };
        (number > self.slots).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::advice::fixture::{threads, workers};
    use crate::server::advice::{Limit, Setting};

    /// Nothing computes.
    fn load(slots: u64, busy: f64, wanted: f64) -> Load {
        Load {
            slots,
            busy,
            wanted,
            waits_max_ratio: 0.025,
            interpreter_growth: f64::INFINITY,
            host_growth: f64::INFINITY,
        }
    }

    fn raised(setting: Setting) -> Change {
        Change::new(setting, Direction::Raise)
    }

    #[test]
    fn as_many_are_proposed_as_were_wanted_at_once_and_some_to_spare() {
        for (what, load, expected) in [
            ("as many as there are", load(16, 7.0, 7.0), None),
            ("twice as many clients as threads", load(8, 8.0, 16.0), Some(21)),
            ("one waits now and then", load(8, 6.0, 6.5), Some(10)),
            ("nobody knows how many come", load(8, 8.0, 800.0), Some(32)),
            (
                "an interpreter with room for half as much again",
                Load { interpreter_growth: 1.5, ..load(8, 8.0, 16.0) },
                Some(12),
            ),
            ("an interpreter without room", Load { interpreter_growth: 1.0, ..load(8, 8.0, 16.0) }, None),
            ("a host without room", Load { host_growth: 0.9, ..load(8, 8.0, 16.0) }, None),
        ] {
            assert_eq!(load.number(&raised(threads())), expected, "{what}");
        }
    }

    #[test]
    fn processes_that_take_connections_while_busy_need_slots_to_spare_each() {
        // Seven workers of one, ten wanted at once: seed 37.
        let apart = || raised(threads().now(1).with_queues_apart());
        for (what, load, expected) in [
            ("ten wanted in seven processes", load(7, 6.7, 10.0), Some(6)),
            ("hardly anything wanted", load(7, 0.07, 0.07), None),
            ("nobody knows how many come", load(7, 7.0, 700.0), Some(8)),
            ("one process has one queue", load(1, 0.9, 1.4), Some(4)),
        ] {
            assert_eq!(load.number(&apart()), expected, "{what}");
        }
        assert_eq!(load(7, 6.7, 10.0).number(&raised(threads().now(1))), Some(2), "one queue for all");
    }

    #[test]
    fn the_number_is_of_each_process_or_of_processes_and_none_where_the_limit_is_another() {
        // Two processes of eight threads.
        let load = load(16, 16.0, 30.0);
        assert_eq!(load.number(&raised(threads())), Some(18));
        assert_eq!(load.number(&raised(workers())), Some(5));
        let up_to_cores = Change { limit: Some(Limit::Cores), ..raised(workers()) };
        assert_eq!(load.number(&up_to_cores), None);
        assert_eq!(load.number(&Change { at_most: Some(12), ..raised(threads()) }), Some(12));
        assert_eq!(load.number(&raised(Setting { present: None, ..threads() })), None);
        assert_eq!(load.number(&raised(Setting { is_seen: true, ..threads() })), None);
        assert_eq!(load.number(&raised(threads().now(5))), None, "5 × n threads are not 16");
    }
}
