//! The OpenSSL of a process: the library, and where in its file the functions are through which plaintext
//! goes.
//!
//! In: `/proc/PID/maps` and the mapped files, hostile. Out: [`Library`]s with their [`Functions`]; what of
//! the process makes a probe at a return dangerous ([`Process`]). Sizes are bounded before anything is read.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use object::{Object as _, ObjectSymbol as _};

use super::mapping::{self, Mapped};
use super::python::take_gil::{Beginning, OWN, beginning};
use super::{FactError, Proc, read};

/// How the library is called, whatever comes behind: wheels that bring one give it a name of its own
/// (`libssl-1a2b3c4d.so.3`).
const NAME: &str = "libssl";
/// Larger files are not looked into.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Libraries of one process.
const MAX_LIBRARIES: usize = 4;
/// Of `status` this much is read.
const MAX_STATUS_BYTES: u64 = 16 * 1024;

/// A function that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it begins in the file.
    pub offset: u64,
    /// The function says through its fourth argument how many bytes it got; else it returns that.
    pub has_count: bool,
}

/// Where in the file probes see what is received and what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// Each of the functions through which everything is received.
    pub reads: Vec<Read>,
    /// Instructions on the way into each function that sends: their registers hold its arguments still.
    pub writes: Vec<u64>,
}

impl Functions {
    /// Whether what is received and what is sent goes through them.
    pub const fn are_whole(&self) -> bool {
        !self.reads.is_empty() && !self.writes.is_empty()
    }
}

/// A library that a process has mapped.
#[derive(Debug)]
pub struct Library {
    /// Its file.
    pub file: File,
    /// What it exports.
    pub functions: Functions,
}

/// What of a process matters where a function's return is probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its system calls are filtered (seccomp).
    pub filters_calls: bool,
    /// Its returns are checked against a second stack (shadow stack).
    pub has_shadow_stack: bool,
}

/// The libraries of a process that plaintext goes through.
///
/// # Errors
/// If the process is gone or may not be looked at.
pub fn libraries(proc: &Proc, tgid: u32) -> Result<Vec<Library>, FactError> {
    let mapped = mapping::mapped_files(proc, tgid)?;
    let library = |mapped: &Mapped| {
        let file = mapped.open(proc, tgid)?;
        let functions = functions(&file).filter(Functions::are_whole)?;
        Some(Library { file, functions })
    };
    let named = mapped.iter().filter(|mapped| mapped.name().starts_with(NAME));
    Ok(named.filter_map(library).take(MAX_LIBRARIES).collect())
}

/// What a process has that makes probes at returns dangerous.
///
/// # Errors
/// If the process is gone or may not be looked at.
pub fn process(proc: &Proc, tgid: u32) -> Result<Process, FactError> {
    let path = proc.of(tgid, "status");
    let text =
        read::text(&path, MAX_STATUS_BYTES).map_err(|error| FactError::of_process(tgid, &path, error))?;
    Ok(in_status(&text))
}

/// What a process has that makes such probes dangerous, by the text of `/proc/PID/status`.
fn in_status(status: &str) -> Process {
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Process {
        filters_calls: value("Seccomp:").trim() == "2",
        has_shadow_stack: value("x86_Thread_features:").split_whitespace().any(|feature| feature == "shstk"),
    }
}

/// The functions of a file; `None`: it is no library of this machine's.
fn functions(mut file: &File) -> Option<Functions> {
    if file.metadata().ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    // Opened before, perhaps, and read.
    file.rewind().ok()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let image = object::File::parse(bytes.as_slice()).ok()?;
    (image.architecture() == OWN && image.is_little_endian()).then(|| in_image(&image))
}

fn in_image(image: &object::File<'_>) -> Functions {
    let exported: Vec<(&str, u64)> = image
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| Some((symbol.name().ok()?, symbol.address())))
        .collect();
    let begins = |name: &str| {
        let (_, address) = exported.iter().find(|(known, _)| *known == name)?;
        beginning(image, *address)
    };
    let [read, read_ex] = ["SSL_read", "SSL_read_ex"].map(begins);
    let is_exported = |address: u64| exported.iter().any(|(_, known)| *known == address);
    let reads = within(read, read_ex).filter(|address| !is_exported(*address));
    // The kernel carries its first instruction out by itself, which costs a tenth of one that it must step.
    let cheap = reads.and_then(|address| beginning(image, address)).filter(|inner| inner.first.is_emulated);
    let of = |function: Option<Beginning>, has_count| {
        function.map(|function| Read { offset: function.first.offset, has_count })
    };
    Functions {
        reads: match cheap {
            Some(_) => of(cheap, true).into_iter().collect(),
            None => [of(read, false), of(read_ex, true)].into_iter().flatten().collect(),
        },
        writes: ["SSL_write", "SSL_write_ex"]
            .into_iter()
            .filter_map(|name| Some(begins(name)?.entry.offset))
            .collect(),
    }
}

/// The function that both call first, with what they were called with themselves: OpenSSL's own, which takes
/// a fourth argument as `SSL_read_ex` does.
fn within(read: Option<Beginning>, read_ex: Option<Beginning>) -> Option<u64> {
    let (read, read_ex) = (read?.calls?, read_ex?.calls?);
    (read == read_ex).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::python::take_gil::ProbePoint;

    #[test]
    fn what_makes_returns_dangerous_is_read_of_the_status() {
        let of = |filters_calls, has_shadow_stack| Process { filters_calls, has_shadow_stack };
        for (status, expected) in [
            ("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\nx86_Thread_features:\t\n", of(false, false)),
            ("Seccomp:\t2\nx86_Thread_features:\tshstk wrss\n", of(true, true)),
            ("Seccomp:\t1\n", of(false, false)),
            ("", of(false, false)),
        ] {
            assert_eq!(in_status(status), expected, "{status:?}");
        }
        assert!(process(&Proc::default(), std::process::id()).is_ok());
        assert!(process(&Proc::at("/nowhere"), 1).is_err());
    }

    #[test]
    fn a_file_that_is_no_library_exports_nothing() {
        let own = File::open("/proc/self/exe").unwrap();
        assert!(!functions(&own).unwrap_or_default().are_whole());
        assert_eq!(functions(&File::open("/proc/self/maps").unwrap()), None);
    }

    #[test]
    fn both_functions_that_read_go_through_one_where_they_call_the_same_first() {
        let point = ProbePoint { offset: 1, address: 1, is_emulated: false };
        let calls = |calls| Some(Beginning { first: point, entry: point, calls });
        assert_eq!(within(calls(Some(7)), calls(Some(7))), Some(7));
        for (read, read_ex) in [
            (calls(Some(7)), calls(Some(8))),
            (calls(Some(7)), None),
            (None, calls(Some(7))),
            (calls(None), calls(None)),
        ] {
            assert_eq!(within(read, read_ex), None);
        }
    }

    #[test]
    fn this_process_has_no_openssl() {
        assert_eq!(libraries(&Proc::default(), std::process::id()).unwrap().len(), 0);
    }
}
