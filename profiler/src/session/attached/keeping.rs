//! What a session adds to the last minute that is kept in memory.
//!
//! In: the readers of a session. Out: marks, some times a minute: what is true then, as a stream begins with
//! it; copies, with what is open at their end.

use profiler_core::fact::Fact;

use super::Session;
use crate::recording::{Held, KeptCopy, Mark};
use crate::session::gather::{BeforeClosing, Closing, Gather};
use crate::session::observer::Observer;
use crate::source::live::clock::monotonic_ns;

impl<O: Observer> Session<O> {
    /// Records are taken between the readings: they are long where there are many processes.
    pub(super) fn mark_if_due(&mut self) {
        if !self.feed.kept().is_some_and(|kept| kept.is_due(monotonic_ns())) {
            return;
        }
        let counters = self.counters_caught_up();
        let time_ns = monotonic_ns();
        let mut facts: Vec<Fact> =
            self.source.open_slices(time_ns).into_iter().map(Fact::OpenSlice).collect();
        facts.push(Fact::ListenerCounts(self.source.listener_counts()));
        facts.push(Fact::QueueCounts(self.source.queue_counts()));
        facts.push(self.gather.locks.method(&self.source));
        if let Some(kept) = self.feed.kept_mut() {
            kept.mark(Mark { time_ns, counters, facts });
        }
        self.drain();
        let mut also =
            vec![Fact::SessionStarted(self.started.clone()), Fact::Attached(self.gather.attached.clone())];
        also.extend(self.gather.cgroups());
        also.extend(Gather::machine().map(Fact::MachineCpu));
        also.extend(self.queues.all(&self.gather.proc));
        for tgid in self.gather.known.clone() {
            also.extend(self.gather.facts_of(&[tgid]));
            self.drain();
        }
        if let Some(kept) = self.feed.kept_mut() {
            kept.also_at_mark(also);
        }
    }

    /// How much is kept in memory; `None`: nothing is to be.
    pub fn held(&self) -> Option<Held> {
        self.feed.kept().map(|kept| kept.held(monotonic_ns()))
    }

    /// What is kept in memory, as a recording that ends now; `None`: nothing is kept.
    pub fn kept(&mut self) -> Option<KeptCopy> {
        self.feed.kept()?;
        let counters = self.counters_caught_up();
        let before = BeforeClosing::read(&mut self.source);
        let end_ns = monotonic_ns();
        let closing = Closing::read(&self.source, before, end_ns);
        self.drain();
        // Totals of threads, and our own cost, are of a window that began at another moment.
        let is_of_this = |fact: &Fact| !matches!(fact, Fact::ThreadTotals(_) | Fact::Overhead(_));
        let method = self.gather.locks.method(&self.source);
        let closing = self.closing_facts(closing, counters).into_iter().chain([method]).filter(is_of_this);
        let closing = closing.collect();
        self.feed.kept_mut().and_then(|kept| kept.copy(end_ns, closing))
    }
}
