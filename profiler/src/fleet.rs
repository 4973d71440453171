//! What a whole fleet has to say: the standing questions, asked of a directory of tables.
//!
//! In: a directory that `export` and `serve --parquet` fill, DuckDB's command. Out: a [`Page`]: what stands
//! out, where, since when and what to do, then the answers that it rests on; as text, JSON or a page for a
//! browser. The questions are those of `queries/`.

pub mod engine;
pub mod html;
pub mod json;
mod notable;
mod question;
pub mod sql_files;
pub mod text;

use std::io::Write as _;

use serde_json::{Map, Value};

use engine::{Engine, EngineError, Scope};
pub use notable::Notable;
pub use question::{QUESTIONS, Question};

use crate::report::escape::{Charset, line};

/// A row of an answer: values by column.
pub type Row = Map<String, Value>;

/// An answer to a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: &'static Question,
    /// The first rows.
    pub rows: Vec<Row>,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Services.
    pub services: u64,
    /// Hosts.
    pub hosts: u64,
    /// Windows.
    pub windows: u64,
    /// Requests that ended in them.
    pub requests: u64,
    /// First and last day.
    pub days: Option<(String, String)>,
    /// Hosts with a window that lost something.
    pub incomplete_hosts: u64,
    /// Requests that an agent could not write.
    pub requests_not_written: u64,
    /// Hosts of the largest service: to say which one differs takes five.
    pub hosts_of_a_service: u64,
    /// Versions of the service that has most: to say what a deploy changed takes two.
    pub versions_of_a_service: u64,
}

/// What stands out in a directory of tables, and the answers that this rests on.
#[derive(Clone, Debug)]
pub struct Page {
    /// The directory.
    pub directory: String,
    /// How much was seen.
    pub extent: Extent,
    /// What stands out, the most important first.
    pub stands_out: Vec<Notable>,
    /// What it rests on.
    pub answers: Vec<Answer>,
}

/// Where readers find how each answer is known.
const SOURCE: &str =
    "The questions are SQL, and each says what is significant: --write-queries DIRECTORY writes them.";

const EXTENT: &str = "SELECT count(DISTINCT \"service.name\") AS services, count(DISTINCT \"host.name\") AS hosts,
    count(*) AS windows, sum(requests_completed)::BIGINT AS requests, min(date)::VARCHAR AS first_day, max(date)::VARCHAR AS last_day,
    count(DISTINCT \"host.name\") FILTER (WHERE NOT is_complete) AS incomplete_hosts,
    sum(requests_not_written)::BIGINT AS requests_not_written,
    (SELECT max(n) FROM (SELECT count(DISTINCT \"host.name\") AS n FROM windows GROUP BY \"service.name\")) AS hosts_of_a_service,
    (SELECT max(n) FROM (SELECT count(DISTINCT \"service.version\") AS n FROM windows GROUP BY \"service.name\")) AS versions_of_a_service
    FROM windows";

/// What there is, whatever is asked of it.
const THERE: &str =
    "SELECT string_agg(DISTINCT \"service.name\", ', ' ORDER BY \"service.name\") AS services,
    min(date)::VARCHAR AS first, max(date)::VARCHAR AS last FROM windows";
/// Longest list of them.
const MAX_THERE: usize = 300;

impl Page {
    /// Asks everything; `progress`: says on stderr what is being asked.
    ///
    /// # Errors
    /// If the engine cannot be run, or refuses a question.
    pub fn ask(engine: &Engine, progress: bool) -> Result<Self, EngineError> {
        let extent = engine.ask(EXTENT)?;
        let extent = extent.first().ok_or_else(|| EngineError::Refused("it says nothing".to_owned()))?;
        let extent = Extent::of(extent);
        let mut answers = Vec::new();
        for question in &QUESTIONS {
            if progress {
                // Nobody may be reading: then there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "wsgi-trace: asking: {}", question.asks);
            }
            answers.push(Answer { question, rows: engine.ask(&question.sql())? });
        }
        let stands_out = notable::all(&answers);
        Ok(Self { directory: engine.directory().to_owned(), extent, stands_out, answers })
    }

    /// The most important sentence.
    pub fn headline(&self) -> String {
        match self.stands_out.as_slice() {
            [] if self.extent.windows == 0 => "There is nothing to judge: no window was found.".to_owned(),
            [] => "Nothing stands out.".to_owned(),
            [only] => only.sentence.clone(),
            [first, rest @ ..] => format!("{} {} more below.", first.sentence, rest.len()),
        }
    }

    /// What could not be judged, and why, a sentence each.
    pub fn doubts(&self) -> Vec<String> {
        let Extent {
            hosts,
            incomplete_hosts,
            requests_not_written,
            hosts_of_a_service,
            versions_of_a_service,
            ..
        } = self.extent;
        let mut doubts = Vec::new();
        if incomplete_hosts > 0 {
            doubts.push(format!(
                "{incomplete_hosts} of {hosts} hosts lost something: those windows are left out where hosts and versions are compared."
            ));
        }
        if requests_not_written > 0 {
            doubts.push(format!(
                "{requests_not_written} requests were seen and have no row: agents could not write them."
            ));
        }
        if hosts_of_a_service < 5 {
            doubts.push("No service has five hosts: which host differs cannot be told.".to_owned());
        }
        if versions_of_a_service < 2 {
            doubts.push(
                "No service has two versions here (--resource service.version=…): what a deploy changed cannot be told."
                    .to_owned(),
            );
        }
        doubts
    }
}

impl Extent {
    fn of(row: &Row) -> Self {
        let count = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            services: count("services"),
            hosts: count("hosts"),
            windows: count("windows"),
            requests: count("requests"),
            days: text("first_day").zip(text("last_day")),
            incomplete_hosts: count("incomplete_hosts"),
            requests_not_written: count("requests_not_written"),
            hosts_of_a_service: count("hosts_of_a_service"),
            versions_of_a_service: count("versions_of_a_service"),
        }
    }
}

/// That there is no window of what was asked for, and what there is instead.
///
/// # Errors
/// Always [`EngineError::Nothing`], unless the engine refuses, or there is nothing else either.
pub fn none_of(whole: &Engine, scope: &Scope) -> Result<(), EngineError> {
    let rows = whole.ask(THERE)?;
    let text = |name: &str| {
        let value = rows.first().and_then(|row| row.get(name)).and_then(Value::as_str);
        value.map(|text| line(text, MAX_THERE, Charset::Ascii))
    };
    let (Some(services), Some(first), Some(last)) = (text("services"), text("first"), text("last")) else {
        return Ok(());
    };
    let service = scope.service.as_ref().map(|name| format!("of service {name}"));
    let since = scope.since.as_ref().map(|day| format!("since {day}"));
    let asked: Vec<String> = service.into_iter().chain(since).collect();
    Err(EngineError::Nothing {
        asked: asked.join(" "),
        there: format!("services {services}, from {first} to {last}"),
    })
}

/// A value as people read it.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
