//! Answers of an agent that watches all servers of a node.
//!
//! In: a request, the directory of servers. Out: what is said of all of them, or the answer of the one whose
//! path is asked for: `/server/PID/…`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode, header};
use serde::Serialize;
use tokio::sync::Mutex;

use super::directory::{Directory, Entry, Skipped};
use super::page;
use super::row::{Row, rows};
use crate::agent::exposition::{self, OPENMETRICS, PLAIN};
use crate::agent::http::{Behind, HTML, Reply, reply, say, serialized};
use crate::agent::metrics::merged::merge;
use crate::agent::metrics::{self, Own};

/// Where the answers of one server are.
const SERVER: &str = "/server/";
/// How old an answer may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Everything that answers about a node are made from.
pub struct NodeAnswers {
    directory: Arc<Directory>,
    window: Duration,
    began: Instant,
    metrics: Mutex<Option<(Instant, String)>>,
}

/// The body of `/healthz`.
#[derive(Serialize)]
struct Health {
    /// `watching`, or `waiting` for a server to come.
    status: &'static str,
    /// Whether this machine lets servers be watched; null: not tried yet.
    supported: Option<bool>,
    /// Why not.
    reason: Option<String>,
    servers: usize,
    skipped: Vec<Skipped>,
    skipped_total: u64,
    running_seconds: u64,
}

impl NodeAnswers {
    /// Answers from this directory; `window`: the length of a window.
    pub fn new(directory: Arc<Directory>, window: Duration) -> Self {
        Self { directory, window, began: Instant::now(), metrics: Mutex::new(None) }
    }
}

impl Behind for NodeAnswers {
    async fn answer(&self, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(SERVER) {
            return self.of_server(request, rest).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return say(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        }
        match path {
            "/" => reply(HTML, Bytes::from(page::render(&self.rows().await))),
            "/servers.json" => serialized(&self.rows().await),
            "/metrics" => {
                let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
                self.metrics(exposition::wants_openmetrics(accept)).await
            }
            "/healthz" => self.health(),
            _ => say(
                StatusCode::NOT_FOUND,
                "there are /, /servers.json, /metrics, /healthz and, for each server, /server/PID/",
            ),
        }
    }
}

impl NodeAnswers {
    async fn of_server(&self, request: &Request<Incoming>, rest: &str) -> Reply {
        let (pid, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let entry = pid.parse().ok().and_then(|pid| self.directory.get(pid));
        match entry {
            Some(entry) => entry.answers.answer_at(request, if path.is_empty() { "/" } else { path }).await,
            None => {
                say(StatusCode::NOT_FOUND, "no server with this process is watched; /servers.json has all")
            }
        }
    }

    async fn rows(&self) -> Vec<Row> {
        let entries = self.directory.all();
        for entry in &entries {
            entry.answers.look().await;
        }
        rows(&entries)
    }

    async fn metrics(&self, openmetrics: bool) -> Reply {
        let mut kept = self.metrics.lock().await;
        if kept.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH_FOR) {
            let Ok(text) = self.render().await else {
                return say(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written");
            };
            *kept = Some((Instant::now(), text));
        }
        let text = kept.as_ref().map_or("", |(_, text)| text.as_str());
        match openmetrics {
            true => reply(OPENMETRICS, Bytes::copy_from_slice(text.as_bytes())),
            false => reply(PLAIN, Bytes::from(exposition::plain(text))),
        }
    }

    async fn render(&self) -> Result<String, std::fmt::Error> {
        let entries = self.directory.all();
        let mut texts = vec![metrics::render_own(Own::now(self.window))?];
        texts.push(metrics::node::render(self.directory.counts())?);
        for entry in &entries {
            entry.answers.look().await;
            texts.push(metrics::render(entry.answers.board().known(), None)?);
        }
        let none: &[(&'static str, String)] = &[];
        let labels = [none, none].into_iter().chain(entries.iter().map(|entry: &Arc<Entry>| &*entry.labels));
        Ok(merge(labels.zip(texts.iter().map(String::as_str))))
    }

    fn health(&self) -> Reply {
        let counts = self.directory.counts();
        let health = Health {
            status: if counts.watched > 0 { "watching" } else { "waiting" },
            supported: counts.supported.as_ref().map(Result::is_ok),
            reason: counts.supported.and_then(Result::err),
            servers: counts.watched,
            skipped: self.directory.skipped(),
            skipped_total: counts.skipped,
            running_seconds: self.began.elapsed().as_secs(),
        };
        serialized(&health)
    }
}
