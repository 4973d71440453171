//! What is kept of each incident that was watched: one line of JSON, appended when it ends.
//!
//! In: judgements. Out: lines of `target/incidents/runs.jsonl`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::incident::Incident;
use crate::judge::{Judgement, Said, Verdict};
use crate::sentence::Sentence;
use crate::truth::Truth;

/// How it was watched.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Full,
    Light,
}

impl Mode {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Full, Self::Light];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Light => "light",
        }
    }

    /// As the program takes it.
    pub(crate) const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Full => &[],
            Self::Light => &["--light"],
        }
    }
}

/// One incident, watched in one mode.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) leaf: String,
    /// All of it in words.
    pub(crate) about: String,
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
    /// Whether the kind of leaf is named; `None`: there is nothing to name.
    pub(crate) is_kind_right: Option<bool>,
    /// What is not said of its object; `None`: none is declared, or the kind is not named.
    pub(crate) missing: Option<Vec<String>>,
    pub(crate) false_leaves: Vec<String>,
    /// The greatest leaves of the report.
    pub(crate) said: String,
    /// Whether it is rightly called serial; `None`: the leaf is not named.
    pub(crate) is_serial_right: Option<bool>,
    /// What the leaf held of all request time, by the witness, in %.
    pub(crate) true_percent: f64,
    /// What of the waiting for one another would not have been without it, by the reference, in %.
    #[serde(default)]
    pub(crate) prevented_percent: Option<f64>,
    /// All request time by the witness and by the report, in s.
    pub(crate) true_request_s: f64,
    pub(crate) said_request_s: f64,
    pub(crate) requests: usize,
    /// Requests whose leaves do not add up.
    pub(crate) broken: u64,
    pub(crate) seconds: f64,
    /// What the report's verdict says; `None`: it has none, or nobody could look.
    #[serde(default)]
    pub(crate) sentence: Option<Sentence>,
}

impl Record {
    /// Of which nothing is known yet.
    pub(crate) fn new(incident: &Incident, mode: Mode) -> Self {
        Self {
            seed: incident.seed,
            mode,
            leaf: incident.leaf.name().to_owned(),
            about: incident.about(),
            verdict: Verdict::Void,
            why: String::new(),
            is_kind_right: None,
            missing: None,
            false_leaves: Vec::new(),
            said: String::new(),
            is_serial_right: None,
            true_percent: 0.0,
            prevented_percent: None,
            true_request_s: 0.0,
            said_request_s: 0.0,
            requests: 0,
            broken: 0,
            seconds: 0.0,
            sentence: None,
        }
    }

    pub(crate) fn take(&mut self, judgement: &Judgement, truth: &Truth, said: &Said) {
        self.verdict = judgement.verdict;
        self.why.clone_from(&judgement.why);
        self.is_kind_right = judgement.is_kind_right;
        self.missing.clone_from(&judgement.missing);
        self.false_leaves.clone_from(&judgement.false_leaves);
        self.said.clone_from(&judgement.said);
        self.is_serial_right = judgement.is_serial_right;
        self.true_percent = truth.share() * 100.0;
        self.true_request_s = truth.request_ns / 1e9;
        self.said_request_s = said.request_ns as f64 / 1e9;
        self.requests = truth.requests;
        self.broken = said.broken_requests;
    }

    /// There was no such incident, for this reason.
    pub(crate) fn is_void(&mut self, why: &str) {
        (self.verdict, self.why) = (Verdict::Void, why.to_owned());
        if let Some(sentence) = &mut self.sentence {
            sentence.verdict = Verdict::Void;
        }
    }

    /// Whether there is nothing to look at.
    pub(crate) const fn is_well(&self) -> bool {
        matches!(self.verdict, Verdict::Right) && self.false_leaves.is_empty() && self.broken == 0
    }

    /// Whether it says what is not so.
    pub(crate) const fn lies(&self) -> bool {
        matches!(self.verdict, Verdict::Wrong) || !self.false_leaves.is_empty() || self.broken > 0
    }

    fn kind_and_object(&self) -> String {
        let kind = match self.is_kind_right {
            None => "no kind",
            Some(true) => "kind right",
            Some(false) => "kind not named",
        };
        let object = match self.missing.as_deref() {
            None => String::new(),
            Some([]) => ", object right".to_owned(),
            Some(missing) => format!(", object lacks {}", missing.join(" and ")),
        };
        format!("{kind}{object}")
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let Self { seed, mode, about, verdict, why, said, true_percent, seconds, .. } = self;
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let prevents =
            self.prevented_percent.map_or_else(String::new, |percent| format!(", prevents {percent:.0} %"));
        let mut line = format!(
            "seed {seed} {}: {}{why}; {}; truth {true_percent:.0} %{prevents}; said {said}; {about}; {seconds:.0} s",
            mode.name(),
            verdict.word(),
            self.kind_and_object()
        );
        if !self.false_leaves.is_empty() {
            line.push_str(&format!("; FALSE: {}", self.false_leaves.join(", ")));
        }
        if let Some(sentence) = &self.sentence {
            let Sentence { verdict, why, is_harm, tried, said, .. } = sentence;
            let tried = tried.as_ref().map_or_else(String::new, |tried| format!(" [{tried}]"));
            let harm = if *is_harm { format!(", HARM{tried}") } else { tried };
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            line.push_str(&format!("\n    VERDICT {}{why}{harm}: {said}", verdict.word()));
        }
        if self.broken > 0 {
            line.push_str(&format!("; {} requests do not add up", self.broken));
        }
        line
    }
}

/// Appends a line.
pub(crate) fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(file.write_all(format!("{}\n", serde_json::to_string(record)?).as_bytes())?)
}
