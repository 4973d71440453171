//! What one reading of a recording says, held against what the routes do.
//!
//! In: requests, whose first path segment names what they do. Out: sums in ns.

use std::collections::BTreeMap;

use wsgi_trace_test_support::trace::TracedRequest;

/// Waits, and the routes that have them: a sleep (in the loop or in a thread), a back end's answer, a lock of
/// threads.
const WAITS: [(&str, &[&str]); 3] = [
    ("sleep", &["sleep", "pooled", "twice", "gather"]),
    ("backend_wait", &["backend", "turn", "twice", "gather"]),
    ("lock_wait", &["turn"]),
];

/// Sums over all whole requests, in ns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) requests: u64,
    pub(crate) total_ns: u64,
    /// Of which nobody knows what it was.
    pub(crate) unexplained_ns: u64,
    /// Called sleep, a wait for a back end, or for a lock, in requests that do no such thing.
    pub(crate) wrong_ns: u64,
    /// The phases of each request, by recording and number.
    phases: BTreeMap<(u32, u64), BTreeMap<String, u64>>,
    recordings: u32,
}

impl Account {
    /// Adds the requests of one recording.
    pub(crate) fn add(&mut self, requests: &[TracedRequest]) {
        for request in requests.iter().filter(|request| !(request.open || request.truncated)) {
            let Some(id) = request.id() else { continue };
            let does = |kinds: &[&str]| request.path().split('/').any(|segment| kinds.contains(&segment));
            self.requests += 1;
            self.total_ns += request.total_ns;
            self.unexplained_ns += request.phase_ns("unexplained");
            for (phase, kinds) in WAITS {
                if !does(kinds) {
                    self.wrong_ns += request.phase_ns(phase);
                }
            }
            let phases = request.phases.iter().map(|(phase, ns)| (phase.clone(), ns.unwrap_or(0)));
            self.phases.insert((self.recordings, id), phases.collect());
        }
        self.recordings += 1;
    }

    /// How much of the requests' time has another name than in this account.
    pub(crate) fn differs_ns(&self, other: &Self) -> u64 {
        let gained = |(id, phases): (&(u32, u64), &BTreeMap<String, u64>)| -> u64 {
            let theirs = other.phases.get(id);
            let of = |phase| theirs.and_then(|theirs| theirs.get(phase)).copied().unwrap_or(0);
            phases.iter().map(|(phase, ns)| ns.saturating_sub(of(phase))).sum()
        };
        self.phases.iter().map(gained).sum()
    }

    /// A share of the requests' time, in percent.
    pub(crate) fn percent(&self, ns: u64) -> f64 {
        ns as f64 * 100.0 / self.total_ns.max(1) as f64
    }

    /// In one line.
    pub(crate) fn say(&self) -> String {
        format!(
            "{} requests, {:.1} % unexplained, {:.2} % wrong",
            self.requests,
            self.percent(self.unexplained_ns),
            self.percent(self.wrong_ns)
        )
    }
}
