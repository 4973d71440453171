//! The Python interpreter of a process: which one it is, and where its locks are.
//!
//! In: mapped files, their symbols, the memory of the process. Out: [`InterpreterSeen`]. Everything that is
//! read comes from the traced process and is taken as hostile: bounded, checked, and refused where it does
//! not look as it should. A version that is not known is refused by name, never treated as its neighbour.

pub mod code;
mod collecting;
mod elf;
mod held;
mod holder;
mod layout;
pub(super) mod memory;
mod number;
pub mod place;
mod program;
mod stack;
pub mod take_gil;
pub mod task;
pub mod timers;
mod whose;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use profiler_common::gil::CollectingWay;
use profiler_core::fact::{InterpreterLock, InterpreterSeen};

use super::process::extent;
use super::process::version::{in_path, leading_version};
use super::{FactError, Proc, mapping};
pub use number::Numbers;

pub use super::mapping::Mapped;
use elf::Image;
use layout::Version;
use memory::{Memory, ProcessMemory};

/// Images remembered; a server's processes map the same files.
const MAX_IMAGES: usize = 4096;

/// Why the locks of an interpreter are not known.
#[derive(Debug, thiserror::Error)]
enum PythonError {
    /// Nothing shows its version.
    #[error("the version of the Python interpreter in {file} is not known")]
    NoVersion { file: String },
    /// Its version is none of those whose layout was verified.
    #[error("Python {version} is not known to this version of wsgi-trace")]
    UnknownVersion { version: Version },
    /// The memory of the process cannot be read.
    #[error("the interpreter's memory cannot be read ({0})")]
    Memory(#[from] memory::MemoryError),
    /// The file is not mapped as its own headers say.
    #[error("{file} is not mapped as its headers say")]
    Mapping { file: String },
    /// There is no interpreter yet: nothing went wrong.
    #[error("it has not been started")]
    NotStarted,
    /// What is there is no lock.
    #[error("what is at the place of Python {version}'s GIL does not look like one")]
    Implausible { version: Version },
    /// The interpreter's description of itself contradicts itself.
    #[error("the debug offsets of Python {version} make no sense")]
    DebugOffsets { version: Version },
}

/// What a look at a process gave.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// The fact.
    pub seen: InterpreterSeen,
    /// The file that holds the interpreter.
    pub file: Option<Mapped>,
    /// Its C library waits for condition variables on the stack, not on their own memory.
    pub waits_elsewhere: bool,
    /// Where it notes that it collects garbage; `None`: not known.
    pub collecting: Option<CollectingWay>,
}

/// Whether a mapped file is musl's C library or its loader, which are one. Where the loader is a link to the
/// library, that is mapped under its own name; glibc's has a number behind it.
fn is_musl(name: &str) -> bool {
    name.starts_with("ld-musl-") || name.starts_with("libc.musl-") || name == "libc.so"
}

/// What a process maps, as it was read last: that takes half a millisecond.
#[derive(Debug, Default)]
pub struct Mappings {
    extent: Option<(u64, u64)>,
    /// Files that are named like an interpreter first: the others need not be opened then.
    files: Vec<Mapped>,
}

impl Mappings {
    /// Reads them, unless they are as they were.
    fn read(&mut self, proc: &Proc, tgid: u32) -> Result<&[Mapped], FactError> {
        let extent = extent(proc, tgid);
        if extent.is_none() || extent != self.extent {
            *self = Self::default();
            self.files = mapping::mapped_files(proc, tgid)?;
            self.files.sort_by_key(|file| !file.name().contains("python"));
            self.extent = extent;
        }
        Ok(&self.files)
    }
}

/// Finds interpreters, and remembers what it learned of files.
#[derive(Debug, Default)]
pub struct Interpreters {
    images: HashMap<(String, u64), Option<Image>>,
    /// Executables, and whether they run on musl.
    on_musl: HashMap<(String, u64), bool>,
}

impl Interpreters {
    /// Looks at one process. A process without Python gives a fact without version.
    ///
    /// # Errors
    /// If the process is gone or its mappings may not be looked at.
    pub fn look(&mut self, proc: &Proc, tgid: u32) -> Result<Looked, FactError> {
        self.look_again(proc, tgid, &mut Mappings::default())
    }

    /// The same of a process that was looked at before; `mapped`: what was read of it then.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn look_again(&mut self, proc: &Proc, tgid: u32, mapped: &mut Mappings) -> Result<Looked, FactError> {
        let mapped = mapped.read(proc, tgid)?;
        let waits_elsewhere =
            mapped.iter().any(|file| is_musl(file.name())) || self.runs_on_musl(proc, tgid, mapped);
        let found = mapped.iter().find_map(|file| Some((file, self.image(proc, tgid, file)?)));
        let Some((file, image)) = found else {
            let refused = unknown_kind(mapped);
            let seen = InterpreterSeen { tgid, refused, ..InterpreterSeen::default() };
            return Ok(Looked { seen, waits_elsewhere, ..Looked::default() });
        };
        let mut seen = InterpreterSeen { tgid, file: bounded(file.name()), ..InterpreterSeen::default() };
        // The interpreter's numbers of threads are those of its own PID namespace.
        seen.foreign_numbers = !number::same_namespace(proc, tgid);
        let inner = if seen.foreign_numbers { number::numbers(proc, tgid) } else { Vec::new() };
        seen.inherited_number = number::of_parent(proc, tgid);
        let foreign = seen.foreign_numbers;
        let outcome = ProcessMemory::open(proc, tgid).map_err(PythonError::from).and_then(|memory| {
            let is_thread = |tid: u32| match foreign {
                true => inner.iter().any(|(inner, _)| *inner == tid),
                false => proc.of(tgid, &format!("task/{tid}")).exists(),
            };
            examine(&memory, file, &image, &named_version(file, mapped), &mut seen, is_thread)
        });
        let collecting = outcome.as_ref().ok().copied().flatten();
        match outcome {
            // Mapped, as in the children of a web server that embeds it, and not in use.
            Ok(_) | Err(PythonError::NotStarted) => {}
            Err(error) => seen.refused = Some(error.to_string()),
        }
        seen.tasks = task::told(&seen, mapped, &image);
        Ok(Looked { seen, file: Some(file.clone()), waits_elsewhere, collecting })
    }

    /// Whether the executable of a process says that it runs on musl, whatever the C library's file is
    /// called.
    fn runs_on_musl(&mut self, proc: &Proc, tgid: u32, mapped: &[Mapped]) -> bool {
        let Ok(path) = super::read::link(&proc.of(tgid, "exe")) else { return false };
        let Some(file) = mapped.iter().find(|file| path == file.path) else {
            return false;
        };
        if let Some(known) = self.on_musl.get(&file.key()) {
            return *known;
        }
        let is_musl = mapping::open(proc, tgid, file).is_some_and(elf::runs_on_musl);
        if self.on_musl.len() < MAX_IMAGES {
            self.on_musl.insert(file.key(), is_musl);
        }
        is_musl
    }

    /// What a mapped file says of an interpreter in it; `None`: it holds none.
    fn image(&mut self, proc: &Proc, tgid: u32, file: &Mapped) -> Option<Image> {
        let key = (file.device.clone(), file.inode);
        if let Some(known) = self.images.get(&key) {
            return known.clone();
        }
        let image = mapping::open(proc, tgid, file).and_then(elf::interpreter);
        if self.images.len() < MAX_IMAGES {
            self.images.insert(key, image.clone());
        }
        image
    }
}

/// Everything here that reads what a traced process made, over one run of bytes: for the fuzzer.
#[doc(hidden)]
pub fn read_hostile(bytes: &[u8]) {
    /// A memory that begins at 4096 and holds these bytes.
    struct Bytes<'a>(&'a [u8]);

    impl Memory for Bytes<'_> {
        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), memory::MemoryError> {
            let from = address.checked_sub(4096).and_then(|from| usize::try_from(from).ok());
            let range = from.and_then(|from| self.0.get(from..from.checked_add(into.len())?));
            into.copy_from_slice(range.ok_or(memory::MemoryError::Address)?);
            Ok(())
        }
    }

    let _ = elf::parse(std::io::Cursor::new(bytes));
    for machine in [object::Architecture::X86_64, object::Architecture::Aarch64] {
        let _ = take_gil::in_bytes(bytes, machine);
    }
    let memory = Bytes(bytes);
    let _ = layout::described(&memory, 4096);
    for minor in 7..=17 {
        let version = Version::parse(&format!("3.{minor}"));
        let _ = version.map(|version| layout::locks(&memory, 4096, version, true));
        let _ = version.map(|version| layout::collecting(&memory, 4096, version));
    }
    code::read_hostile(&memory, bytes);
    for line in String::from_utf8_lossy(bytes).lines() {
        let _ = mapping::parse(line);
    }
}

/// What a process without `_PyRuntime` runs, if its files are named like an interpreter: a CPython before
/// 3.7, or another implementation.
fn unknown_kind(mapped: &[Mapped]) -> Option<String> {
    mapped.iter().map(Mapped::name).find_map(|name| {
        let python = name.strip_prefix("libpython").or_else(|| name.strip_prefix("python"));
        if let Some(version) = python.and_then(leading_version) {
            // The version may be a known one: then it is this file that does not show its state.
            let is_known = Version::parse(&version).is_some_and(layout::is_known);
            return Some(match is_known {
                true => format!(
                    "the state of Python {version} was not found: {} has no symbol _PyRuntime",
                    bounded(name)
                ),
                false => format!("Python {version} is not known to this version of wsgi-trace"),
            });
        }
        let is_pypy = name.starts_with("libpypy") || name.starts_with("pypy");
        is_pypy.then(|| "PyPy is not known to this version of wsgi-trace".to_owned())
    })
}

/// The version by names: of the file itself, else of the directories that other files are mapped from.
fn named_version(file: &Mapped, mapped: &[Mapped]) -> Option<String> {
    let name = file.name();
    let own =
        name.strip_prefix("libpython").or_else(|| name.strip_prefix("python")).and_then(leading_version);
    own.or_else(|| mapped.iter().find_map(|other| in_path(&other.path)))
}

/// Reads an interpreter's version and locks out of a process. Returns where it notes that it collects
/// garbage, if that is known.
fn examine(
    memory: &dyn Memory,
    file: &Mapped,
    image: &Image,
    named: &Option<String>,
    seen: &mut InterpreterSeen,
    is_thread: impl Fn(u32) -> bool,
) -> Result<Option<CollectingWay>, PythonError> {
    let not_so = || PythonError::Mapping { file: bounded(file.name()) };
    let bias = image.bias(file.start, file.offset, procfs::page_size()).ok_or_else(not_so)?;
    let runtime = bias.checked_add(image.runtime).ok_or_else(not_so)?;
    let described = layout::described(memory, runtime)?;
    let version = match (described, image.version) {
        (Some(version), _) => Some(version),
        (None, Some(symbol)) => {
            let address = bias.checked_add(symbol).ok_or_else(not_so)?;
            Version::from_hex(memory.word(address)?)
        }
        (None, None) => named.as_deref().and_then(Version::parse),
    };
    let version = version.ok_or_else(|| PythonError::NoVersion { file: bounded(file.name()) })?;
    seen.version = Some(version.to_string());
    let found = layout::locks(memory, runtime, version, described.is_some())?;
    seen.free_threaded = found.free_threaded;
    seen.locks = found.locks;
    if let Some(main) = seen.locks.iter().find(|lock| lock.interpreter == 0) {
        // Only the lock switched on gives a free-threaded build one; what it says of itself must be what is
        // known of its version.
        let is_known = |way: &holder::Way| !found.free_threaded || found.thread_number_at == Some(way.at);
        let way = holder::way(memory, version, main.address, is_thread).filter(is_known);
        seen.thread_number_at = way.map(|way| way.at);
        seen.thread_number_through = way.and_then(|way| way.through);
        let collecting = layout::collecting(memory, runtime, version);
        return Ok(collecting.and_then(|way| collecting::confirmed(memory, main.address, way)));
    }
    Ok(None)
}

/// What is read of a lock at `address`, if it looks like one.
fn lock_at(
    memory: &dyn Memory,
    address: u64,
    interpreter: u64,
) -> Result<Option<InterpreterLock>, PythonError> {
    /// Longest switch interval taken for one, in µs.
    const MAX_INTERVAL_US: u64 = 1_000_000;
    if address == 0 || !address.is_multiple_of(8) {
        return Ok(None);
    }
    // `interval`, `last_holder`, `locked`.
    let mut bytes = [0; 24];
    memory.read(address, &mut bytes)?;
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let interval_us = word(0);
    let locked = word(16) as u32 as i32;
    if bytes == [0; 24] {
        return Err(PythonError::NotStarted);
    }
    let plausible =
        (1..=MAX_INTERVAL_US).contains(&interval_us) && word(8).is_multiple_of(8) && matches!(locked, -1..=1);
    Ok(plausible.then_some(InterpreterLock { address, interpreter, interval_us }))
}

/// A name from outside, of bounded length.
fn bounded(name: &str) -> String {
    name.chars().take(64).collect()
}
