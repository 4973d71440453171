//! gevent: pywsgi in a script of a few lines, and as gunicorn's worker.
//!
//! In: which of the two. Out: recipes.

use std::process::Command;

use anyhow::Context as _;

use super::{Clients, Line, Log, Place, Recipe, access_log};
use crate::trace::TracedRequest;

/// `gevent.pywsgi.WSGIServer`.
#[derive(Clone, Copy, Debug)]
pub struct Pywsgi;

/// gunicorn with gevent workers.
#[derive(Clone, Copy, Debug)]
pub struct GunicornGevent {
    /// Worker processes.
    pub workers: usize,
}

/// gunicorn with gevent workers and the application under the eyes of its own witness.
#[derive(Clone, Copy, Debug)]
pub struct WitnessedGevent(pub GunicornGevent);

/// Mixed requests interleave, and no descriptor tells which of two greenlets runs.
const UNEXPLAINED: f64 = 0.10;

/// `127.0.0.1 - - [time] "GET /a/1 HTTP/1.1" 200 12 0.000123`.
fn line(text: &str) -> anyhow::Result<Option<Line>> {
    let Some((_, text)) = text.split_once("] \"") else { return Ok(None) };
    let (request, text) = text.split_once("\" ").context("no end of the request line")?;
    let mut request = request.split(' ');
    let (method, path) = (request.next().context("no method")?, request.next().context("no path")?);
    let mut fields = text.split(' ');
    let status = fields.next().context("no status")?.parse()?;
    let seconds: f64 = fields.nth(1).context("no duration")?.parse()?;
    Ok(Some(Line {
        method: method.to_owned(),
        path: path.split('?').next().unwrap_or_default().to_owned(),
        status,
        duration_ns: Some((seconds * 1e9) as u64),
        ..Line::default()
    }))
}

impl Recipe for Pywsgi {
    fn name(&self) -> &'static str {
        "gevent"
    }

    fn about(&self) -> String {
        "gevent.pywsgi".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join("serve_pywsgi.py")).args([&host, &port]).arg(place.file("access.log"));
        Ok(vec![command])
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn shares_gil(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn log(&self) -> Log {
        Log { file: "access.log", line }
    }

    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        request.service_ns
    }

    fn unexplained(&self) -> f64 {
        UNEXPLAINED
    }
}

impl GunicornGevent {
    fn command(self, place: &Place, application: &str) -> Command {
        let mut command = Command::new(Place::servers_program("python"));
        command.args(["-m", "gunicorn", "--worker-class", "gevent", "--no-control-socket"]);
        command.args(["--bind", &place.address.to_string(), "--workers", &self.workers.to_string()]);
        command.arg("--chdir").arg(Place::apps()).arg("--access-logfile").arg(place.file("access.log"));
        command.args(["--access-logformat", access_log::FORMAT, application]);
        command
    }
}

impl Recipe for GunicornGevent {
    fn name(&self) -> &'static str {
        "gunicorn"
    }

    fn about(&self) -> String {
        format!("gunicorn gevent, {} workers", self.workers)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        Ok(vec![self.command(place, "demo_app:app")])
    }

    fn loads(&self) -> usize {
        self.workers
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn shares_gil(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        None
    }

    fn log(&self) -> Log {
        Log { file: "access.log", line: access_log::common_line }
    }

    fn clients(&self) -> Clients {
        Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked,expect" }
    }

    fn unexplained(&self) -> f64 {
        UNEXPLAINED
    }
}

impl Recipe for WitnessedGevent {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn about(&self) -> String {
        self.0.about()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        Ok(vec![self.0.command(place, "witnessed:app")])
    }

    fn loads(&self) -> usize {
        self.0.loads()
    }

    fn knows_its_work(&self) -> bool {
        false
    }

    fn shares_gil(&self) -> bool {
        false
    }

    fn slots(&self) -> Option<u64> {
        self.0.slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_pywsgi_s_log_is_read() {
        let text = "127.0.0.1 - - [2026-11-20 12:00:00] \"GET /fast/17 HTTP/1.1\" 200 143 0.000250";
        let line = line(text).unwrap().unwrap();
        assert_eq!((line.id(), line.status, line.duration_ns), (Some(17), 200, Some(250_000)));
    }
}
