//! Packing the items of a frame before compression: like next to like, and of each number what could not be
//! expected.
//!
//! In: the items of a frame as `item.rs` lays them out. Out: fewer bytes, and the same items again, to the
//! byte. A frame stands alone: nothing is carried from one to the next.
//!
//! Every field of a kernel record has a stream of its own, in which the difference to what was expected
//! stands as a zigzag varint (`field.rs` says what is expected). A stream of a field in which everything was
//! as expected is left out. The lengths of all streams come first, then the streams. `unpack.rs` is the way
//! back.

mod field;
mod unpack;

use rustc_hash::FxHashMap;

use self::field::{DISTINCTION, Expect, Field, MAX_FIELDS, SHAPES, Shape, TGID, TID, TIME, slice};
use super::item::TAG_KERNEL;

pub(super) use unpack::Unpacker;

/// Streams beside those of the fields: tags of the items, contexts, lengths, bytes.
const OTHER_STREAMS: usize = 4;
const TAGS: usize = 0;
const CONTEXTS: usize = 1;
const LENGTHS: usize = 2;
const BYTES: usize = 3;
const STREAMS: usize = OTHER_STREAMS + SHAPES.len() * MAX_FIELDS;

/// In the stream of tags: the tag of an item that is kept as it is, or this plus the index of its shape.
const FIRST_SHAPE: u8 = 128;

/// Values of a record's fields, in packing order.
type Values = [u64; MAX_FIELDS];

/// What a thread's last slice in this frame left.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    exit_ns: u64,
    sequence: u64,
}

impl Thread {
    /// After a slice with these values.
    fn after(values: &Values) -> Self {
        Self { exit_ns: value(values, TIME), sequence: value(values, slice::SEQUENCE) }
    }
}

/// What is known of the records so far.
#[derive(Debug, Default)]
struct State {
    last_ns: u64,
    /// The last record of each context.
    last: Vec<Values>,
    contexts: FxHashMap<(usize, u64, u64), usize>,
    threads: FxHashMap<u64, Thread>,
}

impl State {
    fn expected(&self, shape: &Shape, field: &Field, values: &Values, known: &Known) -> u64 {
        let before = self.last.get(known.context);
        let same = before.map_or(0, |before| value(before, known.place));
        let sum = |places: &[usize]| {
            places.iter().fold(0_u64, |sum, place| sum.wrapping_add(value(values, *place)))
        };
        let thread = || self.threads.get(&who(values)).copied().unwrap_or_default();
        match field.expect {
            Expect::Context => value(values, known.place),
            Expect::Same => same,
            Expect::Kind => u64::from(shape.kind),
            Expect::Length => (shape.bytes as u64).wrapping_add(known.tail_bytes),
            Expect::Tail => known.tail_bytes,
            Expect::RecordBefore => self.last_ns,
            Expect::Time => value(values, TIME),
            Expect::PerhapsTime => {
                let then = before.map_or(0, |before| value(before, TIME));
                if was_time(then, same) { value(values, TIME) } else { same }
            }
            Expect::Sequence => thread().sequence.wrapping_add(1),
            Expect::Enter => value(values, TIME).wrapping_sub(sum(&slice::CALL)),
            Expect::Gap => {
                value(values, slice::ENTER).wrapping_sub(thread().exit_ns).wrapping_sub(sum(&slice::GAP))
            }
        }
    }

    fn remember(&mut self, index: usize, context: usize, values: &Values) {
        self.last_ns = value(values, TIME);
        if let Some(last) = self.last.get_mut(context) {
            *last = *values;
        }
        // The slices' shape is the first.
        if index == 0 {
            self.threads.insert(who(values), Thread::after(values));
        }
    }

    fn new_context(&mut self) -> usize {
        self.last.push([0; MAX_FIELDS]);
        self.last.len() - 1
    }
}

/// What is known of a record besides its fields.
struct Known {
    context: usize,
    place: usize,
    tail_bytes: u64,
}

fn value(values: &Values, place: usize) -> u64 {
    values.get(place).copied().unwrap_or(0)
}

fn who(values: &Values) -> u64 {
    value(values, TGID) << 32 | value(values, TID)
}

/// Packs the items of a frame.
pub(super) fn pack(payload: &[u8]) -> Vec<u8> {
    let mut streams: Vec<Vec<u8>> = vec![Vec::new(); STREAMS];
    let mut state = State::default();
    let mut rest = payload;
    while let Some((tag, item)) = next_item(&mut rest) {
        let shaped = SHAPES.iter().position(|shape| tag == TAG_KERNEL && fits(shape, item));
        match shaped.and_then(|index| SHAPES.get(index).map(|shape| (index, shape))) {
            Some((index, shape)) => pack_record(&mut streams, &mut state, index, shape, item),
            None => {
                push(&mut streams, TAGS, &[tag]);
                put_number(&mut streams, LENGTHS, item.len() as u64);
                push(&mut streams, BYTES, item);
            }
        }
    }
    for stream in streams.iter_mut().skip(OTHER_STREAMS).filter(|stream| stream.iter().all(|byte| *byte == 0))
    {
        stream.clear();
    }
    let mut packed = Vec::with_capacity(payload.len() / 4);
    for stream in &streams {
        varint(&mut packed, stream.len() as u64);
    }
    for stream in &streams {
        packed.extend_from_slice(stream);
    }
    packed
}

/// The next item of a payload that our own writer gathered.
fn next_item<'bytes>(rest: &mut &'bytes [u8]) -> Option<(u8, &'bytes [u8])> {
    let (tag, after) = rest.split_first()?;
    let (length, after) = after.split_first_chunk::<4>()?;
    let (item, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some((*tag, item))
}

fn fits(shape: &Shape, record: &[u8]) -> bool {
    record.len() >= shape.bytes && record.starts_with(&shape.kind.to_le_bytes())
}

fn pack_record(streams: &mut [Vec<u8>], state: &mut State, index: usize, shape: &Shape, record: &[u8]) {
    let values = read_fields(shape, record);
    let tail = record.get(shape.bytes..).unwrap_or_default();
    push(streams, TAGS, &[FIRST_SHAPE | u8::try_from(index).unwrap_or(0)]);
    put_number(streams, LENGTHS, tail.len() as u64);
    push(streams, BYTES, tail);
    let key = (index, who(&values), value(&values, DISTINCTION));
    let Some(context) = state.contexts.get(&key).copied() else {
        // The first record of a context is kept as it is: it would be all difference, in streams else left
        // out.
        put_number(streams, CONTEXTS, 0);
        push(streams, BYTES, record.get(..shape.bytes).unwrap_or_default());
        let context = state.new_context();
        state.contexts.insert(key, context);
        state.remember(index, context, &values);
        return;
    };
    put_number(streams, CONTEXTS, context as u64 + 1);
    for (place, field) in shape.fields.iter().enumerate().filter(|(_, field)| field.expect != Expect::Context)
    {
        let known = Known { context, place, tail_bytes: tail.len() as u64 };
        let expected = state.expected(shape, field, &values, &known);
        let difference = value(&values, place).wrapping_sub(expected);
        put_number(streams, stream_of(index, place), zigzag(difference, field.bytes));
    }
    state.remember(index, context, &values);
}

/// Within a minute of its record: a point in time, not another number.
const fn was_time(record_ns: u64, number: u64) -> bool {
    record_ns.abs_diff(number) < 60_000_000_000
}

const fn stream_of(shape: usize, place: usize) -> usize {
    OTHER_STREAMS + shape * MAX_FIELDS + place
}

fn push(streams: &mut [Vec<u8>], stream: usize, bytes: &[u8]) {
    if let Some(stream) = streams.get_mut(stream) {
        stream.extend_from_slice(bytes);
    }
}

fn put_number(streams: &mut [Vec<u8>], stream: usize, number: u64) {
    if let Some(stream) = streams.get_mut(stream) {
        varint(stream, number);
    }
}

fn read_fields(shape: &Shape, record: &[u8]) -> Values {
    let mut values: Values = [0; MAX_FIELDS];
    for (field, value) in shape.fields.iter().zip(&mut values) {
        *value = read_field(record, field);
    }
    values
}

fn read_field(record: &[u8], field: &Field) -> u64 {
    let mut bytes = [0; 8];
    let place = bytes.get_mut(..field.bytes);
    if let (Some(place), Some(source)) = (place, record.get(field.offset..field.offset + field.bytes)) {
        place.copy_from_slice(source);
    }
    u64::from_le_bytes(bytes)
}

/// A difference of numbers of so many bytes, small on either side of zero.
const fn zigzag(difference: u64, bytes: usize) -> u64 {
    let unused = 64 - 8 * bytes;
    let signed = (difference << unused).cast_signed() >> unused;
    (signed << 1 ^ signed >> 63).cast_unsigned()
}

/// Seven bits a byte, lowest first; the eighth says that more follow.
fn varint(stream: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        stream.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    stream.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
#[path = "pack/tests.rs"]
mod tests;
