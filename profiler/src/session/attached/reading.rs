//! What a session reads while it goes on, several times a second or once.
//!
//! In: the readers of a session. Out: facts, into its feed.

use profiler_common::record::RecordHeader;
use profiler_core::fact::Fact;
use zerocopy::FromBytes as _;

use super::Session;
use crate::fact::holders::foreign_holders;
use crate::session::cost_limit::meter::Reading;
use crate::session::gather::Gather;
use crate::session::observer::Observer;
use crate::session::short_turns::Burst;
use crate::source::live::clock::{monotonic_ns, process_cpu_ns};

impl<O: Observer> Session<O> {
    /// Whether no system call is hooked.
    pub fn is_light(&self) -> bool {
        self.gather.attached.is_light()
    }

    /// What it takes: CPU time of this process so far, CPUs that the programs take.
    pub fn cost(&self) -> Reading {
        Reading {
            now_ns: monotonic_ns(),
            process_cpu_ns: process_cpu_ns(),
            programs_cpus: self.cost.programs_cpus(),
            machine_cpus: self.started.cpu_count.max(1),
        }
    }

    pub(super) fn place_tls_probes(&mut self) {
        if let Some(attached) = self.gather.tls_probes(&mut self.source) {
            self.fact(attached);
        }
    }

    pub(super) fn read_queues(&mut self) {
        if let Some(fact) = self.queues.changed() {
            self.fact(fact);
        }
    }

    /// Listeners that were made, or came from elsewhere, while the window goes on.
    pub(super) fn read_listeners(&mut self) {
        let unread = self.feed.pipeline_mut().take_unread();
        if !unread.is_empty() {
            self.read_listeners_of(&unread);
        }
    }

    /// One that was made a moment ago is known to the kernel side before the calls that made it are in order.
    pub(super) fn read_last_listeners(&mut self) {
        let known = self.queues.inodes();
        if self.source.listener_counts().listeners.iter().any(|counts| !known.contains(&counts.inode)) {
            self.read_listeners_of(&self.gather.known.clone());
        }
    }

    pub(super) fn read_listeners_of(&mut self, tgids: &[u32]) {
        // A listener that another process passed on is new to the kernel side too. Fails only where the
        // kernel refuses an iterator that it took before.
        let _ = self.source.rescan(&self.gather.known);
        for fact in self.gather.listeners_of(tgids) {
            self.fact(fact);
        }
        self.read_holders();
    }

    pub(super) fn read_holders(&mut self) {
        let found = foreign_holders(&self.gather.proc, &self.gather.watched.tgids(), &self.queues.inodes());
        self.fact(Fact::ForeignHolders(found));
    }

    /// Takes what came until then; `None`: what waits. Looks go between the records, by their times: the
    /// stream takes nothing that is much older than what it has had. Returns how many records came.
    pub(super) fn take(&mut self, until_ns: Option<u64>) -> u64 {
        let mut looks = self.source.looks();
        looks.sort_by_key(|(time_ns, _)| *time_ns);
        // No record that comes later may be older than a look.
        let until_ns = if looks.is_empty() { until_ns } else { Some(monotonic_ns()) };
        let mut looks = looks.into_iter().peekable();
        let (feed, observer) = (&mut self.feed, &mut self.observer);
        let Gather { locks, tls, .. } = &mut self.gather;
        let mut burst = Burst::begin();
        self.source.drain(until_ns, |record| {
            burst.next();
            let record_ns = RecordHeader::read_from_prefix(record).map_or(0, |(header, _)| header.time_ns);
            while let Some((time_ns, look)) = looks.next_if(|(time_ns, _)| *time_ns <= record_ns) {
                observer.note(&look);
                feed.fact_at(look, time_ns, &mut |entry| observer.entry(&entry));
            }
            tls.look_at(record);
            for (time_ns, fact) in locks.look_up(record) {
                feed.fact_at(fact, time_ns, &mut |entry| observer.entry(&entry));
            }
            feed.kernel(record, &mut |entry| observer.entry(&entry));
        });
        for (time_ns, look) in looks {
            observer.note(&look);
            feed.fact_at(look, time_ns, &mut |entry| observer.entry(&entry));
        }
        burst.records()
    }

    pub(super) fn count_looks(&mut self) {
        if let Some(fact) = self.source.look_counts() {
            self.fact(fact);
        }
    }

    pub(super) fn read_open_files(&mut self, may_count: bool) {
        let tgids = self.gather.watched.tgids();
        for fact in self.open_files.changed(&self.gather.proc, &tgids, may_count) {
            self.fact(fact);
        }
    }

    pub(super) fn read_machine(&mut self) {
        if let Ok(machine) = self.readings.machine.of((), || Gather::machine().ok_or(())) {
            self.fact(Fact::MachineCpu(machine));
        }
    }

    pub(super) fn read_counters(&mut self) {
        for fact in self.queues.counters_changed(&self.gather.proc) {
            self.fact(fact);
        }
    }

    pub(super) fn interpreter(&mut self, tgid: u32) {
        for fact in self.gather.interpreter(tgid, &mut self.source) {
            self.fact(fact);
        }
    }
}
