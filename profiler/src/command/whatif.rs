//! `wsgi-trace whatif FILE`: what would change at other settings; needs no privileges. With `--pid` it
//! watches a server for a while instead.
//!
//! In: a recording or a server, changes, form of the answer. Out: bounds, today as simulated beside today as
//! measured, forecasts where these agree.

use profiler_forecast::change::{Change, Class};

use super::{Failure, print, target};
use crate::cli::Watch;
use crate::cli::exit::ExitCode;
use crate::cli::whatif::{ArrivalsKind, WhatIf, WhatIfFormat, WorkerClass};
use crate::session::consumer::charset;
use crate::session::live::{self, Until};
use crate::whatif::forecast::Asked;
use crate::whatif::model::Arrivals;
use crate::whatif::trace::Trace;
use crate::whatif::{Ask, WhatIf as Answer, WhatIfError, html, json, text};

/// Answers.
///
/// # Errors
/// [`Failure`], if the recording cannot be read, or a change makes no sense for it.
pub fn run(options: &WhatIf) -> Result<(), Failure> {
    let ask = ask(options);
    let answer = if options.server.recording.is_some() { Answer::of(&ask)? } else { watched(options, &ask)? };
    print(&match options.format {
        WhatIfFormat::Text => text::render(&answer, charset()),
        WhatIfFormat::Json => json::render(&answer),
        WhatIfFormat::Html => html::render(&answer),
    })
}

/// Watches the server that the options name; nothing is written to a file.
fn watched(options: &WhatIf, ask: &Ask) -> Result<Answer, Failure> {
    let how = Watch { quiet: options.quiet, ..Watch::default() };
    let watch = target::watch(&options.server.target(), &how, None)?;
    let mut trace = Trace::default();
    let until = Until { duration: Some(options.duration), ..Until::default() };
    let outcome = live::run(watch, until, options.quiet, &mut trace)?;
    Ok(Answer::of_replay(outcome.snapshot, &trace, ask)?)
}

fn ask(options: &WhatIf) -> Ask {
    let mut changes = Vec::new();
    let mut plain = |words: String, change: Change| changes.push((words, Asked::Plain(change)));
    if let Some(workers) = options.workers {
        plain(format!("--workers {workers}"), Change::Processes(workers));
    }
    if let Some(threads) = options.threads {
        plain(format!("--threads {threads}"), Change::Threads(threads));
    }
    if let Some(class) = options.worker_class {
        let (name, class) = match class {
            WorkerClass::Sync => ("sync", Class::Sync),
            WorkerClass::Gthread => ("gthread", Class::Pool),
        };
        changes.push((format!("--worker-class {name}"), Asked::Class(class)));
    }
    if let Some((pattern, slots)) = &options.split {
        let own = slots.map_or_else(String::new, |(workers, threads)| format!("={workers}x{threads}"));
        changes.push((format!("--split '{pattern}{own}'"), Asked::Split(pattern.clone(), *slots)));
    }
    let mut plain = |words: String, change: Change| changes.push((words, Asked::Plain(change)));
    if let Some(cores) = options.cores {
        plain(format!("--cores {cores}"), Change::Cores(cores));
    }
    if let Some(rate) = options.rate {
        plain(format!("--rate x{rate}"), Change::Rate(rate));
    }
    if options.proxy {
        plain("--proxy".to_owned(), Change::Proxy);
    }
    if options.keepalive.is_some() {
        plain("--keepalive 0".to_owned(), Change::NoKeepAlive);
    }
    for (name, factor) in &options.backend {
        let words = format!("--backend {name}=x{factor}");
        changes.push((words, Asked::BackEnd(name.clone(), *factor)));
    }
    let arrivals = match options.arrivals {
        ArrivalsKind::Auto => None,
        ArrivalsKind::Open => Some(Arrivals::Open),
        ArrivalsKind::Closed => Some(Arrivals::Closed),
    };
    Ask {
        recording: options.server.recording.clone().unwrap_or_default(),
        changes,
        goal: options.search,
        memory_bytes: options.memory,
        arrivals,
        seed: options.seed,
        is_untrusted: options.untrusted,
    }
}

impl From<WhatIfError> for Failure {
    fn from(error: WhatIfError) -> Self {
        match error {
            WhatIfError::Session(error) => error.into(),
            other => Self { sentence: other.to_string(), code: ExitCode::Usage },
        }
    }
}
