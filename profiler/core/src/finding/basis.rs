//! What every rule measures with: the snapshot, the limits, the sums derived from both, and the gates that
//! make a rule say "undecided".
//!
//! In: `Snapshot`, `Thresholds`. Out: [`Basis`], [`Verdict`], [`Undecided`].

use super::threshold::Thresholds;
use super::words;
use super::{Evidence, words::ratio};
use crate::model::Snapshot;
use crate::model::slot::Holding;
use crate::phase::{Phase, Phases};
use crate::server::advice::Advice;
use crate::server::kind_named;

/// Share of the window from which a load is as long as the window.
const NEARLY_WHOLE: f64 = 0.9;
/// Exemplars kept per finding.
const EXEMPLARS: usize = 5;

/// What a rule found, before it becomes a finding.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Present, or absent.
    pub present: bool,
    /// One sentence without its period.
    pub sentence: String,
    /// Request time that it cost, in nanoseconds.
    pub cost_ns: u64,
    /// The sum that its cost is a part of, in nanoseconds; `None`: this window has none.
    pub whole_ns: Option<u64>,
    /// What it rests on; the value that decides carries its threshold.
    pub evidence: Vec<Evidence>,
    /// Exemplar requests.
    pub exemplars: Vec<u64>,
    /// A next step that only these numbers can tell.
    pub next_step: Option<NextStep>,
}

/// How a step that the numbers suggest goes with the advice for the server.
#[derive(Clone, Debug)]
pub enum NextStep {
    /// It is worth knowing beside that.
    After(Advice),
    /// It is all there is to do.
    Instead(Advice),
}

/// Why a rule cannot say.
#[derive(Clone, Debug, Default)]
pub struct Undecided {
    /// A clause that follows "undecided: ".
    pub reason: String,
    /// What would decide it.
    pub next_step: &'static str,
    /// What was measured all the same.
    pub evidence: Vec<Evidence>,
}

/// A rule's outcome.
pub type Outcome = Result<Verdict, Undecided>;

/// The snapshot with its limits and the sums that several rules need.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The window's aggregates.
    pub snapshot: &'a Snapshot,
    /// The limits in force.
    pub thresholds: &'a Thresholds,
}

impl<'a> Basis<'a> {
    /// Joins a snapshot and limits.
    pub const fn new(snapshot: &'a Snapshot, thresholds: &'a Thresholds) -> Self {
        Self { snapshot, thresholds }
    }

    /// Length of the window, in nanoseconds.
    pub const fn window_ns(&self) -> u64 {
        self.snapshot.window.length_ns()
    }

    /// Time in which there was something to do: what the load met is told by shares of this, in nanoseconds.
    pub fn load_ns(&self) -> u64 {
        let load_ns = self.snapshot.requests.load_ns.min(self.window_ns());
        if load_ns == 0 { self.window_ns() } else { load_ns }
    }

    /// Said after such a share where the load was shorter than the window; empty elsewhere.
    pub fn while_loaded(&self) -> &'static str {
        let is_whole = ratio(self.load_ns(), self.window_ns()) >= NEARLY_WHOLE;
        if is_whole { "" } else { " while there were requests" }
    }

    /// Phases of all requests.
    pub const fn phases(&self) -> &'a Phases {
        &self.snapshot.requests.phases
    }

    /// Requests that any verdict counts: those that ended and those still open.
    pub const fn request_count(&self) -> u64 {
        self.snapshot.requests.completed.saturating_add(self.snapshot.requests.open.count)
    }

    /// Slot-time that exists: slots × window, in nanoseconds.
    pub fn capacity_ns(&self) -> u64 {
        u64::from(self.snapshot.slots.count()).saturating_mul(self.window_ns())
    }

    /// Slot-time of one kind, in nanoseconds.
    pub fn held_ns(&self, holding: Holding) -> u64 {
        self.snapshot.slots.held_ns(holding)
    }

    /// Busy slot-time, in nanoseconds.
    pub fn busy_ns(&self) -> u64 {
        self.snapshot.slots.busy_ns()
    }

    /// The time of day of a moment, in brackets and after a blank; nothing where the wall clock is not known.
    pub(super) fn clock(&self, before: &str, time_ns: u64) -> String {
        let offset_ns = self.snapshot.session.wall_clock_offset_ns;
        let since_1970_ns = i64::try_from(time_ns).ok().and_then(|time_ns| time_ns.checked_add(offset_ns));
        match since_1970_ns {
            Some(since_1970_ns) if offset_ns != 0 => {
                format!(" ({before}{})", words::time_of_day(since_1970_ns))
            }
            _ => String::new(),
        }
    }

    /// Request-seconds for each second of the window.
    pub fn rate(&self, cost_ns: u64) -> f64 {
        ratio(cost_ns, self.window_ns())
    }

    /// Requests whose time in `phases` was longest among the slowest, longest first.
    pub fn exemplars(&self, phases: &[Phase]) -> Vec<u64> {
        let mut scored: Vec<(u64, u64)> = self
            .snapshot
            .requests
            .slowest
            .iter()
            .map(|request| (sum(&request.phases, phases), request.id))
            .filter(|(time_ns, _)| *time_ns > 0)
            .collect();
        scored.sort_by_key(|(time_ns, id)| (std::cmp::Reverse(*time_ns), *id));
        scored.into_iter().take(EXEMPLARS).map(|(_, id)| id).collect()
    }

    /// Why a phase has no numbers in this run, if it has none.
    pub fn not_measured(&self, phase: Phase) -> Option<&'a str> {
        self.snapshot
            .coverage
            .not_measured
            .iter()
            .find(|(p, _)| *p == phase)
            .map(|(_, reason)| reason.as_str())
    }

    /// The server and its kind of worker, such as "gunicorn sync"; empty if it was not recognised.
    pub fn server_label(&self) -> String {
        let server = &self.snapshot.server;
        if server.is_unknown() {
            return String::new();
        }
        let name = words::name(&server.name, 12);
        if server.worker_class.is_empty() || server.worker_class == "unknown" {
            return name;
        }
        format!("{name} {}", words::name(&server.worker_class, 10))
    }

    /// What a slot is on this server, in its kind's words: "worker", "thread" or "slot"; with an s unless
    /// `count` is 1.
    pub fn slot_noun(&self, count: u64) -> String {
        let server = &self.snapshot.server;
        let is_loop = self.snapshot.slots.are_loops();
        let noun = if is_loop { "event loop" } else { kind_named(&server.name).slot_noun(server) };
        if count == 1 { noun.to_owned() } else { format!("{noun}s") }
    }

    /// The slots with the server's name, such as "gunicorn sync workers"; "uwsgi threads" says its class as
    /// well.
    pub fn slots_named(&self, count: u64) -> String {
        let (label, noun) = (self.server_label(), self.slot_noun(count));
        let label = label.strip_suffix(" threads").filter(|_| noun.starts_with("thread")).unwrap_or(&label);
        format!("{label} {noun}").trim_start().to_owned()
    }

    /// Records that were lost, as a share of all that were made; what is counted twice is counted once.
    pub fn lost_ratio(&self) -> f64 {
        let losses = &self.snapshot.coverage.losses;
        let total = |counts: &[(String, u64)]| counts.iter().fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
        // What could not be read is missing as well, where the recording's end counts.
        let unread = losses.unreadable_items.max(losses.missing_items);
        let lost = total(&losses.kernel.lost)
            .saturating_add(total(&losses.kernel.recursion_misses))
            .saturating_add(losses.malformed)
            .saturating_add(losses.late)
            .saturating_add(unread)
            // A slice that the full ring refused is also a hole in its thread's sequence.
            .max(losses.sequence_holes)
            .saturating_add(losses.evicted);
        let conservation = &self.snapshot.coverage.conservation;
        // The live run received what its recording lacks.
        let received = conservation.received.saturating_sub(unread).max(conservation.slices);
        ratio(lost, lost.saturating_add(received))
    }

    /// Gate: the window is long enough and not too much was lost.
    ///
    /// # Errors
    /// [`Undecided`], with what would decide it.
    pub fn require_window(&self) -> Result<(), Undecided> {
        let seconds = self.window_ns() as f64 / 1e9;
        let needed = self.thresholds.window_min_seconds;
        if seconds < needed {
            return Err(Undecided {
                reason: format!(
                    "the window is {} long and {needed} s are needed",
                    words::duration(self.window_ns())
                ),
                next_step: "Watch for longer.",
                evidence: vec![Evidence { name: "window_seconds", value: seconds, threshold: Some(needed) }],
            });
        }
        let lost = self.lost_ratio();
        let allowed = self.thresholds.lost_max_ratio;
        if lost > allowed {
            return Err(Undecided {
                reason: format!("{} of the records were lost", words::percent(lost)),
                next_step: "See the losses of this report; watch again when the machine is less busy.",
                evidence: vec![Evidence {
                    name: "records_lost_ratio",
                    value: lost,
                    threshold: Some(allowed),
                }],
            });
        }
        Ok(())
    }

    /// Gate: enough requests were seen.
    ///
    /// # Errors
    /// [`Undecided`], with what would decide it.
    pub fn require_requests(&self) -> Result<(), Undecided> {
        let seen = self.request_count();
        let needed = self.thresholds.requests_min_count;
        if seen as f64 >= needed {
            return Ok(());
        }
        let seen_text = match seen {
            0 => "no request was seen".to_owned(),
            1 => "only 1 request was seen".to_owned(),
            _ => format!("only {} requests were seen", words::count(seen)),
        };
        Err(Undecided {
            reason: format!("{seen_text} and {needed} are needed"),
            next_step: "Watch for longer, or while there is traffic.",
            evidence: vec![Evidence { name: "requests_count", value: seen as f64, threshold: Some(needed) }],
        })
    }

    /// Gate before something is ruled out: `waited_ns` of service time would be too little for `min_ratio`
    /// even if all time that is unexplained were of the same kind. `what`: what requests waited for.
    ///
    /// # Errors
    /// [`Undecided`], with what would decide it.
    pub fn require_explained(&self, what: &str, waited_ns: u64, min_ratio: f64) -> Result<(), Undecided> {
        let unexplained_ns = self.phases().get(Phase::Unexplained);
        let at_most_ns = waited_ns.saturating_add(unexplained_ns);
        let served = self.phases().served_ns();
        if ratio(at_most_ns, served) < min_ratio || self.rate(at_most_ns) < self.thresholds.cost_min_rate {
            return Ok(());
        }
        let unexplained = ratio(unexplained_ns, served);
        Err(Undecided {
            reason: format!(
                "requests waited for {what} {} of service time; {} of service time is unexplained and may be the same wait",
                words::percent(ratio(waited_ns, served)),
                words::percent(unexplained)
            ),
            next_step: "Compare with what the application's own log or tracing says of such waits.",
            evidence: vec![
                decides("explained_and_unexplained_service_ratio", ratio(at_most_ns, served), min_ratio),
                explains("unexplained_service_ratio", unexplained),
            ],
        })
    }
}

/// Sum of some phases, in nanoseconds.
pub(crate) fn sum(phases: &Phases, wanted: &[Phase]) -> u64 {
    wanted.iter().fold(0, |total, phase| total.saturating_add(phases.get(*phase)))
}

/// Time a request waited to be taken: accept queue and pool.
pub(crate) fn waited_ns(phases: &Phases) -> u64 {
    sum(phases, &WAITING)
}

/// The phases in which a request waits to be taken.
pub(super) const WAITING: [Phase; 2] = [Phase::AcceptQueue, Phase::PoolWait];

/// Evidence that decides.
pub(crate) const fn decides(name: &'static str, value: f64, threshold: f64) -> Evidence {
    Evidence { name, value, threshold: Some(threshold) }
}

/// Evidence that explains.
pub(super) const fn explains(name: &'static str, value: f64) -> Evidence {
    Evidence { name, value, threshold: None }
}
