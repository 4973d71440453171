//! The classes of an object, by name.
//!
//! In: the memory of a process, an object. Out: names in the order in which Python looks for its methods.
//! Distances are those of `PyTypeObject` (Include/cpython/object.h) and `PyTupleObject` of 3.8 to 3.13. All
//! of it is hostile.

use super::super::memory::Memory;

/// Classes that are looked at of one object.
const MAX_CLASSES: u64 = 16;
/// Bytes of a name that are read.
const MAX_NAME: usize = 40;
/// Distances in a type of its name and of the tuple of its classes.
const NAME: u64 = 24;
const ORDER: u64 = 344;
/// Distances in a tuple of its length and of its elements.
const LENGTH: u64 = 16;
const ELEMENTS: u64 = 24;

/// Names of an object's class and of those that it is derived from, up to one that cannot be read.
pub(in crate::fact::python) fn names(memory: &dyn Memory, object: u64) -> Vec<String> {
    let word = |at: u64, distance: u64| memory.word(at.checked_add(distance)?).ok();
    let order = word(object, 8).and_then(|class| word(class, ORDER));
    let Some((order, length)) = order.and_then(|order| Some((order, word(order, LENGTH)?))) else {
        return Vec::new();
    };
    let class = |index: u64| name(memory, word(word(order, ELEMENTS + 8 * index)?, NAME)?);
    (0..length.min(MAX_CLASSES)).map_while(class).collect()
}

/// A name that ends in a zero byte.
fn name(memory: &dyn Memory, at: u64) -> Option<String> {
    let mut bytes = Vec::with_capacity(MAX_NAME);
    while bytes.len() < MAX_NAME && !bytes.contains(&0) {
        let word = memory.word(at.checked_add(bytes.len() as u64)?).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    let length = bytes.iter().position(|byte| *byte == 0)?;
    bytes.truncate(length);
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Words;
    use super::*;

    /// A class at `at` whose name has up to eight letters.
    fn class(memory: &mut Words, at: u64, name: &str, order: u64) {
        let mut letters = [0; 8];
        letters.iter_mut().zip(name.bytes()).for_each(|(letter, byte)| *letter = byte);
        memory.put(at + NAME, at + 0x400).put(at + 0x400, u64::from_le_bytes(letters)).put(at + 0x408, 0);
        memory.put(at + ORDER, order);
    }

    #[test]
    fn classes_are_named_in_the_order_of_methods_up_to_one_that_cannot_be_read() {
        let mut memory = Words::default();
        let (object, order) = (0x1000, 0x2000);
        memory.put(object + 8, 0x3000).put(order + LENGTH, 3);
        memory
            .put(order + ELEMENTS, 0x3000)
            .put(order + ELEMENTS + 8, 0x4000)
            .put(order + ELEMENTS + 16, 0x5000);
        class(&mut memory, 0x3000, "Own", order);
        class(&mut memory, 0x4000, "Server", 0);
        assert_eq!(names(&memory, object), ["Own", "Server"]);
        assert!(names(&memory, 0x9000).is_empty());
        memory.put(order + LENGTH, u64::MAX);
        assert_eq!(names(&memory, object).len(), 2, "a length that is none");
    }
}
