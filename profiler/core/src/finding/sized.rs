//! To what number advice raises threads or workers, where the load shows it.
//!
//! In: a [`Basis`], the advice on a finding. Out: the same advice with numbers to set. They are so many that hardly a request would wait for
//! a slot, if as many were asked for at once as were busy or waited for in this window.

use super::basis::{Basis, waited_ns};
use super::cause::{busiest_process_cpu, server_cpu_ns};
use super::words::ratio;
use crate::server::advice::{Advice, Change, Sizes};
use crate::server::queueing::waiting;

/// Findings on which advice makes slots because requests wait for one while others hold them and wait themselves. Where they compute, cores or
/// interpreters are the limit, and the advice says so.
const WAIT_FOR_SLOTS: [&str; 4] = ["slots-exhausted", "back-end", "slow-clients", "short-behind-long"];
/// So many times the present number at most: what more of them would do cannot be known from this load.
const MOST_TIMES: u64 = 4;

/// The advice with the numbers that the load shows.
pub(super) fn with_numbers(id: &str, basis: &Basis<'_>, advice: Advice) -> Advice {
    if !WAIT_FOR_SLOTS.contains(&id) {
        return advice;
    }
    let Some(load) = Load::of(basis) else { return advice };
    advice.raised_to(|change| load.number(change))
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
        let number = self.enough(growth)?.div_ceil(each_has).min(change.at_most.unwrap_or(u64::MAX));
        (number > present).then_some(number)
    }

    /// Slots of which hardly any request would wait for one, as far as the CPU allows to keep them busy; `None`: it does not.
    fn enough(&self, growth: f64) -> Option<u64> {
        let most = self.slots.saturating_mul(MOST_TIMES);
        let enough = |slots: &u64| waiting(*slots, self.wanted) <= self.wanted * self.waits_max_ratio;
        let enough = (self.slots..most).find(enough).unwrap_or(most);
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
    use crate::server::advice::{Direction, Limit, Setting};

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
