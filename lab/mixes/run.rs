//! One run: a mix is watched; where something is advised, the first advice that is a setting is applied and
//! the same load watched again.
//!
//! In: a mix. Out: a [`Record`], whatever happens. Its reports stay under `target/mixes/reports` where it
//! harmed, was not judged, or is run alone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use wsgi_trace_lab::advised::judge::DISTURBED;
use wsgi_trace_lab::advised::setup::Setup;
use wsgi_trace_lab::advised::watched::{self, Watched};
use wsgi_trace_lab::watched::NotStarted;

use crate::judge::judge;
use crate::load::RUN_UP;
use crate::mix::Mix;
use crate::record::{Applied, Figures, NotApplied, Record, Verdict};

/// Watches after the change at most: one that harms is repeated, with one under the settings of before
/// between two.
const MOST_AFTER: usize = 3;
/// As many show that advice helped, at least.
const HELPED_AFTER: usize = 2;

/// What is watched next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing: it is judged.
    Judged,
    /// The settings that advice made once more.
    After,
    /// Both, those of before first.
    Both,
}

/// What a verdict still rests on too little for, after so many watches under the settings that advice made.
const fn next(verdict: Verdict, after: usize) -> Next {
    match verdict {
        Verdict::Harmed if after < MOST_AFTER => Next::Both,
        Verdict::Helped if after < HELPED_AFTER => Next::After,
        _ => Next::Judged,
    }
}

/// Runs it.
pub(crate) fn run(mix: &Mix, machine: &str, (reports, is_one): (&Path, bool)) -> Record {
    let start = Instant::now();
    let mut run = Run { mix, reports, files: Vec::new(), record: empty(mix, machine) };
    let (verdict, why) = match run.tried() {
        Ok(outcome) => outcome,
        Err(error) => (Verdict::NotJudged, vec![format!("{error:#}")]),
    };
    let Run { files, mut record, .. } = run;
    if !is_one && !matches!(verdict, Verdict::Harmed | Verdict::NotJudged) {
        for file in files {
            // What is left of it is in the record.
            let _ = std::fs::remove_file(file);
        }
    }
    (record.verdict, record.why) = (verdict, why);
    record.seconds = start.elapsed().as_secs_f64();
    record
}

fn empty(mix: &Mix, machine: &str) -> Record {
    Record {
        seed: mix.seed,
        server: mix.server.to_owned(),
        mix: mix.about(),
        clients: mix.load.parts.iter().map(|part| part.options.clone()).collect(),
        machine: machine.to_owned(),
        build: String::new(),
        verdict: Verdict::NotJudged,
        why: Vec::new(),
        not_applied: Vec::new(),
        applied: None,
        before: Vec::new(),
        after: Vec::new(),
        seconds: 0.0,
    }
}

/// A run that goes on.
struct Run<'a> {
    mix: &'a Mix,
    reports: &'a Path,
    /// Reports so far.
    files: Vec<PathBuf>,
    record: Record,
}

impl Run<'_> {
    fn tried(&mut self) -> anyhow::Result<(Verdict, Vec<String>)> {
        let cores = u32::try_from(std::thread::available_parallelism()?.get()).unwrap_or(u32::MAX);
        let first = self.watch("before", &self.mix.setup)?;
        self.record.before.push(Figures::new(&first));
        let holds = self.mix.holds();
        let subject = (&self.mix.setup, holds.as_slice(), cores);
        let Some((applied, changed)) = applicable(&first, subject, &mut self.record.not_applied) else {
            let verdict =
                if self.record.not_applied.is_empty() { Verdict::NothingAdvised } else { Verdict::NoSetting };
            return Ok((verdict, Vec::new()));
        };
        let finding = applied.finding.clone();
        let caveats = applied.changes.iter().filter_map(|change| change.caveat.as_deref());
        let has_computing_caveat =
            caveats.into_iter().any(|caveat| caveat.contains("compute may take longer"));
        self.record.applied = Some(applied);
        self.look_before()?;
        loop {
            if let Err(error) = self.look_after(&changed) {
                if error.is::<NotStarted>() {
                    // The page has the reason of the verdict; its log is this machine's.
                    eprintln!("[mixes] seed {}: {error:#}", self.mix.seed);
                    return Ok((Verdict::Harmed, vec![NotStarted.to_string()]));
                }
                return Err(error);
            }
            let Record { before, after, .. } = &self.record;
            if before.iter().chain(after).any(|figures| figures.stolen_ratio > DISTURBED) {
                return Ok((Verdict::NotJudged, vec!["a hypervisor took the CPUs meanwhile".to_owned()]));
            }
            let judged = judge(&finding, (before, after), has_computing_caveat);
            match next(judged.0, after.len()) {
                Next::Judged => return Ok(judged),
                Next::After => {}
                Next::Both => self.look_before()?,
            }
        }
    }

    /// Once more under the settings of before.
    fn look_before(&mut self) -> anyhow::Result<()> {
        let again = self.watch("before", &self.mix.setup)?;
        self.record.before.push(Figures::new(&again));
        Ok(())
    }

    /// Under the settings that advice made. A server that does not start is started once more: another
    /// process may have taken its port.
    fn look_after(&mut self, changed: &Setup) -> anyhow::Result<()> {
        let after = match self.watch("after", changed) {
            Err(error) if error.is::<NotStarted>() => self.watch("after", changed)?,
            outcome => outcome?,
        };
        self.record.after.push(Figures::new(&after));
        Ok(())
    }

    fn watch(&mut self, name: &str, setup: &Setup) -> anyhow::Result<Watched> {
        let number = self.files.len() + 1;
        let file = self.reports.join(format!("{}-{number}-{name}.json", self.mix.seed));
        self.files.push(file.clone());
        let recipe = setup.recipe();
        let options: Vec<Vec<&str>> = self
            .mix
            .load
            .parts
            .iter()
            .map(|part| part.options.iter().map(String::as_str).collect())
            .collect();
        let clients: Vec<&[&str]> = options.iter().map(Vec::as_slice).collect();
        watched::watch(&file, (recipe.as_ref(), setup.quota_cores()), &clients, RUN_UP)
    }
}

/// The first advice of a report that a program can apply to a server, and the server with it. What comes
/// before it, or all, is noted.
fn applicable(
    report: &Watched,
    (setup, holds, cores): (&Setup, &[&str], u32),
    not_applied: &mut Vec<NotApplied>,
) -> Option<(Applied, Setup)> {
    for id in report.present() {
        let Some(advised) = report.finding(id).filter(|advised| !advised.advice.is_empty()) else { continue };
        let (place, changes) = advised.first(holds);
        match setup.with(&changes, cores) {
            Ok(changed) => {
                let setup = changed.title();
                return Some((Applied { finding: id.to_owned(), place, changes, setup }, changed));
            }
            Err(why) => not_applied.push(NotApplied { finding: id.to_owned(), why }),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wsgi_trace_lab::advised::setup::Kind;

    use super::*;

    fn found(id: &str, advice: &str, settings: &Value) -> Value {
        json!({
            "id": id, "answer": "present", "advice": advice, "cost_request_seconds": 1.0,
            "settings": settings,
        })
    }

    fn raise(option: &str, when: Option<&str>, needs: &[&str]) -> Value {
        json!([{
            "alternative": 1, "option": option, "scope": "command_line", "direction": "raise", "present": "4",
            "proposed": null, "limit": null, "at_most": null, "when": when, "needs": needs,
        }])
    }

    /// What is applied, as finding and server, and what is not.
    fn chosen(findings: &[Value], holds: &[&str]) -> (Option<(String, String)>, Vec<String>) {
        let window = json!({"start_ns": 0, "length_ns": 4_000_000_000_u64});
        let report = json!({"findings": findings, "window": window, "capacity": {"workers": []}});
        let report = Watched::new(serde_json::from_value(report).unwrap(), &[], 0.0);
        let setup = Setup::new(Kind::Gunicorn, "gthread", 1, 4);
        let mut not_applied = Vec::new();
        let applied = applicable(&report, (&setup, holds, 2), &mut not_applied);
        let applied = applied.map(|(applied, changed)| {
            assert_eq!(applied.setup, changed.title());
            (applied.finding, applied.setup)
        });
        (applied, not_applied.into_iter().map(|one| one.finding).collect())
    }

    fn more_threads(finding: &str) -> Option<(String, String)> {
        Some((finding.to_owned(), "gunicorn gthread, 1 × 8".to_owned()))
    }

    #[test]
    fn help_is_what_two_watches_show_and_harm_what_three_do() {
        assert_eq!(next(Verdict::Helped, 1), Next::After);
        assert_eq!(next(Verdict::Helped, 2), Next::Judged);
        assert_eq!(next(Verdict::Harmed, 1), Next::Both);
        assert_eq!(next(Verdict::Harmed, 2), Next::Both);
        assert_eq!(next(Verdict::Harmed, 3), Next::Judged);
        assert_eq!(next(Verdict::Nothing, 1), Next::Judged);
    }

    #[test]
    fn the_costliest_finding_is_followed_first() {
        let threads = raise("--threads", None, &[]);
        let both = [found("a", "More.", &threads), found("b", "More.", &raise("--workers", None, &[]))];
        assert_eq!(chosen(&both, &[]), (more_threads("a"), Vec::new()));
    }

    #[test]
    fn advice_that_is_no_setting_is_counted_and_the_next_one_followed() {
        let all = [
            found("a", "Put a proxy before it.", &json!([])),
            found("b", "More.", &raise("--threads", None, &["add a proxy"])),
            found("c", "More.", &raise("--threads", None, &[])),
        ];
        assert_eq!(chosen(&all, &[]), (more_threads("c"), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(chosen(&all[..2], &[]), (None, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn conditions_of_advice_must_hold() {
        let all = [found("a", "Without one, more.", &raise("--threads", Some("Without one"), &[]))];
        assert_eq!(chosen(&all, &["Without one"]), (more_threads("a"), Vec::new()));
        assert_eq!(chosen(&all, &[]), (None, vec!["a".to_owned()]));
    }

    #[test]
    fn where_nothing_is_said_to_do_nothing_is_advised() {
        assert_eq!(chosen(&[found("a", "", &json!([]))], &[]), (None, Vec::new()));
        assert_eq!(chosen(&[], &[]), (None, Vec::new()));
    }
}
