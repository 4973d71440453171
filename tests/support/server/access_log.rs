//! gunicorn's access log in a format of our own.
//!
//! In: the log's text. Out: one [`AccessLine`] a request.

use anyhow::Context as _;

use super::line::Line;
use crate::whole_lines::whole_lines;

/// `--access-logformat`: PID, method, request line (`%(U)s` is not there when the application fails), status,
/// duration in µs, body bytes, separated by tabs.
pub const FORMAT: &str = "%(p)s\t%(m)s\t%(r)s\t%(s)s\t%(D)s\t%(B)s";

/// One request as gunicorn saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLine {
    /// Worker process.
    pub pid: u32,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status.
    pub status: u16,
    /// `%(D)s`, in µs: from the parsed head to the end of the response.
    pub duration_us: u64,
    /// Body bytes of the response.
    pub body_bytes: u64,
}

impl AccessLine {
    /// The unique number that ends the path, where it has one.
    pub fn id(&self) -> Option<u64> {
        self.path.rsplit('/').next()?.parse().ok()
    }
}

/// Reads the whole lines of a log.
///
/// # Errors
///
/// Where a line is not of [`FORMAT`].
pub fn parse(text: &str) -> anyhow::Result<Vec<AccessLine>> {
    whole_lines(text)
        .map(|line| line_of(line).with_context(|| format!("not a line of our format: {line:?}")))
        .collect()
}

/// A line as the logs of all servers give it.
///
/// # Errors
///
/// Where it is not of [`FORMAT`].
pub fn common_line(text: &str) -> anyhow::Result<Option<Line>> {
    let line = line_of(text).context("not a line of our format")?;
    // Where the application raises, the line's time includes that of logging the traceback.
    let duration_ns = (line.status != 500).then(|| line.duration_us.saturating_mul(1000));
    let AccessLine { pid, method, path, status, .. } = line;
    Ok(Some(Line { pid: Some(pid), method, path, status, duration_ns, ..Line::default() }))
}

fn line_of(line: &str) -> Option<AccessLine> {
    let mut fields = line.split('\t');
    Some(AccessLine {
        pid: fields.next()?.trim_matches(['<', '>']).parse().ok()?,
        method: fields.next()?.to_owned(),
        path: fields.next()?.split(' ').nth(1)?.split('?').next()?.to_owned(),
        status: fields.next()?.parse().ok()?,
        duration_us: fields.next()?.parse().ok()?,
        body_bytes: match fields.next()? {
            "None" | "-" => 0,
            number => number.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_and_a_line_being_written_is_left() {
        let log =
            parse("<12>\tGET\tGET /fast/7?q=1 HTTP/1.1\t200\t153\t6\n<12>\tHEAD\tHEAD /fast/8 HTTP/1.1\t200\t90\tNone\n<12>\tGE").unwrap();
        assert_eq!(log.len(), 2);
        assert_eq!(log[0].path, "/fast/7");
        assert_eq!((log[0].pid, log[0].id(), log[0].duration_us), (12, Some(7), 153));
        assert_eq!(log[1].body_bytes, 0);
    }
}
