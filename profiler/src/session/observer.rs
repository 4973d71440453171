//! Who looks on while a session runs.
//!
//! In: facts, before what they change; timeline entries, as they become certain. Out: what it makes of them.
//! A finished request is [`Entry::Request`] with `open` false, and comes once, whatever windows there are:
//! what wants every request (counters, spans) taps it here.

use profiler_core::fact::Fact;
use profiler_core::pipeline::Settings;
use profiler_core::timeline::Entry;

use super::consumer::Consumer;

/// Takes what a session sees, on the session's own thread: it must not block.
pub trait Observer {
    /// What it wants of the pipeline.
    fn settings(&self) -> Settings {
        Settings::default()
    }

    /// Takes a fact, before what it changes.
    fn note(&mut self, _fact: &Fact) {}

    /// Takes one entry.
    fn entry(&mut self, entry: &Entry);

    /// Whether nothing more is wanted.
    fn has_stopped(&self) -> bool {
        false
    }
}

impl Observer for Consumer {
    fn settings(&self) -> Settings {
        self.settings()
    }

    fn note(&mut self, fact: &Fact) {
        self.note(fact);
    }

    fn entry(&mut self, entry: &Entry) {
        self.entry(entry);
    }

    fn has_stopped(&self) -> bool {
        self.has_stopped()
    }
}

/// Both look on; once the first wants nothing more, neither does.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn settings(&self) -> Settings {
        Settings { thread_slices: self.0.settings().thread_slices || self.1.settings().thread_slices }
    }

    fn note(&mut self, fact: &Fact) {
        self.0.note(fact);
        self.1.note(fact);
    }

    fn entry(&mut self, entry: &Entry) {
        self.0.entry(entry);
        self.1.entry(entry);
    }

    fn has_stopped(&self) -> bool {
        self.0.has_stopped()
    }
}

/// Nobody wants nothing.
impl<O: Observer> Observer for Option<O> {
    fn settings(&self) -> Settings {
        self.as_ref().map_or_else(Settings::default, Observer::settings)
    }

    fn note(&mut self, fact: &Fact) {
        if let Some(observer) = self {
            observer.note(fact);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        if let Some(observer) = self {
            observer.entry(entry);
        }
    }
}

impl<O: Observer> Observer for &mut O {
    fn settings(&self) -> Settings {
        (**self).settings()
    }

    fn note(&mut self, fact: &Fact) {
        (**self).note(fact);
    }

    fn entry(&mut self, entry: &Entry) {
        (**self).entry(entry);
    }

    fn has_stopped(&self) -> bool {
        (**self).has_stopped()
    }
}
