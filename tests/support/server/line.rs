//! What a server's own log, or the application's witness, says of each request.
//!
//! In: the text of a log. Out: [`Line`]s, the same for every server.

use anyhow::Context as _;
use serde::Deserialize;

use crate::whole_lines::whole_lines;

/// One request by the witness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Process that served it; `None`: the log does not say.
    pub pid: Option<u32>,
    /// Thread that served it; `None`: the log does not say.
    pub tid: Option<u32>,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status.
    pub status: u16,
    /// What the log measures, in ns; `None`: not comparable.
    pub duration_ns: Option<u64>,
    /// Of that, how long the server behind took, in ns; `None`: no front end wrote the log, or it asked
    /// none.
    pub behind_ns: Option<u64>,
    /// When the application was called, `CLOCK_MONOTONIC`; `None`: the log does not say.
    pub start_ns: Option<u64>,
    /// When the application had its answer, before the server sent any of it, `CLOCK_MONOTONIC`; `None`: the
    /// log does not say, or there was none.
    pub returned_ns: Option<u64>,
    /// When the server closed the application's response, `CLOCK_MONOTONIC`; `None`: the log does not say,
    /// or it did not.
    pub end_ns: Option<u64>,
    /// From the front end's stamp, as the application got it, to the application's call, by the wall clock;
    /// `None`: the log does not say, or there was no stamp.
    pub since_stamp_ns: Option<u64>,
}

impl Line {
    /// The unique number that ends the path, where it has one.
    pub fn id(&self) -> Option<u64> {
        self.path.rsplit('/').next()?.parse().ok()
    }
}

/// Where a witness writes, and how to read a line of it: `Ok(None)` for one that tells of no request.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Name of the file in the server's directory.
    pub file: &'static str,
    /// Reads a line.
    pub line: fn(&str) -> anyhow::Result<Option<Line>>,
}

/// `apps/witnessed.py`, from the call of the application to the close of its response.
pub const APPLICATION: Log = Log { file: "requests.jsonl", line: application_line };

/// Reads the whole lines of a log; one that is being written is left.
///
/// # Errors
///
/// Where a line is not of the log's format.
pub fn parse(text: &str, line: fn(&str) -> anyhow::Result<Option<Line>>) -> anyhow::Result<Vec<Line>> {
    whole_lines(text).filter_map(|text| line(text).with_context(|| format!("{text:?}")).transpose()).collect()
}

#[derive(Deserialize)]
struct Witnessed {
    method: String,
    path: String,
    status: u16,
    pid: u32,
    tid: u32,
    start_ns: u64,
    #[serde(default)]
    called_ns: u64,
    #[serde(default)]
    request_start: Option<String>,
    #[serde(default)]
    returned_ns: Option<u64>,
    end_ns: Option<u64>,
}

fn application_line(text: &str) -> anyhow::Result<Option<Line>> {
    let seen: Witnessed = serde_json::from_str(text)?;
    Ok(Some(Line {
        pid: Some(seen.pid),
        tid: Some(seen.tid),
        method: seen.method,
        path: seen.path,
        status: seen.status,
        duration_ns: seen.end_ns.map(|end_ns| end_ns.saturating_sub(seen.start_ns)),
        start_ns: Some(seen.start_ns),
        returned_ns: seen.returned_ns,
        end_ns: seen.end_ns,
        behind_ns: None,
        since_stamp_ns: seen.request_start.as_deref().and_then(|stamp| {
            let (seconds, millis) = stamp.strip_prefix("t=")?.split_once('.')?;
            let stamp_ms = seconds.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?;
            seen.called_ns.checked_sub(stamp_ms * 1_000_000)
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_which_the_application_saw_no_end_has_no_duration() {
        let text = "{\"method\":\"GET\",\"path\":\"/a/7\",\"status\":500,\"pid\":1,\"tid\":2,\"start_ns\":5,\"end_ns\":null}\n{\"me";
        let lines = parse(text, application_line).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].id(), lines[0].duration_ns, lines[0].tid), (Some(7), None, Some(2)));
    }
}
