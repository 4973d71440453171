//! Whether the server's OpenSSL gets probes, and which: a pure function of what its process and this kernel
//! are like.
//!
//! In: [`Server`]. Out: [`Probe`]s, or why there are none. A probe at a return is dangerous to some processes
//! on some kernels: those get none, whatever is asked for.

use crate::fact::openssl::{Functions, Process, Read};

/// When probes are placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In processes whose clients speak TLS with them, once one does.
    Auto,
    /// As `Auto`, and from the start in every process that has loaded OpenSSL.
    Uprobes,
    /// Never.
    #[default]
    Off,
}

/// Why a process gets no probes, whatever else: its OpenSSL cannot be found.
pub const NO_LIBRARY: &str =
    "the server's OpenSSL is no library of its own (libssl) that exports SSL_read and SSL_write";

/// What is known of a server's process.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Its OpenSSL; `None`: there is none that can be found.
    pub functions: Option<&'a Functions>,
    /// What the process is like.
    pub process: Process,
    /// Where a probe at a return makes the process call the kernel, filters of system calls stop that call,
    /// and the process crashes.
    pub filters_stop_returns: bool,
    /// Why this kernel gets no probes; `None`: it may.
    pub no_probes: Option<&'a str>,
}

/// A program of the object and where in the file it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name in the attach table.
    pub program: &'static str,
    /// Its place.
    pub offset: u64,
}

/// The programs.
pub const PROGRAMS: [&str; 4] = ["tls_reads", "tls_reads_ex", "tls_returns", "tls_writes"];

/// Chooses; `Err`: why there are none, as a clause.
///
/// # Errors
/// If none may be placed, or there is nothing to place them in.
pub fn choose(server: &Server<'_>) -> Result<Vec<Probe>, String> {
    if let Some(reason) = server.no_probes {
        return Err(reason.to_owned());
    }
    let functions = server.functions.ok_or_else(|| NO_LIBRARY.to_owned())?;
    if server.process.has_shadow_stack {
        return Err("the server's process has a shadow stack, which a probe at a return may break".to_owned());
    }
    if server.process.filters_calls && server.filters_stop_returns {
        return Err(
            "the server's system calls are filtered (seccomp), and on this kernel a probe at a return may then crash it"
                .to_owned(),
        );
    }
    let [reads, reads_ex, returns, writes] = PROGRAMS;
    let read = |read: &Read| {
        let called = if read.has_count { reads_ex } else { reads };
        [called, returns].map(|program| Probe { program, offset: read.offset })
    };
    let write = |offset: &u64| Probe { program: writes, offset: *offset };
    Ok(functions.reads.iter().flat_map(read).chain(functions.writes.iter().map(write)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::table::{self, AttachPoint, WITHOUT_TLS_PROBES};

    fn whole() -> Functions {
        let read = |offset, has_count| Read { offset, has_count };
        Functions { reads: vec![read(1, false), read(2, true)], writes: vec![3, 4] }
    }

    const fn server(functions: &Functions) -> Server<'_> {
        let process = Process { filters_calls: false, has_shadow_stack: false };
        Server { functions: Some(functions), process, filters_stop_returns: false, no_probes: None }
    }

    #[test]
    fn each_function_gets_its_program_and_each_that_reads_one_at_its_return_as_well() {
        let chosen = choose(&server(&whole())).unwrap();
        let places: Vec<_> = chosen.iter().map(|probe| (probe.program, probe.offset)).collect();
        let reads = [("tls_reads", 1), ("tls_returns", 1), ("tls_reads_ex", 2), ("tls_returns", 2)];
        assert_eq!(places, [&reads[..], &[("tls_writes", 3), ("tls_writes", 4)]].concat());
    }

    #[test]
    fn the_programs_are_those_of_the_table() {
        let in_table = table::PROGRAMS.iter().filter(|program| program.consequence == WITHOUT_TLS_PROBES);
        let names: Vec<_> = in_table
            .map(|program| {
                assert_eq!(program.place, AttachPoint::Process);
                program.name
            })
            .collect();
        assert_eq!(names, PROGRAMS);
        assert!(PROGRAMS.contains(&profiler_core::fact::Attached::TLS_READS));
    }

    #[test]
    fn where_a_probe_may_harm_the_server_there_is_none_and_each_reason_is_named() {
        let whole = whole();
        let server = || server(&whole);
        let filters = Process { filters_calls: true, has_shadow_stack: false };
        let shadow = Process { filters_calls: false, has_shadow_stack: true };
        for (server, said) in [
            (Server { no_probes: Some("no CAP_SYS_ADMIN"), ..server() }, Some("no CAP_SYS_ADMIN")),
            (Server { functions: None, ..server() }, Some("no library of its own")),
            (Server { process: shadow, ..server() }, Some("shadow stack")),
            (Server { process: filters, filters_stop_returns: true, ..server() }, Some("seccomp")),
            (Server { process: filters, ..server() }, None),
            (Server { filters_stop_returns: true, ..server() }, None),
        ] {
            let reason = choose(&server).err();
            assert_eq!(reason.is_some(), said.is_some(), "{server:?}");
            assert!(reason.unwrap_or_default().contains(said.unwrap_or_default()), "{server:?}");
        }
    }
}
