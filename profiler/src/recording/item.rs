//! Items inside a frame, before packing: tag, length, bytes.
//!
//! In: items. Out: bytes in a payload, and items again. A tag is 1 byte, a length 4, little-endian.

use profiler_core::fact::FactRecord;
use profiler_core::stream::Item;

/// Tag of a raw kernel record.
pub(super) const TAG_KERNEL: u8 = 1;
/// Bytes before those of an item: its tag and its length.
pub(super) const HEAD_BYTES: usize = 5;
/// Tag of a fact as JSON.
pub(super) const TAG_FACT: u8 = 2;

/// Appends a raw kernel record.
pub(super) fn put_kernel(payload: &mut Vec<u8>, record: &[u8]) {
    put(payload, TAG_KERNEL, record);
}

/// Appends a fact that is JSON already.
pub(super) fn put_fact(payload: &mut Vec<u8>, json: &[u8]) {
    put(payload, TAG_FACT, json);
}

/// Appends an item.
pub(super) fn put(payload: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    // Callers refuse items beyond MAX_ITEM_BYTES, so the length always fits.
    let [a, b, c, d] = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    payload.reserve(HEAD_BYTES + bytes.len());
    payload.extend_from_slice(&[tag, a, b, c, d]);
    payload.extend_from_slice(bytes);
}

/// What came out of a payload.
#[derive(Debug)]
pub(super) enum Taken<'payload> {
    Item(Item<&'payload [u8]>),
    /// One item that cannot be read; the next one can be tried.
    Unreadable,
    /// Nothing that follows can be distinguished.
    Broken,
}

/// Takes the next item off a payload; `None` at its end.
pub(super) fn take<'payload>(payload: &mut &'payload [u8]) -> Option<Taken<'payload>> {
    let before = std::mem::take(payload);
    if before.is_empty() {
        return None;
    }
    // Until the item is found whole, nothing more can be distinguished.
    let Some(([tag, length @ ..], after)) = before.split_first_chunk::<HEAD_BYTES>() else {
        return Some(Taken::Broken);
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((bytes, after)) = after.split_at_checked(length) else { return Some(Taken::Broken) };
    *payload = after;
    Some(read(*tag, bytes))
}

/// Reads an item of which tag and bytes are known.
pub(super) fn read(tag: u8, bytes: &[u8]) -> Taken<'_> {
    match tag {
        TAG_KERNEL => Taken::Item(Item::Kernel(bytes)),
        TAG_FACT => match serde_json::from_slice::<FactRecord>(bytes) {
            Ok(fact) => Taken::Item(Item::Fact(Box::new(fact))),
            Err(_) => Taken::Unreadable,
        },
        _ => Taken::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::fact::Fact;

    use super::*;

    #[test]
    fn items_come_back_and_an_unreadable_one_does_not_hide_the_next() {
        let fact = FactRecord { time_ns: 7, fact: Fact::Tick };
        let mut payload = Vec::new();
        put_kernel(&mut payload, b"record");
        put_fact(&mut payload, b"{\"not\": \"a fact\"}");
        put(&mut payload, 9, b"tag of the future");
        put_fact(&mut payload, &serde_json::to_vec(&fact).unwrap());
        payload.extend_from_slice(&[TAG_KERNEL, 255, 0, 0, 0, 1]);
        let mut payload = payload.as_slice();
        let taken: Vec<Taken<'_>> = std::iter::from_fn(|| take(&mut payload)).collect();
        assert_eq!(taken.len(), 5);
        assert!(matches!(taken[0], Taken::Item(Item::Kernel(b"record"))));
        assert!(matches!(taken[1], Taken::Unreadable));
        assert!(matches!(taken[2], Taken::Unreadable));
        assert!(matches!(&taken[3], Taken::Item(Item::Fact(read)) if **read == fact));
        assert!(matches!(taken[4], Taken::Broken));
    }
}
