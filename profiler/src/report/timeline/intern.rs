//! Strings of the program's own, written once and named by number afterwards.
//!
//! In: static strings (so their number is bounded by the program text). Out: numbers, and the `InternedData`
//! that the next packet must carry.

use std::collections::HashMap;

use super::message::{InternedData, InternedName};

/// The strings of one sequence.
#[derive(Debug, Default)]
pub(super) struct Interner {
    categories: HashMap<&'static str, u64>,
    names: HashMap<&'static str, u64>,
    annotations: HashMap<&'static str, u64>,
    pending: InternedData,
}

impl Interner {
    /// Number of a category.
    pub(super) fn category(&mut self, text: &'static str) -> u64 {
        number(&mut self.categories, &mut self.pending.event_categories, text)
    }

    /// Number of an event's name.
    pub(super) fn name(&mut self, text: &'static str) -> u64 {
        number(&mut self.names, &mut self.pending.event_names, text)
    }

    /// Number of an annotation's name.
    pub(super) fn annotation(&mut self, text: &'static str) -> u64 {
        number(&mut self.annotations, &mut self.pending.debug_annotation_names, text)
    }

    /// What was numbered since the last call and must travel with the next packet.
    pub(super) fn take_pending(&mut self) -> Option<InternedData> {
        (self.pending != InternedData::default()).then(|| std::mem::take(&mut self.pending))
    }
}

fn number(
    known: &mut HashMap<&'static str, u64>,
    pending: &mut Vec<InternedName>,
    text: &'static str,
) -> u64 {
    let next = known.len() as u64 + 1;
    *known.entry(text).or_insert_with(|| {
        pending.push(InternedName { iid: Some(next), name: Some(text.to_owned()) });
        next
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_written_once_and_numbers_start_at_one() {
        let mut interner = Interner::default();
        assert_eq!(interner.name("read"), 1);
        assert_eq!(interner.name("write"), 2);
        assert_eq!(interner.name("read"), 1);
        assert_eq!(interner.category("read"), 1);
        let pending = interner.take_pending().expect("two names and a category");
        assert_eq!(pending.event_names.len(), 2);
        assert_eq!(pending.event_categories.len(), 1);
        assert_eq!(interner.name("write"), 2);
        assert_eq!(interner.take_pending(), None);
    }
}
