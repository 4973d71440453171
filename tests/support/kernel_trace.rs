//! The kernel side alone: attached by the library, its raw records collected.
//!
//! In: a process. Out: records by kind, in the order of the ring.

use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::evidence::EvidenceRecord;
use profiler_common::record::frames::FramesRecord;
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::slice::{SliceRecord, Undecided};
use profiler_common::record::taken::TakenRecord;
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::wake::WakeRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_EVIDENCE, KIND_FRAMES, KIND_HEAD, KIND_LIFECYCLE, KIND_SLICE, KIND_TAKEN,
    KIND_TASK, KIND_TIMER, KIND_WAITER_FRAMES, KIND_WAKE, RecordHeader,
};
use wsgi_trace::attach::{Settings, attach};
use wsgi_trace::hook::table::{AttachPoint, PROGRAMS};
use wsgi_trace::source::live::LiveSource;
use zerocopy::FromBytes as _;

/// Records so far.
#[derive(Debug, Default)]
pub struct Records {
    /// Slices.
    pub slices: Vec<SliceRecord>,
    /// What is undecided of some of them.
    pub undecided: Vec<Undecided>,
    /// Heads with their bytes.
    pub heads: Vec<(HeadRecord, Vec<u8>)>,
    /// Births and deaths.
    pub lifecycles: Vec<LifecycleRecord>,
    /// Connections.
    pub connections: Vec<ConnectionRecord>,
    /// Threads woken by listeners.
    pub wakes: Vec<WakeRecord>,
    /// Where holders of interpreter locks were.
    pub frames: Vec<FramesRecord>,
    /// Where those were that waited long for them.
    pub waiter_frames: Vec<FramesRecord>,
    /// Which tasks threads of loops worked for.
    pub tasks: Vec<TaskRecord>,
    /// Timers that came due while a loop was busy.
    pub timers: Vec<TimerRecord>,
    /// Why connections and processes ended.
    pub evidence: Vec<EvidenceRecord>,
}

/// An attached kernel side.
pub struct KernelTrace {
    /// The source; dropping it detaches.
    pub source: LiveSource,
    /// What came so far.
    pub records: Records,
}

impl KernelTrace {
    /// Attaches to one process.
    ///
    /// # Errors
    ///
    /// Where the kernel does not let us.
    pub fn start(pid: u32, settings: &Settings) -> anyhow::Result<Self> {
        let (source, attached) = attach(settings, &mut || vec![pid])?;
        // Not every machine lets functions of its kernel be hooked.
        let is_function = |name: &str| {
            let is_hook =
                |place: &AttachPoint| matches!(place, AttachPoint::Function(_) | AttachPoint::Return(_));
            PROGRAMS.iter().any(|known| known.name == name && is_hook(&known.place))
        };
        let missing: Vec<_> =
            attached.missing.iter().filter(|missing| !is_function(&missing.program)).collect();
        anyhow::ensure!(missing.is_empty(), "missing programs: {missing:?}");
        Ok(Self { source, records: Records::default() })
    }

    /// Takes what is in the ring.
    ///
    /// # Errors
    ///
    /// Where a record is of no known layout.
    pub fn collect(&mut self) -> anyhow::Result<&Records> {
        let records = &mut self.records;
        let mut unknown = 0;
        self.source.drain(|bytes| {
            if records.take(bytes).is_none() {
                unknown += 1;
            }
        });
        anyhow::ensure!(unknown == 0, "{unknown} records of unknown layout");
        Ok(&self.records)
    }

    /// Collects until `found` finds something.
    ///
    /// # Errors
    ///
    /// Where it does not within ten seconds.
    pub fn until<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&Records) -> Option<T>,
    ) -> anyhow::Result<T> {
        crate::child::until(what, std::time::Duration::from_secs(10), || Ok(found(self.collect()?)))
    }
}

impl Records {
    fn take(&mut self, bytes: &[u8]) -> Option<()> {
        let (header, _) = RecordHeader::read_from_prefix(bytes).ok()?;
        match header.kind {
            KIND_SLICE => {
                let (slice, rest) = SliceRecord::read_from_prefix(bytes).ok()?;
                self.slices.push(slice);
                if !rest.is_empty() {
                    self.undecided.push(Undecided::read_from_bytes(rest).ok()?);
                }
            }
            KIND_LIFECYCLE => self.lifecycles.push(LifecycleRecord::read_from_bytes(bytes).ok()?),
            KIND_CONNECTION => self.connections.push(ConnectionRecord::read_from_bytes(bytes).ok()?),
            KIND_WAKE => self.wakes.push(WakeRecord::read_from_bytes(bytes).ok()?),
            KIND_FRAMES => self.frames.push(FramesRecord::read_from_bytes(bytes).ok()?),
            KIND_WAITER_FRAMES => self.waiter_frames.push(FramesRecord::read_from_bytes(bytes).ok()?),
            KIND_TASK => self.tasks.push(TaskRecord::read_from_bytes(bytes).ok()?),
            KIND_TIMER => self.timers.push(TimerRecord::read_from_bytes(bytes).ok()?),
            KIND_EVIDENCE => self.evidence.push(EvidenceRecord::read_from_bytes(bytes).ok()?),
            KIND_HEAD => {
                let (head, rest) = HeadRecord::read_from_prefix(bytes).ok()?;
                let captured = rest.get(..usize::try_from(head.captured_bytes).ok()?)?;
                self.heads.push((head, captured.to_vec()));
            }
            // Who had a CPU: the machine decides whether there are any.
            KIND_TAKEN => {
                TakenRecord::read_from_prefix(bytes).ok()?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The slices of one system call.
    pub fn calls(&self, system_call: u32) -> impl Iterator<Item = &SliceRecord> {
        self.slices.iter().filter(move |slice| u32::from(slice.system_call) == system_call)
    }
}
