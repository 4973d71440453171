//! A recording as it was: played from moment to moment.
//!
//! In: a recording, and how far to play it. Out: what there was to see then. At its end the numbers are those
//! of `wsgi-trace report`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use profiler_core::fact::{EndReason, Fact};
use profiler_core::finding::Thresholds;
use profiler_core::machine::driver::now::ThreadGlance;
use profiler_core::model::Snapshot;
use profiler_core::model::now::Now;
use profiler_core::pipeline::{Pipeline, Settings};
use profiler_core::stream::Item;
use profiler_core::verdict;

use super::collect::Collector;
use super::plan::{Plan, time_of};
use crate::report::screen::model::{Shown, Source};
use crate::session::SessionError;
use crate::source::file::FileSource;

/// A recording being played.
pub struct Player {
    path: PathBuf,
    plan: Plan,
    source: FileSource,
    /// Read, but later than now.
    next: Option<Item<Bytes>>,
    /// None once the end was reached.
    pipeline: Option<Pipeline>,
    collector: Collector,
    at_ns: u64,
    last: (Arc<Snapshot>, Now),
}

impl Player {
    /// Opens a recording and reads it ahead.
    ///
    /// # Errors
    /// If it is not a recording, an empty one, or one of a newer version. A damaged one is played as far as
    /// it goes.
    pub fn open(path: &Path) -> Result<Self, SessionError> {
        let plan = Plan::read(path)?;
        if plan.start_ns == 0 {
            return Err(SessionError::NothingRecorded { path: path.to_path_buf() });
        }
        let mut player = Self {
            path: path.to_path_buf(),
            source: FileSource::open(path)?,
            at_ns: plan.start_ns,
            plan,
            next: None,
            pipeline: Some(Pipeline::new(Settings { thread_slices: true })),
            collector: Collector::default(),
            last: (Arc::new(Snapshot::default()), Now::default()),
        };
        player.play_until(player.at_ns);
        Ok(player)
    }

    /// Back to the start.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn rewind(&mut self) -> Result<(), SessionError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// Plays on for `duration_ns`.
    pub fn play(&mut self, duration_ns: u64) {
        self.play_until(self.at_ns.saturating_add(duration_ns));
    }

    /// Plays to the end.
    pub fn play_to_end(&mut self) {
        self.play_until(u64::MAX);
    }

    /// Whether the end was reached.
    pub const fn has_ended(&self) -> bool {
        self.pipeline.is_none()
    }

    /// Distance between two moments that can be distinguished.
    pub const fn step_ns(&self) -> u64 {
        self.plan.step_ns
    }

    fn play_until(&mut self, until_ns: u64) {
        self.at_ns = until_ns.min(self.plan.end_ns);
        let Some(pipeline) = &mut self.pipeline else { return };
        loop {
            let Some(item) = self.next.take().or_else(|| self.source.next()) else {
                self.end();
                return;
            };
            // What the threads were doing at the end is known at the end.
            if time_of(&item) > until_ns {
                self.next = Some(item);
                return;
            }
            let collector = &mut self.collector;
            pipeline.push(item, &mut |entry| collector.entry(&entry));
        }
    }

    /// The end: the snapshot of the report.
    fn end(&mut self) {
        let now = self.look().1;
        let Some(pipeline) = self.pipeline.take() else { return };
        let collector = &mut self.collector;
        let mut snapshot = pipeline.finish(&mut |entry| collector.entry(&entry));
        self.source.summary().tell(&mut snapshot.coverage.losses);
        self.at_ns = self.plan.end_ns;
        self.last = (Arc::new(snapshot), now);
    }

    /// How it stands now.
    fn look(&self) -> (Arc<Snapshot>, Now) {
        let Some(pipeline) = &self.pipeline else { return self.last.clone() };
        let moment_ns = self.plan.moment(self.at_ns);
        let open = self.plan.open_at(moment_ns);
        let glances: Vec<ThreadGlance> =
            open.iter().map(|(open, scheduled)| ThreadGlance::live(open, *scheduled, moment_ns)).collect();
        let closing = open.into_iter().map(|(open, _)| Fact::OpenSlice(open)).collect();
        let (snapshot, now) = pipeline.look(moment_ns, closing, EndReason::StillOpen, &glances);
        (Arc::new(snapshot), now)
    }

    /// What there is to see now.
    pub fn shown(&self, speed: u32, paused: bool) -> Shown {
        let (snapshot, now) = self.look();
        let findings = Arc::new(verdict::findings(&snapshot, &Thresholds::default()));
        let source = Source::Recording {
            position_ns: self.at_ns.saturating_sub(self.plan.start_ns),
            length_ns: self.plan.end_ns.saturating_sub(self.plan.start_ns),
            speed,
            paused,
            ended: self.has_ended(),
        };
        let (kept, rates) = (self.collector.kept(), self.collector.rates(self.at_ns));
        Shown { snapshot, findings, now, kept, rates, source, ..Shown::default() }
    }
}
