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
    pub(super) fn mark_if_due(&mut self) {
        if self.feed.kept().is_some_and(|kept| kept.is_due(monotonic_ns())) {
            let mark = self.mark();
            if let Some(kept) = self.feed.kept_mut() {
                kept.mark(mark);
            }
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
        let closing = self.closing_facts(closing, counters).into_iter().filter(is_of_this).collect();
        self.feed.kept_mut().and_then(|kept| kept.copy(end_ns, closing))
    }

    /// What a stream that began now would begin with.
    fn mark(&mut self) -> Mark {
        let mut facts = vec![Fact::SessionStarted(self.started.clone())];
        facts.push(Fact::Attached(self.gather.attached.clone()));
        facts.extend(self.gather.facts_of(&self.gather.known.clone()));
        facts.extend(self.gather.cgroups());
        facts.extend(Gather::machine());
        facts.extend(self.queues.all(&self.gather.proc));
        let counters = self.counters_caught_up();
        let time_ns = monotonic_ns();
        facts.extend(self.source.open_slices(time_ns).into_iter().map(Fact::OpenSlice));
        facts.push(Fact::ListenerCounts(self.source.listener_counts()));
        facts.push(Fact::QueueCounts(self.source.queue_counts()));
        Mark { time_ns, counters, facts }
    }
}
