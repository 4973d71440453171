//! `wsgi-trace serve`: watch a server for as long as it runs, and show it over HTTP.
//!
//! In: target, address, length of a window. Out: nothing but answers over HTTP; a line on stderr when it
//! begins.

use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use super::export::labels;
use super::follow::{follow, sayer};
use super::{Failure, node, target};
use crate::agent::follow::Find;
use crate::agent::http::{Door, Server};
use crate::agent::{AgentError, listen};
use crate::attach;
use crate::cli::exit::ExitCode;
use crate::cli::export::Parquet;
use crate::cli::{Serve, otlp};
use crate::export::{self, Courier};
use crate::otlp::exporter::Pace;
use crate::session::SessionError;
use crate::session::signals::Signals;

/// Serves until a signal comes.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Serve) -> Result<(), Failure> {
    serve(options).map_err(Failure::from)
}

fn serve(options: &Serve) -> Result<(), AgentError> {
    let options = Rc::new(options.clone());
    let token = options.token_file.as_deref().map(listen::Token::read).transpose()?;
    let (socket, access) = listen::open(options.listen, token)?;
    let address = socket.address();
    let exporter = options.otlp.start(Pace::Live)?;
    let rows = rows(&options.parquet)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Before anything else runs: from here on a signal ends it in order.
        let mut signals = Signals::new()?.and_set_aside()?;
        let say = sayer(options.quiet);
        say(&format!("serving {address}"));
        if let Some(price) = attach::gil::price(target::gil(options.gil, options.light)) {
            say(&price);
        }
        if options.all {
            return node::watch(&options, (socket, access), say, &mut signals).await;
        }
        let target = options.target.clone();
        let find: Find = Rc::new(move || target::find(&target));
        let (mut follow, answers) = follow(&options, (find, options.target.pid), Rc::default(), say);
        (follow.exporter, follow.rows) = (exporter.clone(), rows.clone());
        let door = Door::new(access, answers.with_rows(rows.clone()));
        follow.server = Some(Server::start(socket, door)?);
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
