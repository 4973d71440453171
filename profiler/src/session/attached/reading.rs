//! What a session reads while it goes on, several times a second or once.
//!
//! In: the readers of a session. Out: facts, into its feed.

use profiler_core::fact::Fact;

use super::Session;
use crate::fact::holders::foreign_holders;
use crate::session::gather::Gather;
use crate::session::observer::Observer;

impl<O: Observer> Session<O> {
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

    /// What the patrol has seen since the last time.
    pub(super) fn read_looks(&mut self) {
        for (time_ns, fact) in self.source.looks() {
            self.fact_at(fact, time_ns);
        }
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
