//! Unpacking: one item after the other out of a packed frame, with the expectations of `pack.rs`.
//!
//! In: the bytes of a frame, which may be hostile. Out: its items, as they were before packing. Each context keeps what its fields
//! need, so no field costs a look-up. A field that stays as it is costs one count.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::field::{Expect, Field, SHAPES, Shape, TIME, slice};
use super::{
    BYTES, CONTEXTS, FIRST_SHAPE, LENGTHS, STREAMS, TAGS, Thread, Values, mask, read_fields, stream_of,
    value, was_time, who,
};
use crate::recording::item::TAG_KERNEL;

/// Seven bits a byte.
const MAX_VARINT_BYTES: usize = 10;

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
}

/// What is left of a stream: where in the frame it lies.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    at: usize,
    end: usize,
}

/// The last record of a context.
#[derive(Debug)]
struct Context {
    shape: usize,
    /// Place of its thread.
    thread: usize,
    /// What followed the fixed part of the last record, if its length is told by [`Fields::lengths`].
    tail_bytes: Option<u64>,
    values: Values,
    record: Vec<u8>,
}

/// The fields of a shape that may change from one record to the next.
#[derive(Debug, Default)]
struct Fields {
    /// Expected to stay as they are: each depends on nothing but itself.
    steady: Vec<Steady>,
    /// Lengths that were always as expected: they change only with that of what follows the fixed part.
    lengths: Vec<Moving>,
    /// Expected to be what others say, in packing order.
    moving: Vec<Moving>,
}

/// A field that is expected to stay as it is, and did not always.
#[derive(Debug)]
struct Steady {
    place: usize,
    field: Field,
    /// In how many records more it stays.
    stays: usize,
    stream: Stream,
}

/// A field with an expectation that moves.
#[derive(Debug)]
struct Moving {
    place: usize,
    field: Field,
    /// As wide as the field.
    mask: u64,
    /// `None`: everything was as expected.
    stream: Option<Stream>,
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
        let fields = SHAPES.iter().enumerate().map(|(index, shape)| Fields::of(index, shape, stream));
        Some(Self {
            tags: stream(TAGS),
            places: stream(CONTEXTS),
            lengths: stream(LENGTHS),
            bytes: stream(BYTES),
            fields: fields.collect(),
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

    /// The fixed part of the record that was unpacked last into this place.
    pub(in crate::recording) fn fixed(&self, place: usize) -> &[u8] {
        self.contexts.get(place).map_or(&[], |context| &context.record)
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
        let before_ns = value(&context.values, TIME);
        for steady in &mut fields.steady {
            if steady.stays > 0 {
                steady.stays -= 1;
            } else {
                steady.change(context, frame)?;
            }
        }
        if context.tail_bytes != Some(tail_bytes) {
            for length in &fields.lengths {
                let expected = if length.field.expect == Expect::Tail { 0 } else { shape.bytes as u64 };
                let number = expected.wrapping_add(tail_bytes) & length.mask;
                context.set(length.place, length.field, number)?;
            }
            context.tail_bytes = Some(tail_bytes);
        }
        for Moving { place, field, mask, stream } in &mut fields.moving {
            let difference = match stream {
                Some(stream) => unzigzag(stream.take(frame)?),
                None => 0,
            };
            let values = &context.values;
            let same = value(values, *place);
            let sum = |places: &[usize]| {
                places.iter().fold(0_u64, |sum, place| sum.wrapping_add(value(values, *place)))
            };
            let expected = match field.expect {
                Expect::Context | Expect::Same => same,
                Expect::Kind => u64::from(shape.kind),
                Expect::Length => (shape.bytes as u64).wrapping_add(tail_bytes),
                Expect::Tail => tail_bytes,
                Expect::RecordBefore => self.last_ns,
                Expect::Time => value(values, TIME),
                Expect::PerhapsTime if was_time(before_ns, same) => value(values, TIME),
                Expect::PerhapsTime => same,
                Expect::Sequence => thread.sequence.wrapping_add(1),
                Expect::Enter => value(values, TIME).wrapping_sub(sum(&slice::CALL)),
                Expect::Gap => {
                    value(values, slice::ENTER).wrapping_sub(thread.exit_ns).wrapping_sub(sum(&slice::GAP))
                }
            };
            let number = expected.wrapping_add(difference) & *mask;
            if number != same {
                context.set(*place, *field, number)?;
            }
        }
        self.last_ns = value(&context.values, TIME);
        if index == 0 {
            *thread = Thread::after(&context.values);
        }
        Some(place)
    }

    /// Begins a context with its first record.
    fn begin(&mut self, index: usize, shape: &Shape, frame: &[u8]) -> Option<usize> {
        let record = frame.get(self.bytes.split(shape.bytes)?)?;
        let values = read_fields(shape, record);
        let next = self.threads.len();
        let thread = *self.thread_places.entry(who(&values)).or_insert(next);
        if thread == next {
            self.threads.push(Thread::default());
        }
        self.last_ns = value(&values, TIME);
        if index == 0 {
            *self.threads.get_mut(thread)? = Thread::after(&values);
        }
        self.contexts.push(Context {
            shape: index,
            thread,
            tail_bytes: None,
            values,
            record: record.to_vec(),
        });
        Some(self.contexts.len() - 1)
    }
}

impl Fields {
    /// Of the shape with this index. A field without a stream was always as expected.
    fn of(index: usize, shape: &Shape, stream: impl Fn(usize) -> Stream) -> Self {
        let mut fields = Self::default();
        for (place, field) in shape.fields.iter().enumerate() {
            let stream = Some(stream(stream_of(index, place))).filter(|stream| stream.at < stream.end);
            match (field.expect, stream) {
                (Expect::Context | Expect::Same, Some(stream)) => {
                    fields.steady.push(Steady { place, field: *field, stays: 0, stream });
                }
                // The first record of a context has the kind of its shape already, but for hostile frames: theirs keep what they say.
                (Expect::Context | Expect::Same | Expect::Kind, None) => {}
                (expect, stream) => {
                    let is_length = matches!(expect, Expect::Length | Expect::Tail) && stream.is_none();
                    let fields = if is_length { &mut fields.lengths } else { &mut fields.moving };
                    fields.push(Moving { place, field: *field, mask: mask(field.bytes), stream });
                }
            }
        }
        fields
    }
}

impl Steady {
    /// Takes the next difference, which is not known to be none, and counts the records after it that have none.
    fn change(&mut self, context: &mut Context, frame: &[u8]) -> Option<()> {
        let difference = unzigzag(self.stream.take(frame)?);
        if difference != 0 {
            let same = value(&context.values, self.place);
            context.set(self.place, self.field, same.wrapping_add(difference) & mask(self.field.bytes))?;
        }
        let rest = frame.get(self.stream.at..self.stream.end)?;
        self.stays = rest.iter().take_while(|byte| **byte == 0).count();
        self.stream.at += self.stays;
        Some(())
    }
}

impl Context {
    /// Sets a field to a number that is no wider.
    #[inline]
    fn set(&mut self, place: usize, field: Field, number: u64) -> Option<()> {
        *self.values.get_mut(place)? = number;
        let place = self.record.get_mut(field.offset..)?;
        // Of a width that the compiler knows: one store, not a copy of so many bytes.
        match (field.bytes, number.to_le_bytes()) {
            (2, [a, b, ..]) => *place.first_chunk_mut()? = [a, b],
            (4, [a, b, c, d, ..]) => *place.first_chunk_mut()? = [a, b, c, d],
            (_, bytes) => *place.first_chunk_mut()? = bytes,
        }
        Some(())
    }
}

impl Stream {
    /// Takes so many bytes.
    #[inline]
    fn split(&mut self, bytes: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.end)?;
        Some(std::mem::replace(&mut self.at, end)..end)
    }

    /// Takes a number.
    #[inline]
    fn take(&mut self, frame: &[u8]) -> Option<u64> {
        let rest = frame.get(self.at..self.end)?;
        match rest {
            // Most are one byte long, most others two.
            [byte, ..] if *byte < 0x80 => {
                self.at += 1;
                Some(u64::from(*byte))
            }
            [low, high, ..] if *high < 0x80 => {
                self.at += 2;
                Some(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.take_long(rest),
        }
    }

    fn take_long(&mut self, rest: &[u8]) -> Option<u64> {
        // Of the others, nearly all end within eight bytes, and have as many behind them: those are taken together.
        if let Some(bytes) = rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*bytes);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize / 8 + 1;
                return Some(sevens(word & (ends ^ (ends - 1))));
            }
        }
        let mut number = 0;
        for (place, byte) in rest.iter().take(MAX_VARINT_BYTES).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.at += place + 1;
                return Some(number);
            }
        }
        None
    }
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// The lower seven bits of each byte, put together.
const fn sevens(bytes: u64) -> u64 {
    let twice = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let four_times = (twice & 0x0000_3fff_0000_3fff) | (twice & 0x3fff_0000_3fff_0000) >> 2;
    (four_times & 0x0fff_ffff) | (four_times & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use super::super::{varint, zigzag};
    use super::*;

    #[test]
    fn numbers_of_every_width_survive_their_difference() {
        for bytes in [2, 4, 8] {
            for difference in [0, 1, mask(bytes), mask(bytes) >> 1, (mask(bytes) >> 1) + 1] {
                let back = unzigzag(zigzag(difference, bytes)) & mask(bytes);
                assert_eq!(back, difference, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn numbers_of_every_length_are_read_back_wherever_their_stream_ends() {
        let whole = |bytes: &[u8]| Stream { at: 0, end: bytes.len() };
        for shift in 0..64 {
            for number in [
                1 << shift,
                (1_u64 << shift).wrapping_sub(1),
                u64::MAX >> shift,
                0x5555_5555_5555_5555 >> shift,
            ] {
                for behind in 0..10 {
                    let mut bytes = Vec::new();
                    varint(&mut bytes, number);
                    let end = bytes.len();
                    bytes.resize(end + behind, 0xff);
                    let mut stream = whole(&bytes);
                    assert_eq!(stream.take(&bytes), Some(number), "{behind} bytes behind");
                    assert_eq!(stream.at, end);
                }
            }
        }
        assert_eq!(whole(&[0x80; 12]).take(&[0x80; 12]), None);
        assert_eq!(whole(&[0xff; 3]).take(&[0xff; 3]), None);
    }
}
