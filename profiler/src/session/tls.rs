//! Probes in the server's OpenSSL: placed once TLS is there, and in the server's own processes alone.
//!
//! In: records of the first bytes that clients send, processes. Out: probes; what of them is attached, and
//! what is missing.

use std::collections::BTreeMap;
use std::path::Path;

use aya::programs::uprobe::UProbeLinkId;
use profiler_common::record::KIND_HEAD;
use profiler_common::record::head::{HeadRecord, INBOUND};
use profiler_core::fact::{Attached, MissingProgram};
use profiler_core::tls;
use zerocopy::FromBytes as _;

use crate::attach::tls::{Mode, PROGRAMS, Probe, Server, choose};
use crate::capability::{KERNEL_BTF, kernel_btf::KernelBtf};
use crate::fact::Proc;
use crate::fact::openssl::{self, Library, Process};
use crate::hook::table::WITHOUT_TLS_PROBES;
use crate::session::shared::Tap;

/// Processes that have probes, or were found to get none.
const MAX_PROCESSES: usize = 4096;
/// Reasons that are reported.
const MAX_REASONS: usize = 8;
/// Fewest bytes of a record's header by which it is taken for one.
const LEAST_BYTES: usize = 3;

/// A program, and what holds one of its probes.
type Placed = Vec<(&'static str, UProbeLinkId)>;

/// What is known of the server's OpenSSL.
pub(super) struct TlsWatch {
    mode: Mode,
    no_probes: Option<String>,
    /// Processes that are to be looked at, and whether a client speaks TLS with them.
    wanted: BTreeMap<u32, bool>,
    /// Processes that were: with their probes, if they have any.
    looked: BTreeMap<u32, Placed>,
    /// Whether filters of system calls stop returns; `None`: nobody has asked.
    filters_stop_returns: Option<bool>,
}

impl TlsWatch {
    pub(super) fn new(mode: Mode, no_probes: Option<String>) -> Self {
        Self { mode, no_probes, wanted: BTreeMap::new(), looked: BTreeMap::new(), filters_stop_returns: None }
    }

    /// A process of the server is known.
    pub(super) fn process(&mut self, tgid: u32) {
        if self.mode == Mode::Uprobes {
            self.want(tgid, false);
        }
    }

    /// Looks at a record, before anything of it is overwritten: whether a client speaks TLS with its process.
    pub(super) fn look_at(&mut self, record: &[u8]) {
        if self.mode == Mode::Off
            || record.first_chunk().map(|kind| u16::from_ne_bytes(*kind)) != Some(KIND_HEAD)
        {
            return;
        }
        let Ok((head, bytes)) = HeadRecord::read_from_prefix(record) else { return };
        let speaks_tls = head.direction == INBOUND && bytes.len() >= LEAST_BYTES && tls::begins(bytes);
        if speaks_tls {
            self.want(head.header.tgid, true);
        }
    }

    fn want(&mut self, tgid: u32, speaks_tls: bool) {
        if self.looked.len() < MAX_PROCESSES && !self.looked.contains_key(&tgid) {
            *self.wanted.entry(tgid).or_default() |= speaks_tls;
        }
    }

    /// Places what is wanted. Whether `attached` says something new.
    pub(super) fn place(&mut self, proc: &Proc, source: &mut Tap, attached: &mut Attached) -> bool {
        let mut is_new = false;
        for (tgid, speaks_tls) in std::mem::take(&mut self.wanted) {
            let (Ok(libraries), Ok(process)) = (openssl::libraries(proc, tgid), openssl::process(proc, tgid))
            else {
                continue;
            };
            if libraries.is_empty() && !speaks_tls {
                // The process may load OpenSSL yet.
                continue;
            }
            let placed = self.place_in((tgid, process), &libraries, source);
            is_new |= match &placed {
                Ok(_) => note_programs(attached),
                Err(reason) => note_missing(attached, reason),
            };
            self.looked.insert(tgid, placed.unwrap_or_default());
        }
        is_new
    }

    /// Probes of one process, in all of its libraries or in none.
    fn place_in(
        &mut self,
        (tgid, process): (u32, Process),
        libraries: &[Library],
        source: &mut Tap,
    ) -> Result<Placed, String> {
        if libraries.is_empty() {
            self.choose_in(None, process)?;
        }
        let mut placed = Vec::new();
        for library in libraries {
            for probe in self.choose_in(Some(library), process)? {
                match source.probe_in(tgid, probe.program, &library.file, probe.offset) {
                    Ok(link) => placed.push((probe.program, link)),
                    Err(reason) => {
                        take_off(source, placed);
                        return Err(reason);
                    }
                }
            }
        }
        Ok(placed)
    }

    fn choose_in(&mut self, library: Option<&Library>, process: Process) -> Result<Vec<Probe>, String> {
        let filters_stop_returns = process.filters_calls
            && *self.filters_stop_returns.get_or_insert_with(|| {
                let kernel = KernelBtf::load(Path::new(KERNEL_BTF)).ok();
                kernel.is_none_or(|kernel| filters_stop_returns(|name| kernel.has(name)))
            });
        choose(&Server {
            functions: library.map(|library| &library.functions),
            process,
            filters_stop_returns,
            no_probes: self.no_probes.as_deref(),
        })
    }

    /// Takes off what is left of processes that are gone.
    pub(super) fn forget(&mut self, known: &[u32], source: &mut Tap) {
        let gone: Vec<u32> = self.looked.keys().copied().filter(|tgid| !known.contains(tgid)).collect();
        for tgid in gone {
            take_off(source, self.looked.remove(&tgid).unwrap_or_default());
        }
    }
}

fn take_off(source: &mut Tap, placed: Placed) {
    for (program, link) in placed {
        source.take_off(program, link);
    }
}

/// Whether a filter of system calls stops the one by which a probed function returns (`uretprobe`, Linux
/// 6.11). Kernels that have `uprobe` as well (Linux 6.18) let both pass; whether an older one does cannot be
/// seen.
fn filters_stop_returns(has: impl Fn(&str) -> bool) -> bool {
    has("__x64_sys_uretprobe") && !has("__x64_sys_uprobe")
}

/// Whether that is new.
fn note_programs(attached: &mut Attached) -> bool {
    if attached.reads_tls() {
        return false;
    }
    attached.programs.extend(PROGRAMS.map(str::to_owned));
    true
}

/// Whether that is new.
fn note_missing(attached: &mut Attached, reason: &str) -> bool {
    let missing = || attached.missing.iter().filter(|missing| missing.program == Attached::TLS_READS);
    if missing().any(|missing| missing.reason == reason) || missing().count() >= MAX_REASONS {
        return false;
    }
    let (program, reason) = (Attached::TLS_READS.to_owned(), reason.to_owned());
    let consequence = WITHOUT_TLS_PROBES.to_owned();
    attached.missing.push(MissingProgram { program, reason, consequence });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::record::RecordHeader;
    use profiler_common::record::head::OUTBOUND;
    use zerocopy::IntoBytes as _;

    fn wanted(mode: Mode, direction: u32, bytes: &[u8]) -> bool {
        let header = RecordHeader { kind: KIND_HEAD, tgid: 7, ..RecordHeader::default() };
        let record = HeadRecord { header, direction, ..HeadRecord::default() };
        let mut watch = TlsWatch::new(mode, None);
        watch.look_at(&[record.as_bytes(), bytes].concat());
        watch.wanted.get(&7) == Some(&true)
    }

    #[test]
    fn a_process_is_looked_at_once_a_client_speaks_tls_with_it_unless_that_is_off() {
        const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1];
        for (mode, direction, bytes, expected) in [
            (Mode::Auto, INBOUND, HELLO, true),
            (Mode::Uprobes, INBOUND, HELLO, true),
            (Mode::Off, INBOUND, HELLO, false),
            (Mode::Auto, OUTBOUND, HELLO, false),
            (Mode::Auto, INBOUND, b"GET / HTTP/1.1", false),
            (Mode::Auto, INBOUND, &HELLO[..2], false),
            (Mode::Auto, INBOUND, &[23, 3, 3, 0, 80], true),
        ] {
            assert_eq!(wanted(mode, direction, bytes), expected, "{mode:?} {direction} {bytes:?}");
        }
        for (mode, expected) in [(Mode::Auto, false), (Mode::Uprobes, true), (Mode::Off, false)] {
            let mut watch = TlsWatch::new(mode, None);
            watch.process(7);
            assert_eq!(watch.wanted.contains_key(&7), expected, "{mode:?}");
        }
    }

    #[test]
    fn filters_stop_returns_where_the_kernel_has_a_call_for_them_and_is_not_known_to_let_it_pass() {
        let of = |names: &[&str]| filters_stop_returns(|name| names.contains(&name));
        assert!(!of(&[]) && of(&["__x64_sys_uretprobe"]));
        assert!(!of(&["__x64_sys_uretprobe", "__x64_sys_uprobe"]));
    }

    #[test]
    fn each_reason_is_told_once_and_programs_too() {
        let mut attached = Attached::default();
        assert!(note_missing(&mut attached, "a") && !note_missing(&mut attached, "a"));
        assert!(note_missing(&mut attached, "b"));
        assert_eq!(attached.missing.len(), 2);
        assert!(!attached.reads_tls() && note_programs(&mut attached) && !note_programs(&mut attached));
        assert_eq!(attached.programs, PROGRAMS);
    }
}
