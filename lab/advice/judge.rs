//! One trial: the finding before, the advice applied, again if the finding is still there, and what became of
//! it.
//!
//! In: a trial. Out: [`Judged`].

use wsgi_trace_lab::advised::judge::{Fate, NOISE, fate_of};
use wsgi_trace_lab::advised::setup::Setup;
use wsgi_trace_lab::advised::trial::Trial;
use wsgi_trace_lab::advised::watched::{self, Watched};

/// More memory than that is said.
const MEMORY: f64 = 1.2;

/// A server whose workers have listeners of their own is started so often, at most, until the load provokes
/// the finding.
const STARTS_BY_HASH: usize = 3;
/// So many standard errors of a count are no chance any more.
const STANDARD_ERRORS: f64 = 3.0;

/// What became of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The finding is not present any more.
    Gone,
    /// What it costs a request is half of what it was, or less.
    Halved,
    /// The finding costs more than half of what it did.
    Stays,
    /// Its advice is no setting that a program can change here; why.
    NotTried(String),
    /// Something failed.
    Failed(String),
}

/// One trial with its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) finding: &'static str,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) advice: String,
    pub(crate) outcome: Outcome,
    /// How often advice was applied: each time what the report said then.
    pub(crate) rounds: usize,
    /// Which of the things that the advice says to do was done; 1: the first.
    pub(crate) place: usize,
    /// Throughput, p99 and cost, before and after.
    pub(crate) figures: Option<[(f64, f64); 3]>,
    /// What got worse, each in a few words.
    pub(crate) worse: Vec<String>,
    /// What is present now.
    pub(crate) left: Vec<String>,
    pub(crate) known: Option<&'static str>,
}

impl Judged {
    /// Whether the result fails the run.
    pub(crate) fn is_wrong(&self) -> bool {
        match self.outcome {
            Outcome::Gone | Outcome::Halved => false,
            Outcome::Stays | Outcome::NotTried(_) => self.known.is_none(),
            Outcome::Failed(_) => true,
        }
    }

    /// One line for the reader of the progress.
    pub(crate) fn line(&self) -> String {
        let Self { finding, before, after, .. } = self;
        let worse =
            if self.worse.is_empty() { String::new() } else { format!("; worse: {}", self.worse.join(", ")) };
        match &self.outcome {
            Outcome::Gone => format!("{finding} gone ({before} → {after}){worse}"),
            Outcome::Halved => format!("{finding} at half of its cost or less ({before} → {after}){worse}"),
            Outcome::Stays => format!("{finding} STAYS ({before} → {after}){worse}"),
            Outcome::NotTried(why) => format!("{finding} not tried: {why}"),
            Outcome::Failed(why) => format!("FAILED: {why}"),
        }
    }
}

/// Runs it.
pub(crate) fn run(trial: &'static Trial) -> Judged {
    let setup = trial.setup();
    let mut judged = Judged {
        finding: trial.finding,
        before: setup.title(),
        after: String::new(),
        advice: String::new(),
        outcome: Outcome::Gone,
        rounds: 0,
        place: 1,
        figures: None,
        worse: Vec::new(),
        left: Vec::new(),
        known: trial.known,
    };
    judged.outcome = match tried(trial, &mut judged) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    judged
}

fn tried(trial: &Trial, judged: &mut Judged) -> anyhow::Result<Outcome> {
    let id = trial.finding;
    let cores = u32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(u32::MAX);
    let mut setup = trial.setup();
    let mut before = watch(trial, "before", &setup)?;
    // The kernel spreads connections by a hash of their addresses, which each start draws again.
    let starts = if trial.flags.contains(&"--reuse-port") { STARTS_BY_HASH } else { 1 };
    for _ in 1..starts {
        if !before.has(id) {
            before = watch(trial, "before", &setup)?;
        }
    }
    if !before.has(id) {
        let present = before.present().join(", ");
        let present = if present.is_empty() { "nothing" } else { &present };
        return Ok(Outcome::Failed(format!("not provoked; present: {present}")));
    }
    let mut now = before.clone();
    while judged.rounds < trial.rounds && now.has(id) {
        let Some(advised) = now.finding(id) else { break };
        let advice = advised.advice.clone();
        let (place, changes) = advised.first(trial.holds);
        let changed = match setup.with(&changes, cores) {
            Ok(changed) => changed,
            Err(why) if judged.rounds == 0 => return Ok(Outcome::NotTried(why)),
            // The advice has been followed as far as it goes.
            Err(_) => break,
        };
        judged.rounds += 1;
        if place > 1 {
            judged.place = place;
        }
        let after = watch(trial, &judged.rounds.to_string(), &changed)?;
        (setup, now) = (changed, after);
        judged.advice.push_str(&advice);
    }
    judged.after = setup.title();
    judged.worse = worse(&before, &now);
    if judged.advice.contains("of memory (PSS)") {
        // The advice says so, with the number.
        judged.worse.retain(|one| !one.starts_with("memory"));
    }
    judged.left = now.present().into_iter().map(str::to_owned).collect();
    judged.figures = Some([
        (before.per_second, now.per_second),
        (before.p99_ns as f64, now.p99_ns as f64),
        (before.cost_rate(id), now.cost_rate(id)),
    ]);
    Ok(outcome(&before, &now, id))
}

/// Watches it once, and keeps its report as `target/advice/TRIAL-NAME.json`.
fn watch(trial: &Trial, name: &str, setup: &Setup) -> anyhow::Result<Watched> {
    let file =
        wsgi_trace_test_support::root().join("target/advice").join(format!("{}-{name}.json", trial.name));
    let recipe = setup.recipe();
    let subject = (recipe.as_ref(), setup.quota_cores());
    watched::watch(&file, subject, trial.work.clients, trial.work.run_up)
}

fn outcome(before: &Watched, now: &Watched, id: &str) -> Outcome {
    let outcome = match fate_of(id, before, now) {
        Fate::Gone => Outcome::Gone,
        Fate::Halved => Outcome::Halved,
        Fate::Stays => return Outcome::Stays,
        // What cannot be said is not gone, nor is what a server costs that does not serve, nor half of it.
        Fate::Undecided => return Outcome::Failed(format!("{id} is undecided afterwards")),
    };
    if fails_more(before, now) || answers_less(before, now) {
        return Outcome::Failed("the server serves less than before".to_owned());
    }
    outcome
}

/// More failures than as many would vary by chance.
fn fails_more(before: &Watched, now: &Watched) -> bool {
    now.failed as f64 > before.failed as f64 + STANDARD_ERRORS * (before.failed as f64).sqrt()
}

/// Fewer answers than two short runs differ by, and than so many would vary by chance: of six, two or three
/// are no less than six.
fn answers_less(before: &Watched, now: &Watched) -> bool {
    let requests: usize = before.endpoints.values().map(|endpoint| endpoint.requests).sum();
    let answered = requests.saturating_sub(before.failed).max(1) as f64;
    now.per_second < before.per_second * (1.0 - NOISE.max(STANDARD_ERRORS / answered.sqrt()))
}

/// What got worse by more than two short runs differ.
fn worse(before: &Watched, after: &Watched) -> Vec<String> {
    let mut worse = Vec::new();
    if fails_more(before, after) {
        worse.push(format!("{} requests failed, {} before", after.failed, before.failed));
    }
    if answers_less(before, after) {
        worse.push(format!("{:.0} answers a second, {:.0} before", after.per_second, before.per_second));
    }
    let (p99_ms, p99_before_ms) = (after.p99_ns as f64 / 1e6, before.p99_ns as f64 / 1e6);
    if before.p99_ns > 0 && p99_ms > p99_before_ms * (1.0 + NOISE) {
        worse.push(format!("p99 {p99_ms:.1} ms, {p99_before_ms:.1} ms before"));
    }
    if let (Some(now), Some(then)) = (after.proportional_bytes, before.proportional_bytes)
        && now as f64 > then as f64 * MEMORY
    {
        worse.push(format!("memory {:.0} MB, {:.0} MB before", now as f64 / 1e6, then as f64 / 1e6));
    }
    worse
}
