//! The kernel's type information: which names exist, and at which offset a field is.
//!
//! In: a BTF file. Out: names and byte offsets. Five megabytes are walked at every attach for two dozen
//! answers, so nothing is copied or built but an index of names. A reader that builds every type took 200 ms
//! of the attach, this one takes 10.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::path::Path;

use rustc_hash::FxHasher;

/// First two bytes of the file, in this machine's order.
const MAGIC: u16 = 0xeb9f;
/// `struct btf_type` without what follows it.
const TYPE_BYTES: usize = 12;
/// `struct btf_member`.
const MEMBER_BYTES: usize = 12;
/// No structure nests anonymous members deeper; a loop in a broken file ends here.
const MAX_DEPTH: u32 = 8;

/// Kinds of types (`include/uapi/linux/btf.h`).
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;

/// The kernel's type information.
pub struct KernelBtf {
    bytes: Vec<u8>,
    strings_at: usize,
    /// Place of each type by number; the first is `void`, which has none.
    types: Vec<u32>,
    /// By hash of a name: the structure that has it and has members; 0: something else has it.
    names: HashMap<u64, u32, BuildHasherDefault<FxHasher>>,
}

/// The type information could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's type information at {path} cannot be read: {reason}")]
pub struct BtfUnreadable {
    /// Path of the file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// One type: its first words.
#[derive(Clone, Copy)]
struct Head {
    at: usize,
    name: u32,
    info: u32,
    /// Type that it refers to, where it refers to one.
    refers_to: u32,
}

impl Head {
    const fn kind(self) -> u32 {
        self.info >> 24 & 31
    }

    const fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Bit fields share the word of a member's offset.
    const fn has_bit_fields(self) -> bool {
        self.info >> 31 != 0
    }

    const fn is_structure(self) -> bool {
        self.kind() == STRUCT || self.kind() == UNION
    }

    /// Bytes behind the first words; `None`: a kind that did not exist when this was written.
    const fn extra_bytes(self) -> Option<usize> {
        match self.kind() {
            1 | 14 | 17 => Some(4),
            2 | 7..=12 | 16 | 18 => Some(0),
            3 => Some(12),
            STRUCT | UNION | 15 | 19 => Some(12 * self.count()),
            6 | 13 => Some(8 * self.count()),
            _ => None,
        }
    }

    /// typedef, volatile, const, restrict and type tags stand for the type they refer to.
    const fn is_transparent(self) -> bool {
        matches!(self.kind(), 8..=11 | 18)
    }
}

impl KernelBtf {
    /// The file as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it is missing or is not BTF.
    pub fn load(path: &Path) -> Result<Self, BtfUnreadable> {
        let failed = |reason: String| BtfUnreadable { path: path.display().to_string(), reason };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(bytes).map_err(|reason| failed(reason.to_owned()))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, &'static str> {
        const CUT: &str = "it is cut off";
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err("it is not BTF of this machine");
        }
        let header = |at| word(&bytes, at).map(|word| word as usize).ok_or(CUT);
        let (sections_at, types_at, types_bytes) = (header(4)?, header(8)?, header(12)?);
        let strings_at = sections_at.checked_add(header(16)?).ok_or(CUT)?;
        let start = sections_at.checked_add(types_at).ok_or(CUT)?;
        let end = start.checked_add(types_bytes).filter(|end| *end <= bytes.len()).ok_or(CUT)?;
        let mut btf = Self { bytes, strings_at, types: vec![0], names: HashMap::default() };
        let mut at = start;
        while at < end {
            let head = btf.head_at(at).ok_or(CUT)?;
            let number = u32::try_from(btf.types.len()).ok().ok_or("it has too many types")?;
            if let Some(name) = btf.name(head.name).filter(|name| !name.is_empty()) {
                let known = btf.names.get(&hash(name)).copied();
                if known.unwrap_or(0) == 0 {
                    let is_wanted = head.is_structure() && head.count() > 0;
                    let key = hash(name);
                    btf.names.insert(key, if is_wanted { number } else { 0 });
                }
            }
            btf.types.push(u32::try_from(at).ok().ok_or("it is too large")?);
            let extra = head.extra_bytes().ok_or("it has a kind of type that is not known here")?;
            at = at.checked_add(TYPE_BYTES + extra).ok_or(CUT)?;
        }
        Ok(btf)
    }

    /// Whether a type or function of this name exists.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(&hash(name.as_bytes()))
    }

    /// Byte offset of a member; `path` is `member` or `member.inner`, anonymous members are looked through.
    pub fn offset(&self, of: &str, path: &str) -> Option<u32> {
        let number = self.names.get(&hash(of.as_bytes())).copied().filter(|number| *number != 0)?;
        let mut current = self.head(number).filter(|head| self.name(head.name) == Some(of.as_bytes()))?;
        let mut bits = 0_u32;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let (offset, type_number) = self.member(current, name.as_bytes(), 0)?;
            bits = bits.checked_add(offset)?;
            if names.peek().is_some() {
                current = self.resolve(type_number).filter(|head| head.is_structure())?;
            }
        }
        Some(bits / 8)
    }

    /// Number of the function of this name, by which programs call it.
    pub fn function(&self, name: &str) -> Option<u32> {
        if !self.has(name) {
            return None;
        }
        let is_it = |number: &u32| {
            let head = self.head(*number);
            head.is_some_and(|head| head.kind() == FUNCTION && self.name(head.name) == Some(name.as_bytes()))
        };
        (0..u32::try_from(self.types.len()).ok()?).find(is_it)
    }

    fn member(&self, of: Head, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        for index in 0..of.count() {
            let at = of.at + TYPE_BYTES + index * MEMBER_BYTES;
            let found = self.name(word(&self.bytes, at)?)?;
            let (type_number, offset) = (word(&self.bytes, at + 4)?, word(&self.bytes, at + 8)?);
            let bits = if of.has_bit_fields() { offset & 0x00ff_ffff } else { offset };
            if found == name {
                return Some((bits, type_number));
            }
            if found.is_empty()
                && let Some(inner) = self.resolve(type_number).filter(|head| head.is_structure())
                && let Some((offset, type_number)) = self.member(inner, name, depth + 1)
            {
                return Some((bits.checked_add(offset)?, type_number));
            }
        }
        None
    }

    /// The type itself, behind names and qualifiers.
    fn resolve(&self, number: u32) -> Option<Head> {
        let mut head = self.head(number)?;
        for _ in 0..MAX_DEPTH {
            if !head.is_transparent() {
                break;
            }
            head = self.head(head.refers_to)?;
        }
        Some(head)
    }

    fn head(&self, number: u32) -> Option<Head> {
        let at = *self.types.get(usize::try_from(number).ok()?)?;
        if at == 0 { None } else { self.head_at(usize::try_from(at).ok()?) }
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        let word = |place| word(&self.bytes, at + place);
        Some(Head { at, name: word(0)?, info: word(4)?, refers_to: word(8)? })
    }

    /// The name at this place of the strings, without its closing zero.
    fn name(&self, at: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.strings_at.checked_add(usize::try_from(at).ok()?)?..)?;
        rest.split(|byte| *byte == 0).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn hash(name: &[u8]) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_an_error_that_names_it() {
        let Err(error) = KernelBtf::load(Path::new("/nonexistent/vmlinux")) else { panic!("loaded nothing") };
        assert!(error.to_string().contains("/nonexistent/vmlinux"));
    }

    #[test]
    fn bytes_that_are_no_type_information_are_an_error() {
        assert!(KernelBtf::parse(Vec::new()).is_err());
        assert!(KernelBtf::parse(b"\x7fELF".to_vec()).is_err());
        let Ok(whole) = std::fs::read(crate::capability::KERNEL_BTF) else { return };
        for length in [1, 10, 23, 24, 30, whole.len() / 3, whole.len() / 2] {
            assert!(KernelBtf::parse(whole.iter().copied().take(length).collect()).is_err(), "{length}");
        }
    }

    #[test]
    fn running_kernel_has_the_fields_that_programs_read() {
        let Ok(btf) = KernelBtf::load(Path::new(crate::capability::KERNEL_BTF)) else {
            eprintln!("skipped: this kernel publishes no type information");
            return;
        };
        let tgid = btf.offset("task_struct", "tgid");
        let pid = btf.offset("task_struct", "pid");
        assert_eq!(
            tgid.zip(pid).map(|(tgid, pid)| tgid - pid),
            Some(4),
            "pid and tgid are neighbours in every kernel"
        );
        assert_eq!(btf.offset("sock", "__sk_common.skc_family"), btf.offset("sock_common", "skc_family"));
        assert!(btf.offset("sock_common", "skc_num").is_some(), "inside two anonymous members");
        assert!(btf.offset("sock", "sk_receive_queue.qlen") > btf.offset("sock", "sk_receive_queue"));
        assert!(btf.has("tcp_recvmsg") && !btf.has("no_such_function"));
        assert!(btf.function("tcp_recvmsg").is_some());
        assert_eq!(btf.function("task_struct"), None, "a type, no function");
        assert_eq!(btf.offset("task_struct", "no_such_member"), None);
        assert_eq!(btf.offset("no_such_struct", "member"), None);
    }
}
