//! Items inside a frame, before packing: tag, length, bytes.
//!
//! In: items. Out: bytes in a payload, and an item of its bytes. A tag is 1 byte, a length 4, little-endian.

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

/// Reads an item; `None`: its tag is not known, or its bytes are no fact.
pub(super) fn read(tag: u8, bytes: &[u8]) -> Option<Item<&[u8]>> {
    match tag {
        TAG_KERNEL => Some(Item::Kernel(bytes)),
        TAG_FACT => serde_json::from_slice::<FactRecord>(bytes).ok().map(|fact| Item::Fact(Box::new(fact))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::fact::Fact;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_none() {
        let fact = FactRecord { time_ns: 7, fact: Fact::Tick };
        let json = serde_json::to_vec(&fact).unwrap();
        assert!(matches!(read(TAG_FACT, &json), Some(Item::Fact(read)) if *read == fact));
        assert!(matches!(read(TAG_KERNEL, b"record"), Some(Item::Kernel(b"record"))));
        assert!(read(TAG_FACT, b"{\"not\": \"a fact\"}").is_none());
        assert!(read(9, b"tag of the future").is_none());
    }
}
