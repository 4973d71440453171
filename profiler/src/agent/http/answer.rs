//! From a request to its response.
//!
//! In: method, path, headers, what stands on the board. Out: a response. Nothing of a request is ever sent
//! back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::full::{Granted, length, status};
use crate::agent::board::{Board, KeptAsk, Modes, Question, Status, View};
use crate::agent::budget::Refusal;
use crate::agent::exposition::{self, OPENMETRICS, PLAIN};
use crate::agent::full::{Ask, Wish};
use crate::agent::metrics::{self, Own};
use crate::export::Courier;
use crate::report::{html, json};

/// How old an answer may be.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long a look at the open window may take: while programs are attached or detached nobody answers.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Begins a full trace, and ends it.
const FULL: &str = "/full";

/// Content type of a page.
pub const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// A response.
pub type Reply = Response<Full<Bytes>>;

/// Everything that answers are made from.
pub struct Answers {
    board: Arc<Board>,
    questions: mpsc::Sender<Question>,
    window: Duration,
    /// What writes rows, where that is wanted.
    rows: Option<Arc<Courier>>,
    /// Who begins full traces.
    full: Option<mpsc::Sender<Ask>>,
    /// Who has what is kept in memory.
    kept: Option<mpsc::Sender<KeptAsk>>,
    began: Instant,
    /// Held while a recording is made; when the last was.
    recording: Mutex<Option<Instant>>,
    /// Held while somebody asks for a look: the others wait for the same one.
    looking: Mutex<()>,
    metrics: Mutex<Option<(Instant, Bytes, Bytes)>>,
    written: Mutex<[Option<Written>; 6]>,
}

/// A view, and what was written out of it.
type Written = (Arc<View>, Bytes);

/// What is written out of a view, and kept.
#[derive(Clone, Copy)]
enum Form {
    CurrentJson,
    LastJson,
    CurrentPage,
    LastPage,
    FullJson,
    FullPage,
}

/// The body of `/healthz`.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    reason: Option<String>,
    /// `light`, `full`, or `light and full` during a full trace; null: nothing is watched.
    mode: Option<&'static str>,
    full_traces: u64,
    /// Why the last full trace that failed did.
    full_trace_failure: Option<String>,
    since_seconds: u64,
    running_seconds: u64,
    windows: u64,
    target_losses: u64,
    /// What became of the last change of the server.
    change: Option<String>,
    /// How long that has been known.
    change_seconds_ago: Option<u64>,
    /// What is taken of all CPUs of the machine; null: not known, or it has no limit.
    cost_ratio: Option<f64>,
    /// What may be taken; null: it has no limit.
    max_cost_ratio: Option<f64>,
    /// What is left out for that: `lines`, `system_calls`, `everything`.
    left_out: Vec<&'static str>,
}

impl Answers {
    /// Answers from this board; `window` is the length of a window.
    pub fn new(board: Arc<Board>, questions: mpsc::Sender<Question>, window: Duration) -> Self {
        Self {
            board,
            questions,
            window,
            rows: None,
            full: None,
            kept: None,
            began: Instant::now(),
            recording: Mutex::new(None),
            looking: Mutex::new(()),
            metrics: Mutex::new(None),
            written: Mutex::new([const { None }; 6]),
        }
    }

    /// These answers, which also say what becomes of rows.
    pub fn with_rows(mut self, rows: Option<Arc<Courier>>) -> Self {
        self.rows = rows;
        self
    }

    /// These answers, which ask for full traces there.
    pub fn with_full(mut self, full: mpsc::Sender<Ask>) -> Self {
        self.full = Some(full);
        self
    }

    /// These answers, which ask there for what is kept in memory.
    pub fn with_kept(mut self, kept: mpsc::Sender<KeptAsk>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// What it answers from.
    pub const fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Answers one request, as if it was for this path.
    pub async fn answer_at<B>(&self, request: &Request<B>, path: &str) -> Reply {
        let headers = request.headers();
        let is_full = path == FULL;
        let (is_allowed, allowed, sentence) = match is_full {
            true => {
                let is_allowed = matches!(*request.method(), Method::POST | Method::DELETE);
                (is_allowed, "POST, DELETE", "only POST, and DELETE to end it")
            }
            false => {
                (matches!(*request.method(), Method::GET | Method::HEAD), "GET, HEAD", "only GET and HEAD")
            }
        };
        if !is_allowed {
            let mut reply = say(StatusCode::METHOD_NOT_ALLOWED, sentence);
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            return reply;
        }
        if is_full {
            if headers.contains_key(header::ORIGIN) {
                // A page elsewhere can make a browser on this machine send it.
                return say(StatusCode::FORBIDDEN, "no page in a browser may ask for that");
            }
            let wish = match *request.method() {
                Method::DELETE => Ok(Wish::End),
                _ => length(request.uri().query()).map(Wish::Begin),
            };
            return match wish {
                Ok(wish) => self.ask_full(wish).await,
                Err(sentence) => say(StatusCode::BAD_REQUEST, sentence),
            };
        }
        match path {
            "/metrics" => {
                let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
                self.metrics(exposition::wants_openmetrics(accept)).await
            }
            "/report.json" => match request.uri().query() {
                None | Some("" | "window=last") => self.last_report().await,
                Some("window=current") => self.current_report().await,
                Some("window=full") => self.full_report(Form::FullJson).await,
                Some(_) => say(
                    StatusCode::BAD_REQUEST,
                    "only ?window=current, ?window=last or ?window=full can be asked for",
                ),
            },
            "/" => match request.uri().query() {
                Some("window=full") => self.full_report(Form::FullPage).await,
                _ => self.page().await,
            },
            "/recording.wtrace" => match request.uri().query() {
                None | Some("" | "of=now") => self.recording(*request.method() == Method::HEAD, false).await,
                Some("of=trigger") => self.recording(*request.method() == Method::HEAD, true).await,
                Some(_) => say(StatusCode::BAD_REQUEST, "only ?of=now or ?of=trigger can be asked for"),
            },
            "/change.json" => match self.board.last_change() {
                Some((_, change)) => serialized(change.as_ref()),
                None => say(StatusCode::NOT_FOUND, "no change of the server was compared yet"),
            },
            "/healthz" => self.health(),
            _ => say(
                StatusCode::NOT_FOUND,
                "there are /, /metrics, /report.json, /change.json, /recording.wtrace, /healthz and, for POST and \
                 DELETE, /full",
            ),
        }
    }

    /// Has the open window looked at, unless that was done just now.
    pub async fn look(&self) {
        let _one_at_a_time = self.looking.lock().await;
        let is_fresh = self.board.current().is_some_and(|(at, _)| at.elapsed() < FRESH_FOR);
        if is_fresh || self.board.state().status != Status::Watching {
            return;
        }
        let (question, answered) = oneshot::channel();
        if self.questions.try_send(question).is_ok() {
            // Without an answer, what stands on the board is what there is.
            let _ = timeout(LOOK_WITHIN, answered).await;
        }
    }

    async fn metrics(&self, openmetrics: bool) -> Reply {
        let mut kept = self.metrics.lock().await;
        if kept.as_ref().is_none_or(|(at, ..)| at.elapsed() >= FRESH_FOR) {
            self.look().await;
            let rows = self.rows.as_ref().map(|rows| rows.totals());
            let own = Own { rows, ..Own::now(self.window) };
            let Ok(text) = metrics::render(self.board.known(), Some(own)) else {
                return say(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written");
            };
            let plain = exposition::plain(&text);
            *kept = Some((Instant::now(), Bytes::from(text), Bytes::from(plain)));
        }
        let Some((_, rich, plain)) = &*kept else {
            return say(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written");
        };
        if openmetrics { reply(OPENMETRICS, rich.clone()) } else { reply(PLAIN, plain.clone()) }
    }

    async fn last_report(&self) -> Reply {
        match self.board.last() {
            Some(view) => self.write(Form::LastJson, view).await,
            None => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "no window has ended yet; /report.json?window=current shows the open one, /healthz says how it stands",
            ),
        }
    }

    async fn current_report(&self) -> Reply {
        self.look().await;
        match self.board.current() {
            Some((_, view)) => self.write(Form::CurrentJson, view).await,
            None => say(StatusCode::SERVICE_UNAVAILABLE, "nothing is watched now; /healthz says why"),
        }
    }

    /// The full trace that goes on; where there is none, the last one.
    async fn full_report(&self, form: Form) -> Reply {
        self.look().await;
        match self.board.current_full().or_else(|| self.board.last_full()) {
            Some(view) => self.write(form, view).await,
            None => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "nothing was traced in full yet; POST /full?seconds=60 begins that",
            ),
        }
    }

    /// Begins a full trace, or ends it.
    async fn ask_full(&self, wish: Wish) -> Reply {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { wish, answer };
        let sent = self.full.as_ref().is_some_and(|full| full.try_send(ask).is_ok());
        let granted = match timeout(LOOK_WITHIN, answered).await {
            Ok(Ok(granted)) if sent => granted,
            _ => Err(Refusal::Busy),
        };
        match granted {
            Ok(length) => {
                let mut reply = serialized(&Granted::new(length));
                *reply.status_mut() = StatusCode::ACCEPTED;
                reply
            }
            Err(refusal) => {
                let (status, again) = status(refusal);
                let mut reply = reply(TEXT, Bytes::from(format!("{refusal}\n")));
                *reply.status_mut() = status;
                if let Some(again) = again {
                    let seconds = HeaderValue::from(again.as_secs().saturating_add(1));
                    reply.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                reply
            }
        }
    }

    /// The open window; where there is none, the last one.
    async fn page(&self) -> Reply {
        self.look().await;
        match (self.board.current(), self.board.last()) {
            (Some((_, view)), _) => self.write(Form::CurrentPage, view).await,
            (None, Some(view)) => self.write(Form::LastPage, view).await,
            (None, None) => {
                say(StatusCode::SERVICE_UNAVAILABLE, "nothing was watched yet; /healthz says why")
            }
        }
    }

    /// Writes a view out, unless that was done before.
    async fn write(&self, form: Form, view: Arc<View>) -> Reply {
        let kind = match form {
            Form::CurrentJson | Form::LastJson | Form::FullJson => JSON,
            Form::CurrentPage | Form::LastPage | Form::FullPage => HTML,
        };
        let mut written = self.written.lock().await;
        let Some(place) = written.get_mut(form as usize) else {
            return say(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be written");
        };
        if let Some((known, bytes)) = place
            && Arc::ptr_eq(known, &view)
        {
            return reply(kind, bytes.clone());
        }
        let bytes = match form {
            Form::CurrentJson | Form::LastJson | Form::FullJson => {
                match json::render(&view.snapshot, &view.findings) {
                    Ok(bytes) => Bytes::from(bytes),
                    Err(_) => {
                        return say(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be written");
                    }
                }
            }
            Form::CurrentPage | Form::LastPage | Form::FullPage => {
                let requests = view.requests.iter().map(AsRef::as_ref);
                let changed = self.board.last_change().map(|(at, change)| {
                    let minutes = at.elapsed().as_secs() / 60;
                    format!("Last change of the server, {minutes} min ago: {}", change.sentence)
                });
                let window = (&view.snapshot, view.findings.as_slice());
                Bytes::from(html::render_noting(changed.as_deref(), window, requests))
            }
        };
        *place = Some((view, bytes.clone()));
        reply(kind, bytes)
    }

    /// What is kept in memory, as a recording: one at a time, and one a second at most.
    async fn recording(&self, is_head: bool, is_frozen: bool) -> Reply {
        const NOTHING: &str =
            "nothing is kept in memory; serve --keep 60s does that, once the server is watched";
        const NOT_SET_ASIDE: &str = "nothing was set aside; --keep-when and SIGUSR1 do that";
        const BUSY: &str = "the agent is busy, ask again in a moment";
        if is_head {
            return reply(BINARY, Bytes::new());
        }
        let mut made = self.recording.lock().await;
        if let Some(made) = *made {
            tokio::time::sleep(FRESH_FOR.saturating_sub(made.elapsed())).await;
        }
        let (answer, answered) = oneshot::channel();
        let ask = KeptAsk { is_frozen, answer };
        let sent = self.kept.as_ref().is_some_and(|kept| kept.try_send(ask).is_ok());
        let copy = match timeout(LOOK_WITHIN, answered).await {
            Ok(Ok(Some(copy))) if sent => copy,
            Ok(Ok(None)) if is_frozen => return say(StatusCode::NOT_FOUND, NOT_SET_ASIDE),
            Ok(Ok(None)) => return say(StatusCode::SERVICE_UNAVAILABLE, NOTHING),
            _ => return say(StatusCode::SERVICE_UNAVAILABLE, BUSY),
        };
        // It takes as long as reading it does. Others are answered meanwhile, and nobody waits for it at the
        // end of the agent.
        let (done, written) = oneshot::channel();
        let writer = std::thread::Builder::new().name("recording".to_owned());
        let started = writer.spawn(move || drop(done.send(copy.write())));
        let outcome = match started {
            Ok(_) => written.await,
            Err(_) => return say(StatusCode::SERVICE_UNAVAILABLE, BUSY),
        };
        *made = Some(Instant::now());
        match outcome {
            Ok(Ok(bytes)) => reply(BINARY, Bytes::from(bytes)),
            _ => say(StatusCode::INTERNAL_SERVER_ERROR, "the recording could not be written"),
        }
    }

    fn health(&self) -> Reply {
        let (state, full) = self.board.health();
        let mode = match state.modes {
            Modes { light: true, full: true } => Some("light and full"),
            Modes { light: true, .. } => Some("light"),
            Modes { full: true, .. } => Some("full"),
            Modes { .. } => None,
        };
        let (status, reason) = match state.status {
            Status::Watching => ("watching", None),
            Status::Attaching => ("attaching", None),
            Status::Waiting(reason) => ("waiting", Some(reason)),
            Status::Paused(reason) => ("paused", Some(reason)),
        };
        let changed = self.board.last_change();
        let cost = self.board.cost();
        let health = Health {
            status,
            reason,
            mode,
            full_traces: full.begun.values().sum(),
            full_trace_failure: full.failure,
            since_seconds: state.since.elapsed().as_secs(),
            running_seconds: self.began.elapsed().as_secs(),
            windows: state.windows,
            target_losses: state.losses_of_target,
            change: changed.as_ref().map(|(_, change)| change.sentence.clone()),
            change_seconds_ago: changed.map(|(at, _)| at.elapsed().as_secs()),
            cost_ratio: cost.as_ref().and_then(|cost| cost.ratio),
            max_cost_ratio: cost.as_ref().map(|cost| cost.max_ratio),
            left_out: cost.iter().flat_map(|cost| &cost.left_out).map(|part| part.what.name()).collect(),
        };
        serialized(&health)
    }
}

/// An answer in JSON.
pub fn serialized(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => reply(JSON, Bytes::from(bytes)),
        Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written"),
    }
}

/// An answer of one sentence.
pub fn say(status: StatusCode, sentence: &'static str) -> Reply {
    let mut reply = reply(TEXT, Bytes::from(format!("{sentence}\n")));
    *reply.status_mut() = status;
    reply
}

/// An answer of this content type.
pub fn reply(kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}
