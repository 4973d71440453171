//! `wsgi-trace serve`: watch a server for as long as it runs, and show it over HTTP.
//!
//! In: target, address, length of a window. Out: nothing but answers over HTTP; a line on stderr when it
//! begins.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::export::labels;
use super::mode::{Lack, Mode};
use super::{Failure, target};
use crate::agent::board::Board;
use crate::agent::follow::{Chosen, Follow};
use crate::agent::full::Full;
use crate::agent::http::{Answers, Server};
use crate::agent::{AgentError, listen};
use crate::attach;
use crate::cli::exit::ExitCode;
use crate::cli::export::Parquet;
use crate::cli::{Serve, otlp};
use crate::export::{self, Courier};
use crate::fact::Tree;
use crate::otlp::exporter::Pace;
use crate::session::SessionError;
use crate::session::signals::Signals;

/// Most who may ask for a full trace, or for what is kept, at once: each is answered at the next moment.
const MAX_ASKS: usize = 4;
/// Questions that wait for an answer at once: more than one only when nobody answers.
const MAX_QUESTIONS: usize = 4;

/// Serves until a signal comes.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Serve) -> Result<(), Failure> {
    serve(options).map_err(Failure::from)
}

fn serve(options: &Serve) -> Result<(), AgentError> {
    let token = options.token_file.as_deref().map(listen::Token::read).transpose()?;
    let (socket, access) = listen::open(options.listen, token)?;
    let address = socket.address();
    let board = Arc::new(Board::default());
    let (asker, questions) = mpsc::channel(MAX_QUESTIONS);
    let (full_asker, asks) = mpsc::channel(MAX_ASKS);
    let (kept_asker, kept_asks) = mpsc::channel(MAX_ASKS);
    let answers = Answers::new(Arc::clone(&board), asker, access, options.window);
    let answers = answers.with_full(full_asker).with_kept(kept_asker);

    let exporter = options.otlp.start(Pace::Live)?;
    let rows = rows(&options.parquet)?;
    let answers = answers.with_rows(rows.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Before anything else runs: from here on a signal ends it in order.
        let mut signals = Signals::new()?;
        let server = Server::start(socket, answers)?;
        if !options.quiet {
            // Nobody may be reading: then there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "wsgi-trace: serving {address}");
            if let Some(price) = attach::gil::price(target::gil(options.gil, options.light)) {
                let _ = writeln!(std::io::stderr(), "wsgi-trace: {price}");
            }
        }
        let said = RefCell::new(String::new());
        let follow = Follow {
            find: &|| target::find(&options.target),
            with_front_end: &|server| target::with_front_end(server, &options.front_end, options.quiet),
            only_pid: options.target.pid,
            window: options.window,
            choose: &|tree| choose(options, tree),
            own: &options.looks.own,
            say: &|sentence| say(options, sentence, &mut said.borrow_mut()),
            full: Full::new(&options.full_traces, Arc::clone(&board)),
            asks,
            board,
            exporter: exporter.clone(),
            rows: rows.clone(),
            questions,
            keep: options.kept.wanted(),
            kept_asks,
            last_kept: None,
            changes: RefCell::default(),
            server: Some(server),
        };
        follow.run(&mut signals).await
    });
    otlp::finish(exporter.as_deref(), options.quiet);
    if let Some(rows) = rows {
        let totals = rows.finish();
        if !options.quiet || totals.any_missing() {
            // Nobody may be reading: then there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "wsgi-trace: {totals}");
        }
    }
    outcome
}

/// How to attach: in light mode, with full traces beside it, or in full.
fn choose(options: &Serve, tree: &Tree) -> Chosen {
    let asked = match (options.light, options.full) {
        (true, _) => Some(Mode::Light),
        (false, true) => Some(Mode::Full),
        (false, false) => None,
    };
    let lack = Lack::of_tree(tree, options.front_end.with_front_end.is_some());
    let (mode, sentence) = Mode::of_serve(asked, lack);
    let light = mode == Mode::Light;
    let settings = |light: bool| attach::Settings {
        hooks: target::hooks(options.hooks, light),
        gil: target::gil(options.gil, light),
        tls: target::tls(options.tls, light),
        looks: target::looks(&options.looks),
        ring_bytes: options.ring_bytes,
        all_of_light: asked.is_none(),
        ..attach::Settings::default()
    };
    Chosen {
        attach: settings(light),
        full: light.then(|| settings(false)),
        instead: (light && asked.is_none()).then(|| settings(false)),
        sentence,
    }
}

/// Says it, unless nothing is to be said, or it was `said` last.
fn say(options: &Serve, sentence: &str, said: &mut String) {
    if !options.quiet && said != sentence {
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "wsgi-trace: {sentence}");
        sentence.clone_into(said);
    }
}

/// The writing of rows, if that is wanted.
fn rows(options: &Parquet) -> Result<Option<Arc<Courier>>, AgentError> {
    let Some(to) = options.to.clone() else { return Ok(None) };
    let settings = export::Settings {
        to,
        labels: labels(&options.service),
        raw_paths: options.service.raw_paths,
        every: options.every,
        budget_bytes: options.budget_bytes,
    };
    Ok(Some(Arc::new(Courier::start(settings)?)))
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let code = match error {
            AgentError::Session(error) => return error.into(),
            AgentError::Rows(error) => return error.into(),
            AgentError::Runtime(error) => return SessionError::from(error).into(),
            AgentError::Listen(_) => ExitCode::Usage,
            AgentError::TargetGone { .. } => ExitCode::TargetGone,
        };
        Self { sentence: error.to_string(), code }
    }
}
