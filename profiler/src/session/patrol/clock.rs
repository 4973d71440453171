//! Samples of threads that computed or had slept, on their way to the session.
//!
//! In: their ring, what names places. Out: samples, and places that are new. It is done in the patrol's
//! thread, as that has the names.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use aya::maps::{Array, MapData, RingBuf};
use profiler_core::fact::Fact;
use profiler_core::fact::place::PlaceSeen;
use profiler_core::fact::sample::SampleSeen;

use super::step::WaitStep;
use crate::fact::asleep::Reader;
use crate::fact::sample::Samples;
use crate::source::live::clock::monotonic_ns;

/// Samples that wait for the session, which takes them some tens of times a second.
const MAX_WAITING: usize = 8192;

type Told = (SampleSeen, Option<PlaceSeen>);

/// The patrol's end of it.
pub(super) struct Clock {
    ring: RingBuf<MapData>,
    step: WaitStep,
    samples: Samples,
    sender: SyncSender<Told>,
}

/// The session's end of it.
pub(super) struct Ticks(Receiver<Told>);

/// What a reading gave.
pub(super) struct SamplesRead {
    /// Samples that had come.
    pub(super) found: u64,
    /// Samples that got lost.
    pub(super) lost: u64,
}

/// Both ends.
pub(super) fn clock(ring: RingBuf<MapData>, step: Array<MapData, u64>) -> (Clock, Ticks) {
    let (sender, receiver) = sync_channel(MAX_WAITING);
    (Clock { ring, step: WaitStep::new(step), samples: Samples::default(), sender }, Ticks(receiver))
}

impl Clock {
    /// Reads what has come, and tells what has waited for long enough, or all of it.
    pub(super) fn go(&mut self, reader: &mut Reader, is_last: bool) -> SamplesRead {
        let (mut found, mut lost) = (0, 0);
        let Some((places, proc)) = reader.places() else { return SamplesRead { found, lost } };
        while let Some(record) = self.ring.next() {
            found += 1;
            self.step.note(&record);
            lost += u64::from(!self.samples.note((places, proc), &record));
        }
        for told in self.samples.take(places, is_last) {
            if let Err(TrySendError::Full(told) | TrySendError::Disconnected(told)) =
                self.sender.try_send(told)
            {
                lost += 1;
                if let Some(place) = told.1 {
                    places.forget(&place);
                    self.samples.forget(&place);
                }
            }
        }
        self.step.adapt(proc);
        SamplesRead { found, lost }
    }
}

impl Ticks {
    /// What came since this was asked last, each with its time.
    pub(super) fn take(&self) -> impl Iterator<Item = (u64, Fact)> {
        let now_ns = monotonic_ns();
        self.0.try_iter().take(MAX_WAITING).flat_map(move |(sample, place)| {
            place
                .map(Fact::PlaceSeen)
                .into_iter()
                .chain([Fact::SampleSeen(sample)])
                .map(move |fact| (now_ns, fact))
        })
    }
}
