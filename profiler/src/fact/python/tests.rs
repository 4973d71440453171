//! Interpreters made by hand, and garbage.
//!
//! In: memories and files that hold what a real interpreter holds, or anything. Out: assertions.

use std::collections::BTreeMap;
use std::io::Cursor;

use proptest::prelude::*;

use super::layout::{described, locks};
use super::memory::MemoryError;
use super::*;

const RUNTIME: u64 = 0x5000_0000;
const HEAP: u64 = 0x7000_0000;

/// Words at addresses; nothing else is mapped.
#[derive(Default)]
pub(super) struct Words(BTreeMap<u64, u64>);

impl Words {
    pub(super) fn put(&mut self, address: u64, word: u64) -> &mut Self {
        self.0.insert(address, word);
        self
    }

    fn lock(&mut self, address: u64) -> &mut Self {
        self.put(address, 5000).put(address + 8, 0x1000).put(address + 16, 1)
    }
}

impl Memory for Words {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        for (place, chunk) in (0..).step_by(8).zip(bytes.chunks_mut(8)) {
            let word = self.0.get(&(address + place)).ok_or(MemoryError::Address)?;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

fn version(text: &str) -> Version {
    Version::parse(text).expect("a version")
}

fn addresses(found: &layout::Found) -> Vec<(u64, u64)> {
    found.locks.iter().map(|lock| (lock.address, lock.interpreter)).collect()
}

#[test]
fn the_one_lock_of_old_interpreters_is_where_their_version_has_it() {
    for (name, distance) in [("3.8", 1152), ("3.9", 352), ("3.10", 352), ("3.11", 360)] {
        let mut memory = Words::default();
        memory.lock(RUNTIME + distance);
        let found = locks(&memory, RUNTIME, version(name), false).expect(name);
        assert_eq!(addresses(&found), [(RUNTIME + distance, 0)], "{name}");
        assert_eq!(found.locks[0].interval_us, 5000);
    }
}

#[test]
fn interpreters_of_3_12_are_walked_from_the_newest_and_the_main_one_is_known() {
    let mut memory = Words::default();
    let (sub, main) = (HEAP, HEAP + 0x10000);
    memory.put(RUNTIME + 40, sub).put(RUNTIME + 48, main);
    memory.put(sub, main).put(sub + 384, sub + 1040).lock(sub + 1040);
    memory.put(main, 0).put(main + 384, main + 1040).lock(main + 1040);
    let found = locks(&memory, RUNTIME, version("3.12"), false).expect("locks");
    assert_eq!(addresses(&found), [(main + 1040, 0), (sub + 1040, 1)]);
}

#[test]
fn an_interpreter_without_a_lock_yet_hides_no_other_and_one_that_shares_the_main_ones_adds_none() {
    let mut memory = Words::default();
    let [new, sharing, own, main] = [0, 1, 2, 3].map(|place| HEAP + place * 0x10000);
    memory.put(RUNTIME + 40, new).put(RUNTIME + 48, main);
    memory.put(new, sharing).put(new + 384, 0);
    memory.put(sharing, own).put(sharing + 384, main + 1040);
    memory.put(own, main).put(own + 384, own + 1040).lock(own + 1040);
    memory.put(main, 0).put(main + 384, main + 1040).lock(main + 1040);
    let found = locks(&memory, RUNTIME, version("3.12"), false).expect("locks");
    assert_eq!(addresses(&found), [(main + 1040, 0), (own + 1040, 3)]);
}

#[test]
fn however_many_interpreters_there_are_the_main_ones_lock_is_known() {
    let mut memory = Words::default();
    let at = |place: u64| HEAP + place * 0x10000;
    memory.put(RUNTIME + 40, at(200)).put(RUNTIME + 48, at(0));
    for place in 0..=200 {
        let next = if place == 0 { 0 } else { at(place - 1) };
        memory.put(at(place), next).put(at(place) + 384, at(place) + 1040).lock(at(place) + 1040);
    }
    let found = locks(&memory, RUNTIME, version("3.12"), false).expect("locks");
    assert_eq!(addresses(&found).first(), Some(&(at(0) + 1040, 0)));
    assert_eq!(found.locks.len(), 64);
}

/// Debug offsets of 3.13 (`lock_index` 14) or later (15), one interpreter.
fn described_runtime(hex: u64, lock_index: u64, free_threaded: bool) -> Words {
    let mut memory = Words::default();
    for index in 0..26 {
        memory.put(RUNTIME + index * 8, 0);
    }
    let shift = if free_threaded { 8 } else { 0 };
    memory.put(RUNTIME, u64::from_le_bytes(*b"xdebugpy")).put(RUNTIME + 8, hex);
    memory.put(RUNTIME + 16, u64::from(free_threaded)).put(RUNTIME + 40, 632);
    memory.put(RUNTIME + 56, 7200).put(RUNTIME + 64, 7264);
    memory.put(RUNTIME + lock_index * 8, 16).put(RUNTIME + (lock_index + 1) * 8, 1000);
    memory.put(RUNTIME + (lock_index + 3) * 8, 1016 + shift).put(RUNTIME + 25 * 8, 160);
    memory
        .put(RUNTIME + 632, HEAP)
        .put(RUNTIME + 640, HEAP)
        .put(HEAP + 7264, 0)
        .put(HEAP + 7200, 0)
        .put(HEAP + 16, HEAP + 9000);
    memory.lock(HEAP + 9000 + shift);
    memory
}

#[test]
fn later_interpreters_say_themselves_which_they_are_and_where_the_lock_is() {
    for (hex, lock_index, name) in
        [(0x030d_05f0, 14, "3.13.5"), (0x030e_0af0, 15, "3.14.10"), (0x030f_02f0, 15, "3.15.2")]
    {
        let memory = described_runtime(hex, lock_index, false);
        let version = described(&memory, RUNTIME).expect("memory").expect("a cookie");
        assert_eq!(version.to_string(), name);
        let found = locks(&memory, RUNTIME, version, true).expect("locks");
        assert_eq!(addresses(&found), [(HEAP + 9000, 0)]);
        assert!(!found.free_threaded);
    }
}

#[test]
fn a_free_threaded_build_has_no_lock_until_it_is_switched_on() {
    let mut memory = described_runtime(0x030d_05f0, 14, true);
    memory.put(HEAP + 9000, 0);
    let found = locks(&memory, RUNTIME, version("3.13"), true).expect("no locks");
    assert!(found.free_threaded && found.locks.is_empty());
    memory.put(HEAP + 9000, u64::from(i32::MAX as u32));
    let found = locks(&memory, RUNTIME, version("3.13"), true).expect("a lock");
    assert!(found.free_threaded);
    assert_eq!(addresses(&found), [(HEAP + 9008, 0)]);
    assert_eq!(found.thread_number_at, version("3.13").thread_number_at(), "its holders can be told");
    // What stands there in later versions was not looked at: nothing is read by it.
    let mut memory = described_runtime(0x030e_0af0, 15, true);
    memory.put(HEAP + 9000, 1);
    let found = locks(&memory, RUNTIME, version("3.14"), true).expect("a lock");
    assert_eq!((found.locks.len(), found.thread_number_at), (1, None));
}

#[test]
fn an_unknown_version_is_refused_by_its_name() {
    for name in ["2.7", "3.7", "3.16", "4.0"] {
        let error = locks(&Words::default(), RUNTIME, version(name), true).expect_err(name);
        assert!(error.to_string().contains(&format!("Python {name} is not known")), "{error}");
    }
}

#[test]
fn interpreters_without_the_symbol_are_refused_by_their_name() {
    let reason = |path: &str| unknown_kind(&[Mapped { path: path.to_owned(), ..Mapped::default() }]);
    assert!(
        reason("/opt/lib/libpython2.7.so.1.0")
            .is_some_and(|text| text.starts_with("Python 2.7 is not known"))
    );
    assert!(reason("/usr/bin/python3.6").is_some_and(|text| text.starts_with("Python 3.6 is not known")));
    assert!(reason("/opt/lib/libpypy3.9-c.so").is_some_and(|text| text.starts_with("PyPy")));
    // A version whose layout is known is not called unknown: what is missing is said.
    for (path, name) in
        [("/opt/bin/python3.13", "python3.13"), ("/opt/lib/libpython3.12.so.1.0", "libpython3.12.so.1.0")]
    {
        let said = reason(path).expect("a reason");
        assert!(said.ends_with(&format!("was not found: {name} has no symbol _PyRuntime")), "{said}");
        assert!(!said.contains("not known to this version"), "{said}");
    }
    assert_eq!(reason("/usr/lib/libpythonic.so"), None);
    assert_eq!(reason("/usr/lib/python3.11/lib-dynload/_ssl.so"), None);
}

#[test]
fn what_does_not_look_like_a_lock_is_refused() {
    for (interval, holder, locked) in [(0, 0, 1), (2_000_000, 0, 1), (5000, 3, 1), (5000, 0, 2)] {
        let mut memory = Words::default();
        memory.put(RUNTIME + 360, interval).put(RUNTIME + 368, holder).put(RUNTIME + 376, locked);
        let error = locks(&memory, RUNTIME, version("3.11"), false).expect_err("refused");
        assert!(matches!(error, PythonError::Implausible { .. }), "{error}");
    }
}

#[test]
fn an_interpreter_that_is_mapped_and_not_started_is_no_failure() {
    // The children of a web server that embeds it map it without ever running it.
    for name in ["3.8", "3.11"] {
        let mut memory = Words::default();
        for word in 0..200 {
            memory.put(RUNTIME + word * 8, 0);
        }
        let outcome = locks(&memory, RUNTIME, version(name), false);
        assert!(matches!(outcome, Err(PythonError::NotStarted)), "{name}: {outcome:?}");
    }
    let mut memory = Words::default();
    memory.put(RUNTIME + 40, 0).put(RUNTIME + 48, 0);
    let outcome = locks(&memory, RUNTIME, version("3.12"), false);
    assert!(matches!(outcome, Err(PythonError::NotStarted)), "{outcome:?}");
    for free_threaded in [false, true] {
        let mut memory = described_runtime(0x030d_05f0, 14, free_threaded);
        memory.put(RUNTIME + 632, 0);
        let outcome = locks(&memory, RUNTIME, version("3.13"), true);
        let is_empty = outcome.as_ref().is_ok_and(|found| found.locks.is_empty());
        assert!(is_empty || matches!(outcome, Err(PythonError::NotStarted)), "{outcome:?}");
    }
}

#[test]
fn a_ring_of_interpreters_comes_to_an_end() {
    let mut memory = described_runtime(0x030d_05f0, 14, false);
    let (sub, own) = (HEAP + 0x20000, HEAP + 0x20000 + 9000);
    memory.put(RUNTIME + 632, sub).put(sub + 7264, sub).put(sub + 7200, 1).put(sub + 16, own).lock(own);
    let found = locks(&memory, RUNTIME, version("3.13"), true).expect("locks");
    assert_eq!(addresses(&found), [(HEAP + 9000, 0), (own, 1)]);
}

#[test]
fn lines_of_maps_are_distinguished() {
    let line = "55d0c0a00000-55d0c0c00000 r--p 00001000 fe:01 123 /usr/lib/lib python3.11.so.1.0 (deleted)";
    let file = mapping::parse(line).expect("a file");
    assert_eq!((file.start, file.end, file.offset), (0x55d0_c0a0_0000, 0x55d0_c0c0_0000, 0x1000));
    assert_eq!((file.inode, file.name()), (123, "lib python3.11.so.1.0"));
    for line in
        ["", "zz-1 r--p 0 fe:01 1 /x", "1-2 rw-p 0 00:00 0 [heap]", "1-2 rw-p 0 00:00 0", "1-2 r--p 0 0 /x"]
    {
        assert_eq!(mapping::parse(line), None, "{line}");
    }
}

#[test]
fn the_interpreter_of_a_real_executable_is_found_in_its_file() {
    let Ok(file) = std::fs::File::open("/usr/bin/python3") else { return };
    let image = elf::interpreter(file);
    // Debian's has it in the executable; elsewhere it may be in libpython.
    if let Some(image) = image {
        assert!(image.runtime > 0 && !image.segments.is_empty());
        assert!(image.segments.iter().any(|(_, address)| *address <= image.runtime));
    }
    let own = std::env::current_exe().and_then(std::fs::File::open).expect("this program");
    assert_eq!(elf::interpreter(own), None);
}

#[test]
fn the_function_that_takes_the_lock_is_found_in_a_real_interpreter_stripped_or_not() {
    let Ok(file) = std::fs::File::open("/usr/bin/python3") else { return };
    let in_executable = elf::interpreter(file.try_clone().expect("a file")).is_some();
    let found = take_gil::find(file);
    if in_executable {
        let functions = found.expect("found");
        let points = functions.iter().flat_map(|function| function.entry.iter().chain(&function.waits));
        assert!(points.clone().count() >= 2);
        // Nowhere else does a thread come by that does not wait.
        assert!(functions.iter().all(|function| function.waits.iter().all(|point| point.is_emulated)));
        assert!(functions.iter().all(|function| !function.unlocks.is_empty() && !function.exits.is_empty()));
    } else {
        assert_eq!(found, Err(take_gil::NotFound::NoCall));
    }
    let other = std::fs::File::open("/bin/true").expect("a program");
    assert_eq!(take_gil::find(other), Err(take_gil::NotFound::NoCall));
}

/// Attempts to take a lock with a limit of time, compiled with these options.
fn compiled(options: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    const SOURCE: &str = r"
#include <pthread.h>
#include <time.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int volatile locked;
#ifndef NOTE
#define NOTE (void)0
#endif
KIND int wait_for(long ns) {
    struct timespec until = {0, ns};
    return pthread_cond_timedwait(&cond, &mutex, &until);
}
__attribute__((noinline)) int take(void) {
    pthread_mutex_lock(&mutex);
    while (locked) { NOTE; wait_for(5000000); }
    locked = 1;
    return pthread_mutex_unlock(&mutex);
}
int main(void) { return take(); }
";
    let directory = tempfile::tempdir().expect("a directory");
    let (source, program) = (directory.path().join("take.c"), directory.path().join("take"));
    std::fs::write(&source, SOURCE).expect("written");
    let mut compiler = std::process::Command::new("cc");
    compiler.args(options).arg("-pthread").arg("-o").arg(&program).arg(&source);
    assert!(compiler.status().expect("a C compiler, which Rust links with").success());
    (directory, program)
}

#[test]
fn the_function_that_takes_the_lock_is_found_where_it_waits_by_a_function_of_its_own() {
    use object::{Object as _, ObjectSymbol as _};
    for kind in
        ["-DKIND=static inline __attribute__((always_inline))", "-DKIND=static __attribute__((noinline))"]
    {
        let (_directory, program) = compiled(&["-Og", kind]);
        let bytes = std::fs::read(&program).expect("read");
        let image = object::File::parse(&*bytes).expect("an executable");
        let take = image.symbols().find(|symbol| symbol.name() == Ok("take")).expect("the function");
        let reach = take.address()..take.address() + take.size();
        let found = take_gil::find(std::fs::File::open(&program).expect("opened")).expect("found");
        let [found] = &*found else { panic!("{kind}: {found:?}") };
        let points = found.entry.iter().chain(&found.waits).chain(&found.unlocks).chain(&found.exits);
        assert!(points.clone().all(|point| reach.contains(&point.address)), "{kind}: {found:?}");
        assert_eq!((found.waits.len(), found.exits.is_empty()), (1, false), "{kind}: {found:?}");
    }
}

/// gcc puts what calls a function that is `cold` apart from the rest of its function, as BOLT does with what
/// never ran in its profile.
#[test]
fn the_function_that_takes_the_lock_is_found_whole_where_its_wait_lies_apart_from_it() {
    use object::{Object as _, ObjectSymbol as _};
    let cold = "-DKIND=static void __attribute__((cold, noinline)) note(void) { locked = 0; } static inline __attribute__((always_inline))";
    let (_directory, program) = compiled(&[
        "-O2",
        "-fno-optimize-sibling-calls",
        "-freorder-blocks-and-partition",
        cold,
        "-DNOTE=note()",
    ]);
    let bytes = std::fs::read(&program).expect("read");
    let image = object::File::parse(&*bytes).expect("an executable");
    let reach = |name: &str| {
        let symbol = image.symbols().find(|symbol| symbol.name() == Ok(name)).expect(name);
        symbol.address()..symbol.address() + symbol.size()
    };
    let (take, apart) = (reach("take"), reach("take.cold"));
    let found = take_gil::find(std::fs::File::open(&program).expect("opened")).expect("found");
    let [found] = &*found else { panic!("{found:?}") };
    assert!(found.entry.is_some_and(|point| take.contains(&point.address)), "{found:?}");
    assert!(found.waits.iter().all(|point| apart.contains(&point.address)), "{found:?}");
    let ends = found.unlocks.iter().chain(&found.exits);
    assert!(ends.clone().any(|point| take.contains(&point.address)), "{found:?}");
    assert_eq!((found.waits.len(), found.exits.is_empty()), (1, false), "{found:?}");
}

#[test]
fn machine_code_of_another_architecture_is_refused_by_its_name() {
    use object::Architecture::{Aarch64, X86_64};
    let mut bytes = std::fs::read("/bin/true").expect("a program");
    // `e_machine`: EM_AARCH64, EM_X86_64, EM_RISCV.
    for (machine, name, own, refused) in [
        (183, "aarch64", Aarch64, false),
        (183, "aarch64", X86_64, true),
        (62, "x86_64", X86_64, false),
        (62, "x86_64", Aarch64, true),
        (243, "riscv64", X86_64, true),
    ] {
        bytes[18] = machine;
        let error = take_gil::in_bytes(&bytes, own).expect_err("nothing of an interpreter is in it");
        assert_eq!(
            matches!(error, take_gil::NotFound::Architecture(_)),
            refused,
            "{name} on {own:?}: {error}"
        );
        assert!(!refused || error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_process_without_python_has_none_and_one_that_is_gone_is_an_error() {
    let seen = Interpreters::default().look(&Proc::default(), std::process::id()).expect("this process");
    assert_eq!(seen.seen, InterpreterSeen { tgid: std::process::id(), ..InterpreterSeen::default() });
    assert!(seen.file.is_none() && !seen.waits_elsewhere);
    assert!(Interpreters::default().look(&Proc::default(), u32::MAX).is_err());
}

/// Memory in which every address holds something.
struct Noise(u64);

impl Memory for Noise {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        for (place, byte) in (0u64..).zip(bytes) {
            let mixed = (address.wrapping_add(place) ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // Small numbers often, so that more than the first check passes.
            *byte = if mixed & 3 == 0 { (mixed >> 32) as u8 } else { 0 };
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_memory_holds_reading_it_ends_without_a_panic(
        seed in any::<u64>(), runtime in any::<u64>(), minor in 0u8..20, describes in any::<bool>(),
    ) {
        let version = Version::parse(&format!("3.{minor}")).expect("a version");
        let _ = described(&Noise(seed), runtime);
        if let Ok(found) = locks(&Noise(seed), runtime, version, describes) {
            prop_assert!(found.locks.len() <= 64);
        }
    }

    #[test]
    fn whatever_a_file_holds_reading_it_ends_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert_eq!(elf::parse(Cursor::new(bytes)), None);
    }

    /// A true header with one stretch overwritten: the places that lead on are hit more often than by noise.
    #[test]
    fn a_damaged_executable_ends_without_a_panic(at in 0usize..0x400, damage in prop::collection::vec(any::<u8>(), 1..16)) {
        let Ok(mut bytes) = std::fs::read("/bin/true") else { return Ok(()) };
        for (byte, new) in bytes.iter_mut().skip(at).zip(damage) {
            *byte = new;
        }
        let _ = elf::parse(Cursor::new(&bytes));
        for machine in [object::Architecture::X86_64, object::Architecture::Aarch64] {
            let _ = take_gil::in_bytes(&bytes, machine);
        }
    }

    #[test]
    fn whatever_a_line_of_maps_holds_parsing_it_ends_without_a_panic(line in "[0-9a-f -]{0,40}.{0,40}") {
        let _ = mapping::parse(&line);
    }
}

/// An executable of 64 bits with this loader, if it has one, and one section of each of these names and
/// addresses.
fn executable(loader: Option<&str>, sections: &[(&str, u64)]) -> Vec<u8> {
    const HEADER: usize = 64;
    let (mut names, mut name_at) = (vec![0], Vec::new());
    for (name, _) in sections.iter().chain(&[(".shstrtab", 0)]) {
        name_at.push(names.len());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let segments = usize::from(loader.is_some());
    let loader = loader.map(|path| format!("{path}\0")).unwrap_or_default();
    let loader_at = HEADER + 56 * segments;
    let names_at = loader_at + loader.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);
    let (half, word, long) = (
        |n: usize| (n as u16).to_le_bytes(),
        |n: usize| (n as u32).to_le_bytes(),
        |n: usize| (n as u64).to_le_bytes(),
    );
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for part in [&half(2)[..], &half(62), &word(1), &long(0), &long(HEADER), &long(sections_at), &word(0)] {
        file.extend_from_slice(part);
    }
    for number in [HEADER, 56, segments, 64, sections.len() + 2, sections.len() + 1] {
        file.extend_from_slice(&half(number));
    }
    if segments > 0 {
        // PT_INTERP, readable.
        for part in [
            &word(3)[..],
            &word(4),
            &long(loader_at),
            &long(0),
            &long(0),
            &long(loader.len()),
            &long(0),
            &long(1),
        ] {
            file.extend_from_slice(part);
        }
    }
    file.extend_from_slice(loader.as_bytes());
    file.extend_from_slice(&names);
    file.resize(sections_at + 64, 0);
    for (index, (_, address)) in sections.iter().chain(&[(".shstrtab", 0)]).enumerate() {
        let is_names = index == sections.len();
        let (kind, at, length) = if is_names { (3, names_at, names.len()) } else { (1, 0, 0) };
        file.extend_from_slice(&word(name_at[index]));
        file.extend_from_slice(&word(kind));
        for number in [0, *address as usize, at, length] {
            file.extend_from_slice(&long(number));
        }
        file.resize(sections_at + 64 * (index + 2), 0);
    }
    file
}

#[test]
fn musl_is_known_by_its_loader_whatever_the_library_is_called_and_a_static_executable_by_what_glibc_leaves() {
    for (loader, sections, expected) in [
        (Some("/lib/ld-musl-x86_64.so.1"), &[".text"][..], true),
        (Some("/lib64/ld-linux-x86-64.so.2"), &[".text"], false),
        (None, &[".text", ".data"], true),
        (None, &[".note.ABI-tag", ".text"], false),
    ] {
        let sections: Vec<(&str, u64)> = sections.iter().map(|name| (*name, 0)).collect();
        assert_eq!(
            elf::runs_on_musl(Cursor::new(executable(loader, &sections))),
            expected,
            "{loader:?} {sections:?}"
        );
    }
    assert!(!elf::runs_on_musl(Cursor::new(b"no executable".to_vec())));
    assert!(is_musl("ld-musl-x86_64.so.1") && is_musl("libc.musl-x86_64.so.1") && is_musl("libc.so"));
    assert!(!is_musl("libc.so.6") && !is_musl("libc-2.31.so"));
    let own = std::env::current_exe().and_then(std::fs::File::open).expect("this program");
    assert_eq!(elf::runs_on_musl(own), cfg!(target_env = "musl"));
}

/// `ld-linux-x86-64.so.2 python3` runs on glibc, and its executable is the loader.
#[test]
fn glibcs_own_loader_is_not_taken_for_an_executable_of_musl() {
    let loader = "/lib64/ld-linux-x86-64.so.2";
    if cfg!(target_env = "gnu") {
        let file = std::fs::File::open(loader).expect("what this program was loaded by");
        assert!(!elf::runs_on_musl(file));
    }
}

#[test]
fn stripped_interpreter_is_found_by_the_section_that_holds_its_state() {
    let file = executable(None, &[(".text", 0x1000), (".PyRuntime", 0x5000)]);
    assert_eq!(elf::parse(Cursor::new(file)).map(|image| image.runtime), Some(0x5000));
    assert_eq!(elf::parse(Cursor::new(executable(None, &[(".text", 0x1000)]))), None);
}

/// As linkers lay arm64's files out, whose segments begin where pages of 64 KiB may.
#[test]
fn where_a_file_is_loaded_is_found_whatever_pages_the_kernel_has() {
    let image = Image { segments: vec![(0, 0x40_0000), (0x5c_fd88, 0x9d_fd88)], ..Image::default() };
    const BIAS: u64 = 0xaaaa_0000_0000;
    for (page_bytes, second) in [(0x1000, 0x5c_f000), (0x4000, 0x5c_c000), (0x1_0000, 0x5c_0000)] {
        for (offset, address) in [(0, 0x40_0000), (second, 0x41_0000 + second)] {
            assert_eq!(image.bias(BIAS + address, offset, page_bytes), Some(BIAS), "{page_bytes} {offset:x}");
        }
        assert_eq!(image.bias(BIAS, 0x10_0000, page_bytes), None);
    }
}
