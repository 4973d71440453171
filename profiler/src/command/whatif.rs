//! `wsgi-trace whatif FILE`: what would change at other settings; needs no privileges.
//!
//! In: a recording, changes, form of the answer. Out: bounds, today as simulated beside today as measured, forecasts where these agree.

use profiler_forecast::change::Change;

use super::{Failure, print};
use crate::cli::PlainFormat;
use crate::cli::exit::ExitCode;
use crate::cli::whatif::{ArrivalsKind, WhatIf};
use crate::session::consumer::charset;
use crate::whatif::forecast::Asked;
use crate::whatif::model::Arrivals;
use crate::whatif::{Ask, WhatIf as Answer, WhatIfError, json, text};

/// Answers.
///
/// # Errors
/// [`Failure`], if the recording cannot be read, or a change makes no sense for it.
pub fn run(options: &WhatIf) -> Result<(), Failure> {
    let answer = Answer::of(&ask(options))?;
    print(&match options.format {
        PlainFormat::Text => text::render(&answer, charset()),
        PlainFormat::Json => json::render(&answer),
    })
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
        recording: options.recording.clone(),
        changes,
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
