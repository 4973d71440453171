//! Loops made by hand.
//!
//! In: words at addresses, as the versions have them. Out: assertions.

use proptest::prelude::*;

use super::super::tests::Words;
use super::*;

const LOOP: u64 = 0x1000;
const VALUES: u64 = 0x2000;
const DICTIONARY: u64 = 0x3000;
const KEYS: u64 = 0x4000;

#[test]
fn attributes_are_found_where_each_version_has_them() {
    let word = |bytes: [u8; 8]| u64::from_le_bytes(bytes);
    type Put<'a> = &'a [(u64, u64)];
    let split = [(DICTIONARY + 32, KEYS), (DICTIONARY + 40, VALUES)];
    let in_dictionary = |at: u64| [&[(at, DICTIONARY)][..], &split].concat();
    let combined =
        [(DICTIONARY + 32, KEYS), (DICTIONARY + 40, 0), (KEYS + 8, word([5, 5, 1, 0, 0, 0, 0, 0]))];
    let older = [(LOOP + 16, DICTIONARY), (DICTIONARY + 32, KEYS), (DICTIONARY + 40, 0), (KEYS + 8, 64)];
    let inline = word([30, 24, 1, 1, 0, 0, 0, 0]);
    let cases: &[(&str, u8, Put<'_>, (u64, u64))] = &[
        ("3.8, keys shared", 8, &in_dictionary(LOOP + 16), (VALUES + 32, 8)),
        ("3.10, keys of its own", 10, &older, (KEYS + 40 + 64 + 4 * 24 + 16, 24)),
        ("3.11", 11, &[(LOOP - 32, VALUES)], (VALUES + 32, 8)),
        (
            "3.11, in a dictionary",
            11,
            &[&[(LOOP - 32, 0)][..], &in_dictionary(LOOP - 24)].concat(),
            (VALUES + 32, 8),
        ),
        (
            "3.11, keys of its own",
            11,
            &[&[(LOOP - 32, 0), (LOOP - 24, DICTIONARY)][..], &combined].concat(),
            (KEYS + 32 + 32 + 4 * 16 + 8, 16),
        ),
        ("3.12", 12, &[(LOOP - 24, VALUES - 1)], (VALUES + 32, 8)),
        ("3.12, in a dictionary", 12, &in_dictionary(LOOP - 24), (VALUES + 32, 8)),
        ("3.13", 13, &[(LOOP + 16, inline)], (LOOP + 24 + 32, 8)),
        (
            "3.13, in a dictionary",
            13,
            &[&[(LOOP + 16, 0)][..], &in_dictionary(LOOP - 24)].concat(),
            (VALUES + 40, 8),
        ),
    ];
    for (what, minor, put, expected) in cases {
        let mut memory = Words::default();
        for (at, word) in *put {
            memory.put(*at, *word);
        }
        assert_eq!(attribute(&memory, LOOP, *minor), Some(*expected), "{what}");
    }
}

#[test]
fn a_size_that_cannot_be_is_refused() {
    let mut memory = Words::default();
    memory.put(LOOP + 16, DICTIONARY).put(DICTIONARY + 32, KEYS).put(DICTIONARY + 40, 0);
    for size in [u64::MAX, u64::MAX / 2, u64::MAX - 39] {
        memory.put(KEYS + 8, size);
        assert_eq!(attribute(&memory, LOOP, 10), None, "{size}");
    }
}

#[test]
fn a_list_that_is_another_thing_by_now_is_no_list() {
    let way = TimersWay { slot: 0x100, list_type: 0x9000, ..TimersWay::default() };
    let mut memory = Words::default();
    memory.put(0x100, 0x200).put(0x208, 0x9000);
    assert!(is_there(&memory, way));
    memory.put(0x208, 0x9100);
    assert!(!is_there(&memory, way), "an object of another type");
    memory.put(0x100, u64::MAX);
    assert!(!is_there(&memory, way), "nowhere");
}

#[test]
fn a_type_is_known_by_its_name() {
    let mut memory = Words::default();
    memory.put(0x100, 0x200).put(0x208, 0x300).put(0x318, 0x400);
    for (name, wanted, expected) in [
        (b"list\0xyz", b"list\0\0\0\0", true),
        (b"listener", b"list\0\0\0\0", false),
        (b"collecti", b"collecti", true),
        (b"lists\0\0\0", b"collecti", false),
    ] {
        memory.put(0x400, u64::from_le_bytes(*name));
        assert_eq!(type_at(&memory, 0x100, wanted).is_some(), expected, "{name:?}");
    }
}

proptest! {
    #[test]
    fn memory_from_outside_gives_an_address_or_none(
        words in prop::collection::vec((0..0x80_u64, any::<u64>()), 0..40),
        minor in 8..14_u8,
    ) {
        let mut memory = Words::default();
        for (place, word) in words {
            memory.put(LOOP - 0x40 + 8 * place, word);
        }
        let _ = attribute(&memory, LOOP, minor);
    }
}
