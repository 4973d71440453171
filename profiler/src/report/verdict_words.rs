//! The verdict in words: one sentence, and what to change.
//!
//! In: a verdict, its snapshot, the findings. Out: text for people; names in it are hostile input.

mod clause;

use profiler_core::finding::{Answer, Finding, RULES};
use profiler_core::model::Snapshot;
use profiler_core::model::chain::{LeafKind, Unreleased};
use profiler_core::phase::Phase;
use profiler_core::server::advice::capital;
use profiler_core::verdict::{Cause, Failed, Pattern, Verdict, pattern_of};

use super::escape::Charset;
use super::{chain_words, summary, unit};

/// What a report begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Headline {
    /// Something is wrong: the cause, and what to change, each as the start of a sentence without its end.
    /// `finding`: with whose advice that is.
    Wrong { finding: Option<&'static str>, cause: String, change: String },
    /// Nothing is, and most of the time is one thing.
    Usual(String),
    /// Nothing is.
    Healthy(String),
    /// There was no request.
    NoTraffic(String),
    /// Nothing was found, and that is not certain.
    Unsure(String),
}

/// The verdict as the first lines of a report.
pub(crate) fn headline(snapshot: &Snapshot, findings: &[Finding]) -> Headline {
    let verdict = profiler_core::verdict::of(snapshot, findings);
    let sentence = sentence(snapshot, findings, &verdict);
    match verdict.pattern {
        Pattern::NoRequests => Headline::NoTraffic(format!("{sentence}.")),
        Pattern::NotSeen | Pattern::Undecided => Headline::Unsure(format!("{sentence}.")),
        Pattern::TakesAsLong => Headline::Usual(format!("{sentence}.")),
        Pattern::Healthy => Headline::Healthy(format!("{sentence}.")),
        _ => {
            let change = change(&verdict);
            Headline::Wrong { finding: verdict.finding, cause: sentence, change }
        }
    }
}

/// One sentence without its end.
pub(crate) fn sentence(snapshot: &Snapshot, findings: &[Finding], verdict: &Verdict) -> String {
    let said = Said { snapshot, verdict };
    let mut text = match (verdict.pattern, verdict.cause()) {
        (Pattern::Failures, cause) => return said.failures(cause),
        (Pattern::Slowest, Some(cause)) => said.slowest(cause),
        (Pattern::TakesAsLong, Some(_)) => said.takes_as_long(findings),
        (Pattern::Several, _) => said.several(),
        (pattern, Some(cause)) => said.inflicted(pattern, cause),
        (pattern, None) => return said.without_cause(pattern, findings),
    };
    if verdict.is_nobody_served && verdict.pattern.is_wrong() {
        text = format!("Nobody is served: {text}");
    }
    text.extend(verdict.failed.iter().take(1).map(|failed| format!("; {}", title(failed))));
    text
}

struct Said<'a> {
    snapshot: &'a Snapshot,
    verdict: &'a Verdict,
}

impl Said<'_> {
    /// `GET /page waits for a free thread, up to 4.9 s, because GET /export waits for the back end port 5432
    /// at shop/db.py:3 query`.
    fn inflicted(&self, pattern: Pattern, cause: &Cause) -> String {
        let (who, waits) = self.victim(cause);
        let longest = shown(cause.longest_ns);
        let first = cause.path.iter().next();
        // Who waits for a lock on a file has no other way there.
        let first = first.filter(|hop| !(cause.kind == LeafKind::FileLock && *hop == Phase::FileWait));
        let hop = first.map(|hop| self.first_hop(hop, cause));
        let leaf = match pattern {
            Pattern::StoodStill | Pattern::NobodyServes => self.leaf(cause),
            Pattern::NotReleased => return self.not_released(cause),
            Pattern::CpuTaken => {
                let leaf = self.leaf(cause);
                return format!("{who} {waits} for a CPU, up to {longest}: {leaf}{}", self.share(cause));
            }
            _ if !cause.path.is_empty()
                && cause.endpoint.is_some_and(|number| number > 0 && cause.victim == Some(number)) =>
            {
                format!("another of them {}", self.leaf(cause))
            }
            _ => format!("{} {}", self.actor(cause), self.leaf(cause)),
        };
        match hop {
            Some(hop) => {
                let (slots, share) = (self.slots(), self.share(cause));
                format!("{who} {waits} {hop}, up to {longest}, because {leaf}{slots}{share}")
            }
            // It waits itself, for what somebody else has.
            None if pattern == Pattern::WaitsFor => {
                let who = match (self.actor(cause).as_str(), cause.requests) {
                    ("a request", count @ 2..) => format!("each of {} requests", unit::count(count)),
                    (who, _) => who.to_owned(),
                };
                format!("{} {}, up to {longest}{}", capital(&who), self.leaf(cause), self.share(cause))
            }
            None => format!("{who} {waits}, up to {longest}: {leaf}{}", self.share(cause)),
        }
    }

    fn not_released(&self, cause: &Cause) -> String {
        let (who, waits) = self.victim(cause);
        let grade = cause.time(&self.snapshot.chains).and_then(|time| time.leaf.unreleased);
        let what = match grade {
            Some(Unreleased::Cycle) => "in a circle: each for what the next one has",
            Some(Unreleased::NobodyCould) => "for a lock that nobody can release",
            _ => "for a lock that was not released while it was watched",
        };
        let longest = shown(cause.longest_ns);
        if cause.all_wait_for_themselves(&self.snapshot.chains) {
            let first = cause.path.iter().next().filter(|hop| *hop != Phase::BackendWait);
            let path = first.map(|hop| format!(" {}", self.hop(hop))).unwrap_or_default();
            let (slot, line, share) = (clause::slot(self.snapshot), self.line(cause), self.share(cause));
            return format!(
                "{who} {waits}{path}, up to {longest}: all {slot}s wait for this server itself{line}{share}"
            );
        }
        let path = cause.path.iter().next().filter(|hop| *hop != Phase::LockWait).map(|hop| self.hop(hop));
        let path = path.map(|hop| format!(" {hop}, behind threads that wait")).unwrap_or_default();
        format!("{who} {waits}{path} {what}{}, up to {longest}{}", self.line(cause), self.share(cause))
    }

    fn several(&self) -> String {
        let whole_ns = self.verdict.inflicted_ns;
        let each = self.verdict.causes.iter().map(|cause| {
            let held = unit::percent(summary::ratio(cause.inflicted_ns, whole_ns));
            format!("{} ({held})", self.does(cause))
        });
        let each: Vec<String> = each.collect();
        let waited = unit::percent(summary::ratio(whole_ns, self.snapshot.chains.request_ns));
        let of = format!("{waited} of request time is waiting for one another, without a single cause");
        if each.is_empty() { capital(&of) } else { format!("{}: {}", capital(&of), each.join("; ")) }
    }

    fn slowest(&self, cause: &Cause) -> String {
        let total = &self.snapshot.requests.total;
        let slowest_ns = total.quantile_ns(0.99).max(cause.longest_ns);
        let [typical, slowest] = [total.quantile_ns(0.5), slowest_ns].map(shown);
        let what = if cause.inflicted_ns.saturating_mul(2) >= cause.held_ns {
            self.inflicted(pattern_of(cause.kind), cause)
        } else {
            self.does(cause)
        };
        format!("Typical requests are well ({typical}), the slowest are not (up to {slowest}): {what}")
    }

    fn takes_as_long(&self, findings: &[Finding]) -> String {
        let each = self.verdict.causes.iter().map(|cause| {
            let held = unit::percent(summary::ratio(cause.held_ns, self.snapshot.chains.request_ns));
            (held, self.does(cause))
        });
        let each: Vec<String> = match each.collect::<Vec<_>>().as_slice() {
            [(held, does)] => vec![format!("{held} of request time: {does}")],
            all => all.iter().map(|(held, does)| format!("{does} ({held} of request time)")).collect(),
        };
        let healthy = in_order(findings).filter(|_| each.len() > 1);
        format!("{}; {}", healthy.unwrap_or("No request waits for another"), each.join("; "))
    }

    fn failures(&self, cause: Option<&Cause>) -> String {
        let first: Vec<String> = self.verdict.failed.iter().take(2).map(title).collect();
        let behind =
            cause.filter(|_| self.verdict.failed.first().is_some_and(|failed| failed.is_behind_wait));
        let behind = behind.map(|cause| format!("; {}", self.does(cause)));
        format!("Requests fail: {}{}", first.join("; "), behind.unwrap_or_default())
    }

    fn without_cause(&self, pattern: Pattern, findings: &[Finding]) -> String {
        match pattern {
            Pattern::NoRequests => {
                "No request was seen in the window: nothing can be said. Is this the right \
                                    process, and is there traffic? A longer --duration may help"
                    .to_owned()
            }
            Pattern::NotSeen => {
                let why = self.verdict.not_followed.map(chain_words::of_reason).unwrap_or_default();
                let chains = &self.snapshot.chains;
                let unseen = chains.leaves.iter().filter(|row| row.leaf.kind == LeafKind::NotFollowed);
                let unseen_ns = unseen.fold(0_u64, |sum, row| sum.saturating_add(row.held_ns));
                let unseen = unit::percent(summary::ratio(unseen_ns, chains.request_ns));
                format!("For {unseen} of request time it was not seen for whom requests waited ({why})")
            }
            Pattern::Undecided => {
                let reason = self.verdict.reason.as_deref().unwrap_or_default();
                format!("Nothing wrong found, but that is not certain: {reason}")
            }
            _ => in_order(findings).unwrap_or("No request waits for another").to_owned(),
        }
    }

    /// Who waits, with its verb.
    fn victim(&self, cause: &Cause) -> (String, &'static str) {
        match cause.victim.and_then(|number| self.snapshot.chains.endpoint(number)) {
            Some(endpoint) => (endpoint.to_owned(), "waits"),
            _ => ("Requests".to_owned(), "wait"),
        }
    }

    /// Whoever is at the leaf.
    fn actor(&self, cause: &Cause) -> String {
        let chains = &self.snapshot.chains;
        let endpoint = cause.endpoint.and_then(|number| chains.endpoint(number));
        if let Some(endpoint) = endpoint {
            return endpoint.to_owned();
        }
        match (cause.endpoint, cause.time(chains)) {
            // For none: a thread of the server, or of the application.
            (Some(0), Some(time)) if !cause.path.is_empty() => {
                let last = time.example.as_ref().and_then(|example| example.hops.last());
                match last.filter(|hop| hop.tid > 0) {
                    Some(hop) => format!("thread {} ({})", hop.tid, hop.comm),
                    None => "a thread without a request".to_owned(),
                }
            }
            _ => "a request".to_owned(),
        }
    }

    /// Who does what.
    fn does(&self, cause: &Cause) -> String {
        match cause.kind {
            LeafKind::CpuTaken => format!("{} waits for a CPU: {}", self.actor(cause), self.leaf(cause)),
            LeafKind::StoodStill | LeafKind::NoThread => self.leaf(cause),
            _ => format!("{} {}", self.actor(cause), self.leaf(cause)),
        }
    }

    /// What it does there, with its line.
    fn leaf(&self, cause: &Cause) -> String {
        format!("{}{}", clause::of(self.snapshot, cause), self.line(cause))
    }

    fn line(&self, cause: &Cause) -> String {
        // The innermost alone: the report has the way to it.
        let line = cause.place.and_then(|place| chain_words::own_line_at(&self.snapshot.chains, place));
        line.map(|line| format!(" at {line}")).unwrap_or_default()
    }

    /// `, in 3 of 4 threads`.
    fn slots(&self) -> String {
        let Some(slots) = self.verdict.held_slots else { return String::new() };
        let noun = clause::slot(self.snapshot);
        match slots.of {
            1 => format!(", in the only {noun}"),
            of => format!(", in {:.0} of {of} {noun}s", slots.held.max(1.0)),
        }
    }

    fn share(&self, cause: &Cause) -> String {
        let request_ns = self.snapshot.chains.request_ns;
        // Who is at it itself waits behind nobody.
        let waited_ns = if cause.path.is_empty() { cause.held_ns } else { cause.inflicted_ns };
        let waited = unit::percent(summary::ratio(waited_ns, request_ns));
        format!(" ({waited} of request time)")
    }

    /// What those who are named wait for, with the line where they do.
    fn first_hop(&self, hop: Phase, cause: &Cause) -> String {
        let at = cause.waited_at.filter(|_| hop == Phase::LockWait);
        let lock = at.and_then(|place| chain_words::lock(&self.snapshot.chains, place));
        // Where whoever has it stands at the same line, that line is said there.
        let line = self.line(cause);
        let lock = lock.filter(|lock| line.is_empty() || !lock.ends_with(&line));
        lock.map_or_else(|| self.hop(hop), |lock| format!("for {lock}"))
    }

    /// What a hop is a wait for.
    fn hop(&self, hop: Phase) -> String {
        match hop {
            Phase::AcceptQueue => "to be accepted".to_owned(),
            Phase::PoolWait => format!("for a free {}", clause::slot(self.snapshot)),
            Phase::LoopWait => "for the event loop".to_owned(),
            Phase::GilWait => "for the GIL".to_owned(),
            Phase::LockWait => "for a lock".to_owned(),
            Phase::BackendWait => "for this server itself".to_owned(),
            Phase::FileWait => "for a lock on a file".to_owned(),
            Phase::ChildWait => "for a child process".to_owned(),
            Phase::RunQueue => "for a CPU".to_owned(),
            other => format!("in {}", other.name()),
        }
    }
}

/// What the rule says that finds a server in order, without its end.
fn in_order(findings: &[Finding]) -> Option<&str> {
    let healthy = findings.iter().find(|finding| finding.id == summary::HEALTHY)?;
    (healthy.answer == Answer::Present).then(|| healthy.sentence.trim_end_matches('.'))
}

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

/// A failure in words.
fn title(failed: &Failed) -> String {
    let title = RULES.iter().find(|rule| rule.id == failed.finding).map_or(failed.finding, |rule| rule.title);
    format!("{title} ({})", unit::count(failed.count))
}

/// What to change first, without its end; empty: nothing.
pub(crate) fn change(verdict: &Verdict) -> String {
    verdict.advice.imperative()
}

#[cfg(test)]
mod tests;
