//! The attach report: what a run can see.
//!
//! In: nothing (those who attach fill it). Out: [`Attached`], and what follows from it.

use serde::{Deserialize, Serialize};

use super::Sight;

/// The attach report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// How system calls are hooked: `btf`, `tracepoints`, or not at all: [`Attached::LIGHT`].
    pub hooks: String,
    /// Why these hooks were chosen.
    pub hooks_reason: String,
    /// Programs attached.
    pub programs: Vec<String>,
    /// Programs that this kernel refused or lacks, with the reason and what the report misses without them.
    pub missing: Vec<MissingProgram>,
    /// Arrival of data is seen (`sock:sk_data_ready`, Linux 6.3): requests start at their first byte.
    pub arrival_measured: bool,
    /// Clients that find an accept queue full are distinguished, and how long that delays them is measured.
    pub delays_measured: bool,
    /// Another wsgi-trace was watching the same processes.
    pub other_profilers: u32,
    /// Time from the first attach call to the last.
    pub attach_ns: u64,
}

impl Attached {
    /// [`Attached::hooks`] of light mode.
    pub const LIGHT: &str = "light";
    /// Programs by which light mode sees accepts that fail.
    pub const OF_ACCEPTS: [&str; 2] = ["accept_returns", "accept4_returns"];
    /// The program that tells what a client asks over TLS; the others that belong to it are attached with it.
    pub const TLS_READS: &str = "tls_returns";
    /// Why light mode lacks a phase or a verdict.
    pub const LIGHT_SEES_NO_CALLS: &str = "light mode does not see system calls";

    /// What is seen of what threads do.
    pub fn sight(&self) -> Sight {
        if self.is_light() { Sight::Sleeps } else { Sight::Calls }
    }

    /// Whether accepts that fail are counted.
    pub fn counts_failing_accepts(&self) -> bool {
        !self.is_light() || Self::OF_ACCEPTS.iter().all(|name| self.programs.iter().any(|own| own == name))
    }

    /// Whether what is asked and answered over TLS is read in the server's OpenSSL.
    pub fn reads_tls(&self) -> bool {
        self.programs.iter().any(|program| program == Self::TLS_READS)
    }

    /// Whether clients that find the accept queue of a UNIX listener full are counted.
    pub fn counts_full_unix_queues(&self) -> bool {
        self.programs.iter().any(|program| program == "unix_find_other")
    }

    /// Whether this is light mode: no system call is hooked.
    pub fn is_light(&self) -> bool {
        self.hooks == Self::LIGHT
    }
}

/// A program that could not be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProgram {
    /// Name in the attach table.
    pub program: String,
    /// Why.
    pub reason: String,
    /// What the report cannot show.
    pub consequence: String,
}
