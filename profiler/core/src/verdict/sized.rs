//! To what number advice raises threads or workers, and whether that would have prevented anything.
//!
//! In: a [`Basis`] with its replay of more slots, the advice on a cause. Out: the same advice with numbers to
//! set, what they would have prevented, and what more threads may make worse; without what would not have
//! helped. A number is the smallest that prevents most of what any number does, as far as the CPU allows.
//! Where each process has a queue of its own, one request in a hundred may find all its slots busy.

use crate::finding::basis::{Basis, waited_ns};
use crate::finding::load::{busiest_process_cpu, server_cpu_ns};
use crate::finding::{ratio, request_seconds};
use crate::model::more_slots::MoreSlots;
use crate::server::advice::{Advice, Change, Direction, Number, Sizes};
use crate::server::queueing::all_busy;
use crate::server::site::Site;

/// So many times the present number at most, or as many as were wanted at once, in the mean: what more of
/// them would do cannot be known from this load. Four for one were too few where five were wanted (`make
/// mixes`, seed 10239474).
const MOST_TIMES: u64 = 4;
/// The same where each process has a queue of its own: each needs slots to spare. Two in each of seven
/// workers were too few for two slow clients, which met in one, and p99 rose tenfold (`make mixes`, seed 37).
const MOST_TIMES_APART: u64 = 8;
/// What more threads may make worse. A third one in a pool of two gave half as many answers more, and p99 of
/// the requests that computed rose from 79 to 87 ms (`make mixes`, seed 49).
const COMPUTING_TAKES_LONGER: &str =
    "requests that compute may take longer then: threads of one process share its GIL";
/// So many requests may find all slots of their process busy that p99 does not see them.
const ALL_BUSY_MAX_RATIO: f64 = 0.01;
/// From such a part of slots on that are busy, in the mean, none that is there was unseen.
const ALL_BUSY_MIN_RATIO: f64 = 0.9;
/// What prevents such a part of what any number does prevents most of it.
const MOST_RATIO: f64 = 0.9;
/// The replay tells of what was waited, if it has such a part of it. What holds slots beside requests is in
/// no line.
const REPLAYED_MIN_RATIO: f64 = 0.5;

/// The advice with the numbers that the load shows, without changes that would have prevented next to
/// nothing. `inflicted_ns`: all waiting through somebody else. `None`: nothing that says what to change is
/// left.
pub(super) fn with_numbers(basis: &Basis<'_>, advice: Advice, inflicted_ns: u64) -> Option<Advice> {
    let Some(load) = Load::of(basis, inflicted_ns) else { return Some(advice) };
    let is_useless = |change: &Change| load.size(change) == Size::Useless;
    let advice = advice.without_changes(is_useless)?.raised_to(|change| match load.size(change) {
        Size::To(number) => Some(number),
        Size::Unknown | Size::Useless => None,
    });
    let prevented_ns = advice.changes().into_iter().find_map(|change| change.prevented_ns);
    let advice = match prevented_ns {
        Some(prevented_ns) => advice.with_note(
            format!("with that, {} of waiting would not have been", request_seconds(prevented_ns)),
            |change| change.prevented_ns.is_some(),
        ),
        None => advice,
    };
    if !Site::of(basis.snapshot).computes {
        return Some(advice);
    }
    let is_meant = |change: &Change| {
        change.direction == Direction::Raise && change.setting.sizes == Some(Sizes::Threads)
    };
    Some(advice.with_caveat(COMPUTING_TAKES_LONGER, is_meant))
}

/// To what a change should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Not known.
    Unknown,
    /// It would not have helped.
    Useless,
    To(Number),
}

/// What the slots met, on average while there was something to do.
struct Load<'a> {
    slots: u64,
    /// Slots that were busy.
    busy: f64,
    /// Slots that were busy or waited for: what would be busy if there were enough.
    wanted: f64,
    /// So many times as much CPU as was used could be had: by one interpreter, by the server.
    interpreter_growth: f64,
    host_growth: f64,
    /// What more slots would have prevented; `None`: the replay does not tell.
    more: Option<&'a MoreSlots>,
    /// All waiting for a slot, and time in which none was free.
    queued_ns: u64,
    exhausted_ns: u64,
    /// What prevents less is not worth a change.
    least_ns: u64,
}

impl<'a> Load<'a> {
    /// `None`: the server has no slots that can be counted.
    fn of(basis: &Basis<'a>, inflicted_ns: u64) -> Option<Self> {
        let slots = &basis.snapshot.slots;
        let (count, load_ns) = (u64::from(slots.count()), basis.load_ns());
        if load_ns == 0 || !slots.are_counted() {
            return None;
        }
        let limits = basis.thresholds;
        let cores = f64::from(basis.snapshot.session.cpu_count);
        let (busy_ns, queued_ns) = (basis.busy_ns(), waited_ns(basis.phases()));
        let more = &basis.snapshot.chains.more_slots;
        Some(Self {
            slots: count,
            busy: ratio(busy_ns, load_ns),
            wanted: ratio(busy_ns.saturating_add(queued_ns), load_ns),
            interpreter_growth: limits.interpreter_full_min_ratio / busiest_process_cpu(basis),
            host_growth: limits.full_min_ratio * cores / ratio(server_cpu_ns(basis), load_ns),
            more: Some(more).filter(|more| {
                more.slots > 0 && more.waited_ns as f64 >= queued_ns as f64 * REPLAYED_MIN_RATIO
            }),
            queued_ns,
            exhausted_ns: slots.exhausted_ns,
            least_ns: (inflicted_ns as f64 * limits.waited_for_others_min_ratio) as u64,
        })
    }

    fn size(&self, change: &Change) -> Size {
        // The limit is then another one.
        if change.direction != Direction::Raise || change.limit.is_some() {
            return Size::Unknown;
        }
        let is_sized = matches!(change.setting.sizes, Some(Sizes::Threads | Sizes::Processes));
        if is_sized && self.more.is_some_and(|more| more.most_ns() < self.least_ns.max(1)) {
            return Size::Useless;
        }
        // There may be more of them than were seen, unless all were needed.
        if change.setting.is_seen && self.busy < self.slots as f64 * ALL_BUSY_MIN_RATIO {
            return Size::Unknown;
        }
        let growth = match change.setting.sizes {
            Some(Sizes::Threads) => self.interpreter_growth.min(self.host_growth),
            Some(Sizes::Processes) => self.host_growth,
            Some(Sizes::Greenlets) | None => return Size::Unknown,
        };
        let present = change.setting.present.as_ref().and_then(|present| present.parse::<u64>().ok());
        let Some(present) = present else { return Size::Unknown };
        // Threads of each of so many processes, or the other way round.
        let each_has = self.slots.checked_div(present).filter(|each| each * present == self.slots);
        let Some(each_has) = each_has else { return Size::Unknown };
        let queues = if change.setting.queues_apart { each_has } else { 1 };
        let value = self.enough((present, each_has), queues);
        let slots = value.saturating_mul(each_has);
        // With more slots busy they would wait for the CPU instead.
        let kept_busy = self.busy * growth;
        let slots = if kept_busy < self.wanted { slots.min(kept_busy as u64) } else { slots };
        let value = slots.div_ceil(each_has).min(change.at_most.unwrap_or(u64::MAX));
        let prevented_ns = self.prevented_ns(present, value);
        if self.more.is_none() && (value <= present || prevented_ns < self.least_ns.max(1)) {
            return Size::Unknown;
        }
        if value <= present || prevented_ns == 0 || prevented_ns < self.least_ns {
            return Size::Useless;
        }
        Size::To(Number { value, prevented_ns })
    }

    /// Waiting that would not have been with `value` for each `present`. Where the replay does not tell: as
    /// many more would have been served whenever no slot was free.
    fn prevented_ns(&self, present: u64, value: u64) -> u64 {
        if let Some(more) = self.more {
            return more.prevented_ns(present, value).unwrap_or(0);
        }
        let then = self.slots.saturating_mul(value).checked_div(present).unwrap_or(0);
        self.exhausted_ns.saturating_mul(then.saturating_sub(self.slots)).min(self.queued_ns)
    }

    /// The smallest value with which hardly any request would have waited for a slot.
    fn enough(&self, (present, each_has): (u64, u64), queues: u64) -> u64 {
        let is_apart = queues > 1;
        let most = present.saturating_mul(if is_apart { MOST_TIMES_APART } else { MOST_TIMES });
        let wanted = (self.wanted / each_has as f64).ceil() as u64;
        let most = if is_apart { most } else { most.max(wanted) };
        let most_ns = self.more.map_or(self.queued_ns, MoreSlots::most_ns);
        let wanted_ns = most_ns as f64 * MOST_RATIO;
        let prevents_most = |value: u64| self.prevented_ns(present, value) as f64 >= wanted_ns;
        let has_spare = |value: u64| {
            let slots = value.saturating_mul(each_has);
            !is_apart || all_busy(slots / queues, self.wanted / queues as f64) <= ALL_BUSY_MAX_RATIO
        };
        let enough = |value: &u64| prevents_most(*value) && has_spare(*value);
        (present.saturating_add(1)..most).find(enough).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::advice::fixture::{threads, workers};
    use crate::server::advice::{Limit, Setting};

    /// Sixteen slots: 20 would have prevented half, 24 nearly all.
    fn more() -> MoreSlots {
        MoreSlots { slots: 16, waited_ns: 100, with: vec![(18, 20), (20, 50), (24, 95), (30, 100)] }
    }

    /// Nothing computes.
    fn load(slots: u64, busy: f64, wanted: f64, more: Option<&MoreSlots>) -> Load<'_> {
        Load {
            slots,
            busy,
            wanted,
            interpreter_growth: f64::INFINITY,
            host_growth: f64::INFINITY,
            more,
            queued_ns: 140,
            exhausted_ns: 10,
            least_ns: 10,
        }
    }

    fn raised(setting: Setting) -> Change {
        Change::new(setting, Direction::Raise)
    }

    fn to(value: u64, prevented_ns: u64) -> Size {
        Size::To(Number { value, prevented_ns })
    }

    #[test]
    fn the_smallest_number_is_proposed_that_prevents_most() {
        // Two processes of eight threads.
        let more = more();
        let load = || load(16, 16.0, 30.0, Some(&more));
        assert_eq!(load().size(&raised(threads())), to(12, 95));
        let workers_of_eight = || raised(workers());
        assert_eq!(load().size(&workers_of_eight()), to(3, 95));
        assert_eq!(load().size(&Change { at_most: Some(10), ..raised(threads()) }), to(10, 50));
        for (what, load, expected) in [
            (
                "an interpreter with room for half of it",
                Load { interpreter_growth: 1.3, ..load() },
                to(10, 50),
            ),
            ("an interpreter without room", Load { interpreter_growth: 1.0, ..load() }, Size::Useless),
            ("a host without room", Load { host_growth: 0.9, ..load() }, Size::Useless),
            ("a change that prevents too little", Load { least_ns: 96, ..load() }, Size::Useless),
            // Fourteen waited all the time.
            ("the replay does not tell", Load { more: None, ..load() }, to(15, 140)),
            (
                "nobody knows how long none was free",
                Load { more: None, exhausted_ns: 0, ..load() },
                Size::Unknown,
            ),
        ] {
            assert_eq!(load.size(&raised(threads())), expected, "{what}");
        }
    }

    #[test]
    fn processes_that_take_connections_while_busy_need_slots_to_spare_each() {
        // Seven workers of one, ten wanted at once: seed 37.
        let apart = || raised(threads().now(1).with_queues_apart());
        let more = MoreSlots { slots: 7, waited_ns: 100, with: vec![(14, 95), (21, 100)] };
        for (what, load, expected) in [
            ("ten wanted in seven processes", load(7, 6.7, 10.0, Some(&more)), to(6, 100)),
            ("nobody knows how many come", load(7, 7.0, 700.0, Some(&more)), to(8, 100)),
        ] {
            assert_eq!(load.size(&apart()), expected, "{what}");
        }
        let one_queue = load(7, 6.7, 10.0, Some(&more)).size(&raised(threads().now(1)));
        assert_eq!(one_queue, to(2, 95), "one queue for all");
    }

    #[test]
    fn one_slot_before_many_requests_may_become_as_many_as_were_there_at_once() {
        let more = MoreSlots { slots: 1, waited_ns: 100, with: vec![(4, 20), (5, 80), (6, 95), (9, 100)] };
        let size = |wanted| load(1, 1.0, wanted, Some(&more)).size(&raised(threads().now(1)));
        assert_eq!(size(2.5), to(4, 20));
        assert_eq!(size(8.2), to(6, 95));
    }

    #[test]
    fn no_number_is_proposed_where_the_limit_is_another() {
        let more = more();
        let load = load(16, 16.0, 30.0, Some(&more));
        let up_to_cores = Change { limit: Some(Limit::Cores), ..raised(workers()) };
        for change in [
            up_to_cores,
            raised(Setting { present: None, ..threads() }),
            raised(threads().now(5)),
            Change::new(threads(), Direction::Lower),
        ] {
            assert_eq!(load.size(&change), Size::Unknown, "{change:?}");
        }
    }

    #[test]
    fn a_number_that_was_seen_is_all_there_is_where_all_were_busy() {
        let more = more();
        let seen = || raised(Setting { is_seen: true, ..threads() });
        assert_eq!(load(16, 15.0, 30.0, Some(&more)).size(&seen()), to(12, 95));
        assert_eq!(load(16, 9.0, 12.0, Some(&more)).size(&seen()), Size::Unknown);
    }
}
