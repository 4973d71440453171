//! Verdicts: pure rules over a snapshot, one file each.
//!
//! In: a [`Snapshot`](crate::model::Snapshot). Out: one [`Finding`] per rule, with one of three answers. A finding
//! without evidence does not exist.

/// A rule's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is so.
    Present,
    /// It is not so.
    Absent,
    /// It cannot be said, and why.
    Undecided {
        /// Why, as a clause that follows "undecided: ".
        reason: String,
    },
}

/// One measured value that a verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was measured, with its unit in the name (`slots_busy_ratio`).
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// The value from which the rule says "present", where the evidence is what decides.
    pub threshold: Option<f64>,
}

/// What one rule says of this window.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Stable id, as in `wsgi-trace explain ID` (`slots-exhausted`).
    pub id: &'static str,
    /// The answer.
    pub answer: Answer,
    /// One sentence for a tired person, with its numbers.
    pub sentence: String,
    /// Request-seconds that it cost, in nanoseconds.
    pub cost_ns: u64,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// Requests counted for it.
    pub count: u64,
    /// Ids of exemplar requests.
    pub exemplars: Vec<u64>,
    /// The setting to turn for this server, or the next step.
    pub advice: String,
}
