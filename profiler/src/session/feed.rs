//! The mouth of the stream: redacts, records, passes on.
//!
//! In: raw records from the rings and facts. Out: the same, redacted, into the recording first and then into
//! the pipeline, so that a replay gets exactly what the live run got.

use profiler_common::record::lifecycle::{self, LifecycleRecord};
use profiler_common::record::{KIND_LIFECYCLE, RecordHeader};
use profiler_core::fact::{Fact, FactRecord};
use profiler_core::pipeline::Pipeline;
use profiler_core::redact::{Redactor, holds_captured};
use profiler_core::stream::Item;
use profiler_core::timeline::Entry;
use zerocopy::FromBytes as _;

use crate::recording::{Kept, RecordError, Recorder};

/// Processes that are remembered from one look at `/proc` to the next.
const MAX_NEWBORN: usize = 4096;

/// Takes everything a live run sees.
pub struct Feed {
    pipeline: Pipeline,
    redactor: Redactor,
    recorder: Option<Recorder>,
    kept: Option<Kept>,
    failed: Option<RecordError>,
    scratch: Vec<u8>,
    until_ns: u64,
    processes_born: u64,
    processes_ended: u64,
    /// Newborn processes that nobody has taken yet, each after its parent.
    newborn: Vec<(u32, u32)>,
}

impl Feed {
    /// A feed into `pipeline`, into a recording if one is wanted, and into what is kept in memory if that is.
    pub fn new(pipeline: Pipeline, recorder: Option<Recorder>, kept: Option<Kept>) -> Self {
        let (redactor, scratch) = (Redactor::default(), Vec::new());
        Self {
            pipeline,
            redactor,
            recorder,
            kept,
            failed: None,
            scratch,
            until_ns: u64::MAX,
            processes_born: 0,
            processes_ended: 0,
            newborn: Vec::new(),
        }
    }

    /// One raw kernel record. After the end of the window it is dropped.
    pub fn kernel(&mut self, record: &[u8], sink: &mut dyn FnMut(Entry)) {
        let Ok((header, _)) = RecordHeader::read_from_prefix(record) else {
            // Too short to be one: the decoder counts it.
            self.pass(record, sink);
            return;
        };
        if header.time_ns > self.until_ns {
            return;
        }
        if header.kind == KIND_LIFECYCLE
            && let Ok((record, _)) = LifecycleRecord::read_from_prefix(record)
        {
            self.life(&record);
        }
        if holds_captured(header.kind) {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            scratch.extend_from_slice(record);
            self.redactor.redact(&mut scratch);
            self.pass(&scratch, sink);
            self.scratch = scratch;
        } else {
            self.pass(record, sink);
        }
    }

    fn life(&mut self, record: &LifecycleRecord) {
        if record.what == lifecycle::FORK && record.other_tgid == record.other_tid {
            self.processes_born = self.processes_born.saturating_add(1);
            if self.newborn.len() < MAX_NEWBORN {
                self.newborn.push((record.header.tgid, record.other_tgid));
            }
        } else if record.what == lifecycle::EXIT && record.header.tgid == record.header.tid {
            self.processes_ended = self.processes_ended.saturating_add(1);
            self.redactor.forget(record.header.tgid);
        }
    }

    /// A fact that was true at `time_ns`; of one from after the end of the window the end is its time.
    pub fn fact_at(&mut self, fact: Fact, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let time_ns = time_ns.min(self.until_ns);
        let record = FactRecord { time_ns, fact };
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.record_fact(&record)
        {
            self.fail(error);
        }
        if let Some(kept) = &mut self.kept {
            kept.fact(&record);
        }
        self.pipeline.push::<&[u8]>(Item::Fact(Box::new(record)), sink);
    }

    /// The window ends at `until_ns`: what ended later is not part of it.
    pub const fn end_at(&mut self, until_ns: u64) {
        self.until_ns = until_ns;
    }

    /// Processes that the target has forked so far.
    pub const fn processes_born(&self) -> u64 {
        self.processes_born
    }

    /// Processes of the target of which the first thread has ended so far.
    pub const fn processes_ended(&self) -> u64 {
        self.processes_ended
    }

    /// Processes that were born since the last call, each after its parent. What is beyond the bound is found
    /// beneath the others.
    pub fn take_newborn(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.newborn)
    }

    /// Writes out what the recording holds back.
    pub fn flush(&mut self) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.flush()
        {
            self.fail(error);
        }
    }

    /// Whether the recording has failed.
    pub const fn recording_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether a recording is being written.
    pub const fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// What is kept in memory.
    pub const fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// What is kept in memory, to mark it and to copy it.
    pub const fn kept_mut(&mut self) -> Option<&mut Kept> {
        self.kept.as_mut()
    }

    /// The pipeline, to ask how far it is.
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The pipeline, to take windows from.
    pub const fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// Closes the recording; hands the pipeline out, and why the recording is incomplete if it is.
    pub fn finish(mut self) -> (Pipeline, Option<RecordError>) {
        if let Some(recorder) = self.recorder.take()
            && let Err(error) = recorder.finish()
        {
            self.fail(error);
        }
        (self.pipeline, self.failed)
    }

    fn pass(&mut self, record: &[u8], sink: &mut dyn FnMut(Entry)) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.record_kernel(record)
        {
            self.fail(error);
        }
        if let Some(kept) = &mut self.kept {
            kept.kernel(record);
        }
        self.pipeline.push(Item::Kernel(record), sink);
    }

    /// What was written stays; nothing more is.
    fn fail(&mut self, error: RecordError) {
        self.recorder = None;
        self.failed.get_or_insert(error);
    }
}
