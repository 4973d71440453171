//! What is kept of each run and of each healthy twin: one line of JSON, appended when it ends, so that a
//! night can be cut off and go on.
//!
//! In: records. Out: lines of `target/mixes/*.jsonl`, and the records that stand there; of runs of one mix
//! the worst.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wsgi_trace_lab::advised::setup::Change;
use wsgi_trace_lab::advised::watched::{Endpoint, Watched};

/// What became of a run.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Nothing was advised.
    NothingAdvised,
    /// Nothing of what was advised is a setting that a program can change here.
    NoSetting,
    /// The finding is gone, or costs at most half, in each of two watches.
    Helped,
    /// The finding is still there, and nothing got worse.
    Nothing,
    /// Something got worse.
    Harmed,
    /// There are no figures, or they are none of the server's.
    NotJudged,
}

impl Verdict {
    /// Of several runs the one with the greatest counts. Any judgement is worth more than none.
    const fn badness(self) -> u8 {
        match self {
            Self::NotJudged => 0,
            Self::NothingAdvised => 1,
            Self::NoSetting => 2,
            Self::Helped => 3,
            Self::Nothing => 4,
            Self::Harmed => 5,
        }
    }

    /// For the reader of the progress.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NothingAdvised => "nothing advised",
            Self::NoSetting => "no setting",
            Self::Helped => "helped",
            Self::Nothing => "did nothing",
            Self::Harmed => "HARMED",
            Self::NotJudged => "not judged",
        }
    }
}

/// What a report says of one finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Said {
    /// `present` or `undecided`; what is absent or usual is not kept.
    pub(crate) answer: String,
    /// Request-seconds a second.
    pub(crate) cost: f64,
}

/// What one watch showed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) findings: BTreeMap<String, Said>,
    /// Answers.
    pub(crate) per_second: f64,
    /// Of all that were answered; 0: none was.
    pub(crate) p99_ms: f64,
    /// Requests without an answer, or answered with 500 and above.
    pub(crate) failed: usize,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) stolen_ratio: f64,
}

impl Figures {
    pub(crate) fn new(watched: &Watched) -> Self {
        let mut findings = BTreeMap::new();
        for found in watched
            .findings()
            .filter(|found| found.id != "healthy" && !["absent", "usual"].contains(&found.answer.as_str()))
        {
            let said = Said { answer: found.answer.clone(), cost: watched.cost_rate(&found.id) };
            findings.insert(found.id.clone(), said);
        }
        Self {
            findings,
            per_second: watched.per_second,
            p99_ms: watched.p99_ns as f64 / 1e6,
            failed: watched.failed,
            endpoints: watched.endpoints.clone(),
            stolen_ratio: watched.stolen_ratio,
        }
    }

    /// Requests that were sent.
    pub(crate) fn requests(&self) -> usize {
        self.endpoints.values().map(|endpoint| endpoint.requests).sum()
    }
}

/// Advice that no program can apply here.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct NotApplied {
    pub(crate) finding: String,
    pub(crate) why: String,
}

/// Advice that was applied.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Applied {
    /// The finding that it is judged by.
    pub(crate) finding: String,
    /// Which of the things that its advice says to do; 1: the first.
    pub(crate) place: usize,
    pub(crate) changes: Vec<Change>,
    /// The server afterwards.
    pub(crate) setup: String,
}

/// One run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) seed: u64,
    /// Kind of server.
    pub(crate) server: String,
    /// Server, settings and load in words. Where the seed's mix is another one, the record is an older
    /// build's.
    pub(crate) mix: String,
    /// Options of each program of clients.
    pub(crate) clients: Vec<Vec<String>>,
    pub(crate) machine: String,
    /// Which wsgi-trace, judge, clients and applications: the beginning of their digest.
    pub(crate) build: String,
    pub(crate) verdict: Verdict,
    /// Reasons of it.
    pub(crate) why: Vec<String>,
    /// Advice that came before what was applied, or all there was.
    pub(crate) not_applied: Vec<NotApplied>,
    pub(crate) applied: Option<Applied>,
    /// Watches under the settings of the seed: two where advice was applied, more where it seemed to harm.
    pub(crate) before: Vec<Figures>,
    /// Watches under the settings that advice made: two where it helped, more where it seemed to harm.
    pub(crate) after: Vec<Figures>,
    pub(crate) seconds: f64,
}

/// A healthy twin that was watched.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Reflection {
    pub(crate) name: String,
    /// Server and load in words.
    pub(crate) about: String,
    pub(crate) machine: String,
    pub(crate) build: String,
    /// Findings that each watch advises on, in turn: one on which nothing is advised is the last.
    pub(crate) watches: Vec<Vec<String>>,
    /// All of them where each of three watches advises on something; none otherwise.
    pub(crate) advised: Vec<String>,
    /// Why there is no answer.
    pub(crate) failed: Option<String>,
}

/// Appends a line; after one that was cut off, on a line of its own.
pub(crate) fn append<T: Serialize>(path: &Path, record: &T) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let is_cut = std::fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let line = format!("{}{}\n", if is_cut { "\n" } else { "" }, serde_json::to_string(record)?);
    let file =
        file.as_mut().map_err(|error| anyhow::anyhow!("{} cannot be opened: {error}", path.display()))?;
    file.write_all(line.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

/// The records of a file, in order; none where there is no file. A line that was cut off, or is of another
/// build, is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let bytes = std::fs::read(path).unwrap_or_default();
    // By lines of bytes: one may have been cut off within a character.
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Of all runs of each seed the worst, and of those that are as bad the last: what harmed once is a bug,
/// whatever the next run shows.
pub(crate) fn worst(records: Vec<Record>) -> BTreeMap<u64, Record> {
    let mut worst: BTreeMap<u64, Record> = BTreeMap::new();
    for record in records {
        let before = worst.get(&record.seed).map(|before| before.verdict.badness());
        if before.is_none_or(|before| before <= record.verdict.badness()) {
            worst.insert(record.seed, record);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reflection(name: &str, advised: &[&str]) -> Reflection {
        let advised: Vec<String> = advised.iter().map(|&id| id.to_owned()).collect();
        Reflection {
            name: name.to_owned(),
            about: String::new(),
            machine: String::new(),
            build: String::new(),
            watches: vec![advised.clone()],
            advised,
            failed: None,
        }
    }

    #[test]
    fn what_harmed_once_is_not_replaced_by_a_run_that_did_not() {
        let record = |seed: u64, verdict: Verdict, seconds: f64| Record {
            seed,
            server: String::new(),
            mix: String::new(),
            clients: Vec::new(),
            machine: String::new(),
            build: String::new(),
            verdict,
            why: Vec::new(),
            not_applied: Vec::new(),
            applied: None,
            before: Vec::new(),
            after: Vec::new(),
            seconds,
        };
        let worst = worst(vec![
            record(1, Verdict::Harmed, 1.0),
            record(2, Verdict::Helped, 2.0),
            record(3, Verdict::NotJudged, 3.0),
            record(1, Verdict::Helped, 4.0),
            record(1, Verdict::NotJudged, 5.0),
            record(2, Verdict::Helped, 6.0),
            record(3, Verdict::NothingAdvised, 7.0),
        ]);
        let all: Vec<_> = worst.values().map(|one| (one.seed, one.verdict, one.seconds)).collect();
        let expected =
            [(1, Verdict::Harmed, 1.0), (2, Verdict::Helped, 6.0), (3, Verdict::NothingAdvised, 7.0)];
        assert_eq!(all, expected);
    }

    #[test]
    fn every_whole_line_is_read_and_one_that_was_cut_off_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/mirror.jsonl");
        let read = || read::<Reflection>(&path);
        assert!(read().is_empty());
        for one in [reflection("a", &["herd"]), reflection("b", &[]), reflection("a", &[])] {
            append(&path, &one).unwrap();
        }
        let mut cut = std::fs::read(&path).unwrap();
        // Within a `×`.
        cut.extend(b"{\"name\": \"b\", \"about\": \"1 \xc3");
        std::fs::write(&path, cut).unwrap();
        let mut all = vec![reflection("a", &["herd"]), reflection("b", &[]), reflection("a", &[])];
        assert_eq!(read(), all);
        append(&path, &reflection("b", &["herd"])).unwrap();
        all.push(reflection("b", &["herd"]));
        assert_eq!(read(), all);
    }
}
