//! How much `serve` keeps in memory, on the command line.
//!
//! In: arguments. Out: [`Kept`].

use std::time::Duration;

use clap::Args;

use super::full::Condition;
use super::{duration, export};
use crate::recording::Keep;

/// What is kept.
#[derive(Clone, Debug, Args)]
pub struct Kept {
    /// Keep the last so much time in memory, as a recording: GET /recording.wtrace
    ///
    /// So what happened before somebody looked can still be traced in full detail. It is bounded by
    /// --keep-memory too: /metrics says how much time that holds. Nothing is written to a disk. Whoever may
    /// ask for reports can have it, with whole paths and arguments of processes.
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub keep: Option<Duration>,
    /// What --keep may take in memory: a number with kB, MB, GB
    #[arg(long, value_name = "SIZE", default_value = "64MB", value_parser = export::size, requires = "keep", hide_short_help = true)]
    pub keep_memory: u64,
    /// Set aside what --keep has when this happens: conditions as of --full-when
    ///
    /// SIGUSR1 does it, too. GET /recording.wtrace?of=trigger has it. It stays for ten minutes at least, and
    /// takes as much memory again.
    #[arg(long, value_name = "CONDITION", value_delimiter = ',', requires = "keep", hide_short_help = true)]
    pub keep_when: Vec<Condition>,
}

impl Kept {
    /// What is wanted; `None`: nothing.
    pub fn wanted(&self) -> Option<Keep> {
        let budget_bytes = usize::try_from(self.keep_memory).unwrap_or(usize::MAX);
        self.keep.map(|length| Keep { length, budget_bytes })
    }
}

fn keep(text: &str) -> Result<Duration, String> {
    let length = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(10)..=Duration::from_hours(1)).contains(&length) {
        Ok(length)
    } else {
        Err("must lie between 10s and 1h".to_owned())
    }
}
