//! What the kernel programs log, on stderr: for those who work on the programs (feature `bpf-log`).
//!
//! In: the log's ring buffer. Out: lines on stderr.

use aya::Ebpf;
use aya_log::EbpfLogger;

use super::LiveError;

/// Prints every record as one line.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("[{}] {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// The reader of the log.
pub(super) struct BpfLog(EbpfLogger<Stderr>);

impl BpfLog {
    /// Takes the log's ring buffer from the object.
    pub(super) fn start(ebpf: &mut Ebpf) -> Result<Self, LiveError> {
        EbpfLogger::init_with_logger(ebpf, Stderr)
            .map(Self)
            .map_err(|error| LiveError::Map { map: "AYA_LOGS", reason: error.to_string() })
    }

    /// Prints what has come.
    pub(super) fn print(&mut self) {
        self.0.flush();
    }
}
