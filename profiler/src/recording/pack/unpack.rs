//! Unpacking: one item after the other out of a packed frame, with the expectations of `pack.rs`.
//!
//! In: the bytes of a frame, which may be hostile. Out: its items, as they were before packing. Each context
//! keeps what its fields need, so no field costs a look-up. A field that stays as it is costs one count.

mod stream;

use std::ops::Range;

use profiler_common::record::slice::SliceRecord;
use rustc_hash::FxHashMap;
use zerocopy::{FromZeros as _, IntoBytes as _};

use self::stream::{Stream, unzigzag};
use super::field::{Expect, Field, SHAPES, Shape};
use super::{BYTES, CONTEXTS, FIRST_SHAPE, LENGTHS, STREAMS, TAGS, Thread, stream_of, was_time};
use crate::recording::item::TAG_KERNEL;

/// The slices' shape is the first.
const SLICE: usize = 0;

/// Where an item of a frame lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::recording) struct Unpacked {
    /// Its tag.
    pub(in crate::recording) tag: u8,
    /// The fixed part of a kernel record, for [`Unpacker::fixed`]; `None`: another item.
    pub(in crate::recording) fixed: Option<usize>,
    /// What follows that, or all of another item: a part of the frame.
    pub(in crate::recording) bytes: Range<usize>,
    /// Length of the item.
    pub(in crate::recording) length_bytes: usize,
}

/// A frame that is being unpacked. It does not hold the frame's bytes: each call gets the same ones.
#[derive(Debug, Default)]
pub(in crate::recording) struct Unpacker {
    tags: Stream,
    places: Stream,
    lengths: Stream,
    bytes: Stream,
    last_ns: u64,
    contexts: Vec<Context>,
    threads: Vec<Thread>,
    thread_places: FxHashMap<u64, usize>,
    /// Of each shape the fields that are not always as in the record before.
    fields: Vec<Fields>,
    /// What the other fields of a slice are expected to be.
    of_slice: OfSlice,
}

/// The last record of a context.
#[derive(Debug)]
struct Context {
    shape: usize,
    /// Place of its thread.
    thread: usize,
    /// What followed the fixed part of the last record, if its length is told by [`Fields::lengths`].
    tail_bytes: Option<u64>,
    /// The fixed part lies in the first bytes of this: no other is longer than that of a slice.
    record: SliceRecord,
}

const _: () = {
    let mut shape = 0;
    while let Some((first, _)) = SHAPES.split_at(shape).1.split_first() {
        assert!(first.bytes <= size_of::<SliceRecord>());
        shape += 1;
    }
};

/// The fields of a shape that may change from one record to the next.
#[derive(Debug, Default)]
struct Fields {
    /// Expected to stay as they are: each depends on nothing but itself.
    steady: Vec<Steady>,
    /// Lengths that were always as expected: they change only with that of what follows the fixed part.
    lengths: Vec<Field>,
    /// Expected to be what others say, in packing order. Of a slice, those of [`OfSlice`] are not among
    /// them.
    moving: Vec<Moving>,
}

/// A field that is expected to stay as it is, and did not always.
#[derive(Debug)]
struct Steady {
    field: Field,
    /// In how many records more it stays.
    stays: usize,
    stream: Stream,
}

/// A field with an expectation that moves.
#[derive(Debug)]
struct Moving {
    field: Field,
    differences: Differences,
}

/// How a field differs from what was expected. `None`: it never does.
#[derive(Clone, Copy, Debug, Default)]
struct Differences(Option<Stream>);

/// Fields of a slice with expectations that move. Nearly all records are slices: these are named, not looped
/// over.
#[derive(Debug, Default)]
struct OfSlice {
    time: Differences,
    enter: Differences,
    gap: Differences,
    sequence: Differences,
    last: Differences,
}

impl Unpacker {
    /// Begins a frame; `None` where it was not made by [`pack`](super::pack).
    pub(in crate::recording) fn new(frame: &[u8]) -> Option<Self> {
        let mut lengths = Stream { at: 0, end: frame.len() };
        let mut streams = [Stream::default(); STREAMS];
        for stream in &mut streams {
            stream.end = usize::try_from(lengths.take(frame)?).ok()?;
        }
        let mut at = lengths.at;
        for stream in &mut streams {
            let end = at.checked_add(stream.end).filter(|end| *end <= frame.len())?;
            *stream = Stream { at, end };
            at = end;
        }
        let stream = |number: usize| streams.get(number).copied().unwrap_or_default();
        let mut of_slice = OfSlice::default();
        let fields =
            SHAPES.iter().enumerate().map(|(index, shape)| Fields::of(index, shape, stream, &mut of_slice));
        let fields = fields.collect();
        Some(Self {
            tags: stream(TAGS),
            places: stream(CONTEXTS),
            lengths: stream(LENGTHS),
            bytes: stream(BYTES),
            fields,
            of_slice,
            ..Self::default()
        })
    }

    /// Whether all items were taken.
    pub(in crate::recording) const fn is_at_end(&self) -> bool {
        self.tags.at >= self.tags.end
    }

    /// The next item; `None` at the end, and where the frame was not made by [`pack`](super::pack).
    #[inline]
    pub(in crate::recording) fn next(&mut self, frame: &[u8]) -> Option<Unpacked> {
        let tag = *frame.get(self.tags.split(1)?.start)?;
        let length = usize::try_from(self.lengths.take(frame)?).ok()?;
        let bytes = self.bytes.split(length)?;
        let Some(index) = tag.checked_sub(FIRST_SHAPE) else {
            return Some(Unpacked { tag, fixed: None, bytes, length_bytes: length });
        };
        let shape = SHAPES.get(usize::from(index))?;
        let fixed = Some(self.record(usize::from(index), shape, length as u64, frame)?);
        let length_bytes = shape.bytes.saturating_add(length);
        Some(Unpacked { tag: TAG_KERNEL, fixed, bytes, length_bytes })
    }

    /// The next item, if it is a slice and nothing follows it: its place for [`Self::slice`]. `None`:
    /// [`Self::next`] has it, or finds it broken.
    #[inline]
    pub(in crate::recording) fn next_slice(&mut self, frame: &[u8]) -> Option<usize> {
        let (mut tags, mut lengths) = (self.tags, self.lengths);
        let is_slice = frame.get(tags.split(1)?) == Some(&[FIRST_SHAPE][..]) && lengths.take(frame)? == 0;
        if !is_slice {
            return None;
        }
        let place = self.record(SLICE, SHAPES.first()?, 0, frame);
        match place {
            Some(_) => (self.tags, self.lengths) = (tags, lengths),
            // Nothing that follows can be distinguished.
            None => self.places.at = self.places.end,
        }
        place
    }

    /// The slice that was unpacked last into this place.
    #[inline]
    pub(in crate::recording) fn slice(&self, place: usize) -> &[u8] {
        self.contexts.get(place).map_or(&[][..], |context| context.record.as_bytes())
    }

    /// The fixed part of the record that was unpacked last into this place.
    #[inline]
    pub(in crate::recording) fn fixed(&self, place: usize) -> &[u8] {
        let fixed = self.contexts.get(place).and_then(|context| {
            let shape = SHAPES.get(context.shape)?;
            context.record.as_bytes().get(..shape.bytes)
        });
        fixed.unwrap_or_default()
    }

    /// Unpacks the fixed part of a record into its context, and returns that.
    fn record(&mut self, index: usize, shape: &Shape, tail_bytes: u64, frame: &[u8]) -> Option<usize> {
        let Some(place) = self.places.take(frame)?.checked_sub(1) else {
            return self.begin(index, shape, frame);
        };
        let place = usize::try_from(place).ok()?;
        let context = self.contexts.get_mut(place).filter(|context| context.shape == index)?;
        let thread = self.threads.get_mut(context.thread)?;
        let fields = self.fields.get_mut(index)?;
        let record = &mut context.record;
        for steady in &mut fields.steady {
            if steady.stays > 0 {
                steady.stays -= 1;
            } else {
                steady.change(record.as_mut_bytes(), frame)?;
            }
        }
        if context.tail_bytes != Some(tail_bytes) {
            for field in &fields.lengths {
                let expected = if field.expect == Expect::Tail { 0 } else { shape.bytes as u64 };
                set(record.as_mut_bytes(), *field, expected.wrapping_add(tail_bytes))?;
            }
            context.tail_bytes = Some(tail_bytes);
        }
        for Moving { field, differences } in &mut fields.moving {
            let expected = match field.expect {
                // The last three are those of slices alone.
                Expect::Context | Expect::Same | Expect::PerhapsTime | Expect::Enter | Expect::Gap => {
                    get(record.as_bytes(), *field)?
                }
                Expect::Kind => u64::from(shape.kind),
                Expect::Length => (shape.bytes as u64).wrapping_add(tail_bytes),
                Expect::Tail => tail_bytes,
                Expect::RecordBefore => self.last_ns,
                Expect::Time => record.header.time_ns,
                Expect::Sequence => thread.sequence.wrapping_add(1),
            };
            set(record.as_mut_bytes(), *field, expected.wrapping_add(differences.take(frame)?))?;
        }
        if index == SLICE {
            *thread = self.of_slice.follow(record, *thread, self.last_ns, frame)?;
        }
        self.last_ns = record.header.time_ns;
        Some(place)
    }

    /// Begins a context with its first record.
    fn begin(&mut self, index: usize, shape: &Shape, frame: &[u8]) -> Option<usize> {
        let mut record = SliceRecord::new_zeroed();
        let bytes = frame.get(self.bytes.split(shape.bytes)?)?;
        record.as_mut_bytes().get_mut(..shape.bytes)?.copy_from_slice(bytes);
        let who = u64::from(record.header.tgid) << 32 | u64::from(record.header.tid);
        let next = self.threads.len();
        let thread = *self.thread_places.entry(who).or_insert(next);
        if thread == next {
            self.threads.push(Thread::default());
        }
        self.last_ns = record.header.time_ns;
        if index == SLICE {
            let sequence = u64::from(record.sequence);
            *self.threads.get_mut(thread)? = Thread { exit_ns: record.header.time_ns, sequence };
        }
        self.contexts.push(Context { shape: index, thread, tail_bytes: None, record });
        Some(self.contexts.len() - 1)
    }
}

impl Fields {
    /// Of the shape with this index. A field without a stream was always as expected.
    fn of(index: usize, shape: &Shape, stream: impl Fn(usize) -> Stream, of_slice: &mut OfSlice) -> Self {
        let mut fields = Self::default();
        for (place, field) in shape.fields.iter().enumerate() {
            let stream = Some(stream(stream_of(index, place))).filter(|stream| stream.at < stream.end);
            let named = if index == SLICE { of_slice.named(field.expect) } else { None };
            if let Some(differences) = named {
                differences.0 = stream;
                continue;
            }
            match (field.expect, stream) {
                (Expect::Context | Expect::Same, Some(stream)) => {
                    fields.steady.push(Steady { field: *field, stays: 0, stream });
                }
                // The first record of a context has the kind of its shape already, but for hostile frames:
                // theirs keep what they say.
                (Expect::Context | Expect::Same | Expect::Kind, None) => {}
                (Expect::Length | Expect::Tail, None) => fields.lengths.push(*field),
                _ => fields.moving.push(Moving { field: *field, differences: Differences(stream) }),
            }
        }
        fields
    }
}

impl OfSlice {
    /// The differences of the one field of a slice of which that is expected.
    const fn named(&mut self, expect: Expect) -> Option<&mut Differences> {
        match expect {
            Expect::RecordBefore => Some(&mut self.time),
            Expect::Enter => Some(&mut self.enter),
            Expect::Gap => Some(&mut self.gap),
            Expect::Sequence => Some(&mut self.sequence),
            Expect::PerhapsTime => Some(&mut self.last),
            _ => None,
        }
    }

    /// Unpacks these fields of a record, whose others are known already. `before`: the thread's last slice;
    /// returns this one.
    #[inline]
    fn follow(
        &mut self,
        record: &mut SliceRecord,
        before: Thread,
        last_ns: u64,
        frame: &[u8],
    ) -> Option<Thread> {
        let before_ns = record.header.time_ns;
        let time_ns = last_ns.wrapping_add(self.time.take(frame)?);
        let call_ns = record.call_cpu_ns.wrapping_add(record.call_run_queue_ns);
        let enter_ns = time_ns.wrapping_sub(call_ns).wrapping_sub(record.call_blocked_ns);
        let enter_ns = enter_ns.wrapping_add(self.enter.take(frame)?);
        let gap_ns = enter_ns.wrapping_sub(before.exit_ns);
        let gap_cpu_ns = gap_ns.wrapping_sub(record.gap_run_queue_ns).wrapping_sub(record.gap_blocked_ns);
        record.gap_cpu_ns = gap_cpu_ns.wrapping_add(self.gap.take(frame)?);
        let sequence = before.sequence.wrapping_add(1).wrapping_add(self.sequence.take(frame)?);
        let [a, b, c, d, ..] = sequence.to_le_bytes();
        record.sequence = u32::from_le_bytes([a, b, c, d]);
        let [_, _, _, last] = &mut record.detail;
        let expected = if was_time(before_ns, *last) { time_ns } else { *last };
        *last = expected.wrapping_add(self.last.take(frame)?);
        (record.header.time_ns, record.enter_ns) = (time_ns, enter_ns);
        Some(Thread { exit_ns: time_ns, sequence: u64::from(record.sequence) })
    }
}

impl Steady {
    /// Takes the next difference, which is not known to be none, and counts the records after it that have
    /// none.
    fn change(&mut self, record: &mut [u8], frame: &[u8]) -> Option<()> {
        let difference = unzigzag(self.stream.take(frame)?);
        if difference != 0 {
            set(record, self.field, get(record, self.field)?.wrapping_add(difference))?;
        }
        let rest = frame.get(self.stream.at..self.stream.end)?;
        self.stays = rest.iter().take_while(|byte| **byte == 0).count();
        self.stream.at += self.stays;
        Some(())
    }
}

impl Differences {
    /// Takes the next one.
    #[inline]
    fn take(&mut self, frame: &[u8]) -> Option<u64> {
        match &mut self.0 {
            Some(stream) => Some(unzigzag(stream.take(frame)?)),
            None => Some(0),
        }
    }
}

/// A field of a record. Its width is one that the compiler knows: one load, not a copy of so many bytes.
#[inline]
fn get(record: &[u8], field: Field) -> Option<u64> {
    let place = record.get(field.offset..)?;
    Some(match field.bytes {
        2 => u64::from(u16::from_le_bytes(*place.first_chunk()?)),
        4 => u64::from(u32::from_le_bytes(*place.first_chunk()?)),
        _ => u64::from_le_bytes(*place.first_chunk()?),
    })
}

/// Sets a field of a record to as much of a number as it is wide.
#[inline]
fn set(record: &mut [u8], field: Field, number: u64) -> Option<()> {
    let place = record.get_mut(field.offset..)?;
    match (field.bytes, number.to_le_bytes()) {
        (2, [a, b, ..]) => *place.first_chunk_mut()? = [a, b],
        (4, [a, b, c, d, ..]) => *place.first_chunk_mut()? = [a, b, c, d],
        (_, bytes) => *place.first_chunk_mut()? = bytes,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_that_are_followed_for_slices_alone_are_those_of_slices_and_of_one_field_each() {
        let of = |shapes: &[Shape], expect| {
            shapes.iter().flat_map(|shape| shape.fields).filter(|field| field.expect == expect).count()
        };
        let (slices, others) = SHAPES.split_at(SLICE + 1);
        for expect in [Expect::PerhapsTime, Expect::Enter, Expect::Gap] {
            assert_eq!((of(slices, expect), of(others, expect)), (1, 0), "{expect:?}");
        }
        for expect in [Expect::RecordBefore, Expect::Sequence] {
            assert_eq!(of(slices, expect), 1, "{expect:?}");
        }
    }
}
