//! How long it takes until a thread that was woken for the interpreter lock can take it.
//!
//! In: what threads did. Out: [`Handovers`], by one of two ways to measure them.

mod calls;
mod ends;

pub(super) use calls::by_calls;
pub(super) use ends::by_ends;

/// Each in order; each time is as likely as the others. None: too few calls or waits show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handovers {
    /// Of threads that had slept for [`AWAKE_NS`](profiler_forecast::setting::AWAKE_NS) or longer.
    pub(super) usual_ns: Vec<u64>,
    /// Of the others.
    pub(super) quick_ns: Vec<u64>,
}

impl Handovers {
    /// Where one kind is not known, it takes the times of the other.
    fn of(mut usual_ns: Vec<u64>, mut quick_ns: Vec<u64>) -> Self {
        if usual_ns.is_empty() {
            usual_ns.clone_from(&quick_ns);
        }
        if quick_ns.is_empty() {
            quick_ns.clone_from(&usual_ns);
        }
        Self { usual_ns, quick_ns }
    }
}
