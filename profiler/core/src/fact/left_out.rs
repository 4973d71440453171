//! What is not watched because it would cost too much (`--max-cost`).
//!
//! In: nothing (who decides it tells it before a window begins). Out: [`LeftOut`].

use serde::{Deserialize, Serialize};

/// A stretch of time in which something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub what: Part,
    /// Since when.
    pub from_ns: u64,
    /// Until when; `None`: it goes on.
    pub to_ns: Option<u64>,
    /// What was taken before, as a share of all CPUs of the machine: by the kernel programs and by this
    /// process.
    pub cost_ratio: f64,
    /// What may be taken.
    pub max_ratio: f64,
}

closed_list! {
    /// What can be left out.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Part {
        Lines = "lines": "Lines of code, and looks at sleeping threads.",
        SystemCalls = "system_calls": "System calls: the server is watched in light mode.",
        Everything = "everything": "Everything: no program is attached.",
    }
}
