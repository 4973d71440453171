//! Cumulative counts that windows carry: locks, slots, listeners, CPU, losses.
//!
//! In: snapshots of windows, each once. Out: sums by family and label, since the agent began. Adding a count
//! is adding its line in [`FAMILIES`] and its value in [`Counts::of`].

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::loss::{LOSS_NAMES, WAKE_MISSED};
use profiler_core::model::dropped::Cause;
use profiler_core::model::losses::{LossCount, Lost};
use profiler_core::model::slot::Holding;
use profiler_core::model::{Listener, Snapshot};

use super::buckets::Buckets;
use super::tally::{OTHER, label};

/// Label values of one family kept apart; what comes later is `other`.
const MAX_LABELS: usize = 64;

/// What a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Time, counted in nanoseconds and shown in seconds.
    Seconds,
}

/// What it takes to know a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing but a trace: each mode knows it.
    Nothing,
    /// System calls. Of how connections end, light mode may know it without (`Counts::told_in_light`).
    Calls,
    /// The session's own programs, which it is about: two sessions at once have it twice.
    Session,
}

/// One metric family; all are counters.
#[derive(Debug)]
pub struct Family {
    /// Name, without prefix, unit and `_total`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Name of its label, if it has one.
    pub label: Option<&'static str>,
    /// What it takes to know it.
    pub takes: Takes,
}

macro_rules! families {
    ($($id:ident = $name:literal, $unit:ident, $label:expr, $takes:ident, $help:literal;)*) => {
        /// Numbers of families: the order of [`FAMILIES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        enum Id { $($id),* }
        /// All families, in the order of the output.
        pub const FAMILIES: &[Family] = &[
            $(Family { name: $name, help: $help, unit: Unit::$unit, label: $label, takes: Takes::$takes },)*
        ];
    };
}

families! {
    Watched = "watched", Seconds, None, Nothing, "Time watched, all windows";
    Mode = "mode", Seconds, Some("mode"), Session, "Time watched in each mode; a full trace beside light mode counts in both";
    Connections = "connections_accepted", None, None, Calls, "Connections accepted from all listeners";
    Served = "connections_served", None, None, Calls, "Connections whose requests were all answered";
    Undecided = "connections_undecided", None, None, Calls, "Connections of which lost records leave open whether they were served";
    Dropped = "connections_dropped", None, Some("cause"), Calls, "Connections that were not served, by cause";
    AcceptsFailed = "accepts_failed", None, Some("error"), Calls, "Accept calls that failed for want of something, by error";
    WorkersEnded = "workers_ended", None, Some("cause"), Calls, "Processes of the target that ended with clients, or by force";
    SlotHeld = "slot_held", Seconds, Some("by"), Nothing, "Slot-time held, by what held it; all together is busy slot-time";
    SlotPresent = "slot_present", Seconds, None, Nothing, "Slot-time that there was, busy or not";
    Exhausted = "slots_exhausted", Seconds, None, Nothing, "Time with every slot busy at once: nothing could start";
    GilWaits = "gil_waits", None, None, Nothing, "Waits for the GIL";
    GilWait = "gil_wait", Seconds, None, Nothing, "Time waited for the GIL, run queue included";
    GilPastInterval = "gil_waits_past_interval", None, None, Nothing, "Waits longer than the interpreter's switch interval";
    LoopBusy = "loop_busy", Seconds, None, Calls, "Time of event loops between their waits: what became ready meanwhile waited";
    LoopWaiting = "loop_waiting", Seconds, None, Calls, "Time of event loops in their waits";
    LoopCrowded = "loop_crowded", None, None, Calls, "Times that an event loop was about more requests than are remembered: more time is unexplained, nothing is lost";
    Arrivals = "listener_arrivals", None, Some("port"), Calls, "Connections that the kernel announced to a listener";
    Woken = "listener_woken", None, Some("port"), Calls, "Threads that arriving connections woke";
    Wasted = "listener_wasted_wakeups", None, Some("port"), Calls, "Wasted wakeups: threads that arriving connections woke and that got none";
    WastedCpu = "listener_wasted_wakeups_cpu", Seconds, Some("port"), Calls, "CPU time of wasted wakeups";
    WastedRunQueue = "listener_wasted_wakeups_run_queue", Seconds, Some("port"), Calls, "Time that threads waited for a CPU in wasted wakeups";
    WastedSwitches = "listener_wasted_wakeups_switches", None, Some("port"), Calls, "Context switches of wasted wakeups";
    BesideFree = "connections_waited_beside_free", None, Some("port"), Calls, "Connections that waited for a slot of a full process while another at the listener had a free one";
    BesideFreeWait = "connection_wait_beside_free", Seconds, Some("port"), Calls, "Time that connections waited for a slot of a full process while another at the listener had a free one";
    QueueRefused = "accept_queue_refused", None, Some("port"), Nothing, "Packets of handshakes (over UNIX sockets, calls of connect) refused because of a listener's queue; clients try again later";
    QueueDelayed = "accept_queue_delayed_clients", None, Some("port"), Calls, "Clients that found a listener's accept queue full";
    QueueFull = "accept_queue_full", Seconds, Some("port"), Nothing, "Time that a listener's accept queue was full";
    TargetCpu = "target_cpu", Seconds, None, Nothing, "CPU time of the target's threads";
    TargetRunQueue = "target_run_queue", Seconds, None, Nothing, "Time that the target's threads were ready and had no CPU";
    Throttled = "cgroup_throttled", Seconds, None, Nothing, "Time that the target's cgroup was throttled, all CPUs";
    Received = "records_received", None, None, Session, "Records that came from the kernel side";
    Lost = "records_lost", None, Some("cause"), Session, "Records that did not reach the numbers, by cause";
    Broken = "conservation_broken", None, Some("law"), Session, "Accounts that do not add up, by law: should be none";
}

impl Id {
    fn takes(self, what: Takes) -> bool {
        FAMILIES.get(self as usize).is_some_and(|family| family.takes == what)
    }
}

/// What a listener is called: no address, as the port is enough to distinguish listeners of one server.
pub(super) fn port(listener: &Listener) -> String {
    match listener.seen.port {
        0 => "unix".to_owned(),
        port => port.to_string(),
    }
}

/// Sums by family and label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    sums: BTreeMap<(Id, String), u64>,
    /// What light mode counted itself, of what takes system calls elsewhere.
    told_in_light: BTreeSet<Id>,
    /// From the end of a connection's handshake to accept's return.
    pub accept_wait: Buckets,
    /// From a client's first refusal by a full accept queue to its connection.
    pub connect_delay: Buckets,
    /// From the arrival of a request's first bytes to its event loop's next look at them.
    pub loop_lag: Buckets,
}

impl Counts {
    /// What a window says.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut counts = Self::default();
        let length_ns = snapshot.window.length_ns();
        counts.set(Id::Watched, "", length_ns);
        counts.set(Id::Mode, if snapshot.attached.is_light() { "light" } else { "full" }, length_ns);
        counts.dropped(snapshot);
        if snapshot.attached.is_light() {
            counts.told_in_light =
                counts.sums.keys().map(|(id, _)| *id).filter(|id| id.takes(Takes::Calls)).collect();
        }
        counts.slots(snapshot);
        if snapshot.gil.not_measured.is_none() {
            counts.set(Id::GilWaits, "", snapshot.gil.waits.count());
            counts.set(Id::GilWait, "", snapshot.gil.waits.sum_ns());
            counts.set(Id::GilPastInterval, "", snapshot.gil.past_interval);
        }
        for listener in &snapshot.sockets.listeners {
            let port = port(listener);
            if !listener.is_queue_alone {
                // A zero would say that nothing was accepted.
                counts.set(Id::Connections, "", listener.accepted);
                counts.accept_wait.add_latency(&listener.accept_wait);
                counts.set(Id::Wasted, &port, listener.woken_in_vain());
                counts.set(Id::WastedCpu, &port, listener.in_vain_cpu_ns());
            }
            if let Some(wakes) = listener.wakes {
                counts.set(Id::Arrivals, &port, wakes.arrivals);
                counts.set(Id::Woken, &port, wakes.woken);
                let losers = listener.woken.as_ref();
                counts.set(Id::WastedRunQueue, &port, losers.map_or(0, |woken| woken.losers.run_queue_ns));
                counts.set(Id::WastedSwitches, &port, losers.map_or(0, |woken| woken.losers_switches));
            }
            if let Some(beside) = &listener.beside_free {
                counts.set(Id::BesideFree, &port, beside.waits.count());
                counts.set(Id::BesideFreeWait, &port, beside.waits.sum_ns());
            }
            if let Some(queue) = &listener.queue {
                counts.set(Id::QueueFull, &port, queue.full_ns);
                if let Some(delays) = &queue.delays {
                    counts.set(Id::QueueDelayed, &port, delays.clients);
                    counts.connect_delay.add_latency(&delays.delay);
                }
                if let Some(refused) = queue.refused {
                    counts.set(Id::QueueRefused, &port, refused);
                }
            }
        }
        for event_loop in &snapshot.event_loops {
            counts.set(Id::LoopBusy, "", event_loop.busy_ns);
            counts.set(Id::LoopWaiting, "", event_loop.waiting_ns);
            counts.loop_lag.add_latency(&event_loop.lag);
        }
        if !snapshot.event_loops.is_empty() {
            counts.set(Id::LoopCrowded, "", snapshot.coverage.losses.crowded);
        }
        counts.time_of_threads(snapshot);
        counts.losses(snapshot);
        counts
    }

    /// What the window of a full trace adds to `light`, those of the light mode beside it: what that cannot
    /// know, and what is of each session by itself.
    pub fn beside(snapshot: &Snapshot, light: &Self) -> Self {
        let mut counts = Self::of(snapshot);
        let is_new = |id: Id| id.takes(Takes::Calls) && !light.told_in_light.contains(&id);
        counts.sums.retain(|(id, _), _| is_new(*id) || id.takes(Takes::Session));
        counts
    }

    fn slots(&mut self, snapshot: &Snapshot) {
        let slots = &snapshot.slots;
        if slots.not_measured.is_some() {
            // A zero would say that nothing held them.
            return;
        }
        for holding in Holding::ALL {
            self.set(Id::SlotHeld, holding.name(), slots.held_ns(holding));
        }
        let present_ns = slots.observed.iter().map(|slot| slot.length_ns()).fold(0, u64::saturating_add);
        self.set(Id::SlotPresent, "", present_ns);
        self.set(Id::Exhausted, "", slots.exhausted_ns);
    }

    /// All causes from the start: a counter that begins with its first drop would hide it from `increase`.
    fn dropped(&mut self, snapshot: &Snapshot) {
        let dropped = &snapshot.dropped;
        if dropped.accepts_not_measured.is_none() {
            // A zero would say that none failed.
            self.set(Id::AcceptsFailed, "EMFILE", 0);
            for failure in &dropped.accept_failures {
                self.set(Id::AcceptsFailed, failure.error, failure.count);
            }
        }
        if dropped.not_measured.is_some() {
            // A zero would say that no connection was dropped.
            return;
        }
        self.set(Id::Served, "", dropped.served);
        self.set(Id::Undecided, "", dropped.undecided);
        for cause in Cause::ALL {
            self.set(Id::Dropped, cause.name(), dropped.count(cause));
            if cause.is_end_of_worker() {
                let ends = dropped.worker_ends.iter().filter(|end| end.cause == cause).count();
                self.set(Id::WorkersEnded, cause.name(), u64::try_from(ends).unwrap_or(u64::MAX));
            }
        }
    }

    fn time_of_threads(&mut self, snapshot: &Snapshot) {
        let cpu_ns = snapshot.coverage.overhead.as_ref().map_or(0, |overhead| overhead.target_cpu_ns);
        self.set(Id::TargetCpu, "", cpu_ns);
        let threads = snapshot.processes.iter().flat_map(|process| &process.threads);
        let run_queue_ns = threads.map(|thread| thread.run_queue_ns).fold(0, u64::saturating_add);
        self.set(Id::TargetRunQueue, "", run_queue_ns);
        for cgroup in &snapshot.cgroups {
            let throttled_ns = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns);
            self.set(Id::Throttled, "", throttled_ns);
        }
    }

    fn losses(&mut self, snapshot: &Snapshot) {
        let losses = &snapshot.coverage.losses;
        self.set(Id::Received, "", snapshot.coverage.conservation.received);
        // All causes from the beginning: a series that is not there does not go up. A wakeup missed is a
        // doubt, no loss.
        for (_, cause) in (0..).zip(LOSS_NAMES).filter(|(number, _)| *number != WAKE_MISSED) {
            self.set(Id::Lost, cause, 0);
        }
        for (cause, count) in &losses.kernel.lost {
            self.set(Id::Lost, &label(cause), *count);
        }
        let misses = losses.kernel.recursion_misses.iter();
        let misses = misses.map(|(_, count)| *count).fold(0, u64::saturating_add);
        self.set(Id::Lost, "recursion_misses", misses);
        for count in LossCount::all().filter(|count| count.lost == Lost::Records) {
            self.set(Id::Lost, count.key, (count.of)(losses));
        }
        self.set(Id::Broken, "slices", snapshot.coverage.conservation.slices_broken);
        self.set(Id::Broken, "requests", snapshot.coverage.conservation.requests_broken);
    }

    /// Adds another window, or all windows before.
    pub fn add(&mut self, other: &Self) {
        for ((id, label), value) in &other.sums {
            self.set(*id, label, *value);
        }
        self.told_in_light.extend(&other.told_in_light);
        self.accept_wait.add(&other.accept_wait);
        self.connect_delay.add(&other.connect_delay);
        self.loop_lag.add(&other.loop_lag);
    }

    /// Nothing goes below what was shown before: a counter that goes back would be taken for a restart.
    pub fn raise_to(&mut self, shown: &Self) {
        for (key, value) in &shown.sums {
            let sum = self.sums.entry(key.clone()).or_default();
            *sum = (*sum).max(*value);
        }
        self.told_in_light.extend(&shown.told_in_light);
        self.accept_wait.raise_to(&shown.accept_wait);
        self.connect_delay.raise_to(&shown.connect_delay);
        self.loop_lag.raise_to(&shown.loop_lag);
    }

    fn set(&mut self, id: Id, label: &str, value: u64) {
        let mut key = (id, label.to_owned());
        if !self.sums.contains_key(&key)
            && self.sums.keys().filter(|(known, _)| *known == id).count() >= MAX_LABELS
        {
            OTHER.clone_into(&mut key.1);
        }
        let sum = self.sums.entry(key).or_default();
        *sum = sum.saturating_add(value);
    }

    /// Each family with its label values and sums; without those that light mode cannot know where
    /// `is_light`, as they stand still then.
    pub fn families(&self, is_light: bool) -> impl Iterator<Item = (&'static Family, Vec<(&str, u64)>)> {
        let is_told = move |id: Id| !(is_light && id.takes(Takes::Calls)) || self.told_in_light.contains(&id);
        FAMILIES.iter().enumerate().map(move |(place, family)| {
            let of_family =
                self.sums.iter().filter(move |((id, _), _)| *id as usize == place && is_told(*id));
            (family, of_family.map(|((_, label), value)| (label.as_str(), *value)).collect())
        })
    }
}

#[cfg(test)]
mod tests;
