//! Whether advice on sizes helps: the same server with the advice applied, under the same load, beside the
//! server as it was.
//!
//! In: an incident, settings of a verdict. Out: [`Applied`]. It harms where it does not help: more processes
//! and threads cost memory and connections.

use std::path::Path;

use wsgi_trace_lab::advised::setup::{Change, Kind, Limits, Setup};
use wsgi_trace_test_support::load::SentRequest;
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;

use crate::incident::Incident;
use crate::server::ServerKind;
use crate::watch::serve;

/// It helps where clients wait for so much less, or so many more are answered.
const HELPS: f64 = 0.1;

/// What became of the clients.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) helps: bool,
    /// In words.
    pub(crate) about: String,
}

/// Tries it. `None`: nobody can do that here by a program.
pub(crate) fn applied(incident: &Incident, changes: &[Change], place: &Path) -> Option<Applied> {
    let server = incident.server;
    let (kind, class) = match server.kind {
        ServerKind::GunicornSync => (Kind::Gunicorn, "sync"),
        ServerKind::GunicornGthread => (Kind::Gunicorn, "gthread"),
        ServerKind::Gevent => (Kind::Gunicorn, "gevent"),
        ServerKind::Uwsgi => (Kind::Uwsgi, ""),
        ServerKind::Waitress => (Kind::Waitress, ""),
        ServerKind::Cheroot => (Kind::Cheroot, ""),
        ServerKind::ModWsgi => (Kind::ModWsgi, ""),
        _ => return None,
    };
    let present = Setup::new(kind, class, server.processes, server.threads).under(&[], Limits::NONE);
    let cores = u32::try_from(std::thread::available_parallelism().ok()?.get()).ok()?;
    // The first of several that the advice names.
    let first = changes.first()?.alternative;
    let of_first: Vec<Change> = changes.iter().filter(|one| one.alternative == first).cloned().collect();
    let changed = present.with(&of_first, cores).ok()?;
    let before = figures(&serve(incident, recipe(&present, kind).as_ref(), place).ok()?);
    let after = figures(&serve(incident, recipe(&changed, kind).as_ref(), place).ok()?);
    let helps = after.mean_s <= before.mean_s * (1.0 - HELPS)
        || after.answered as f64 >= before.answered as f64 * (1.0 + HELPS);
    let about = format!(
        "{}: {} answers of {:.0} ms, before {} of {:.0} ms",
        changed.title(),
        after.answered,
        after.mean_s * 1000.0,
        before.answered,
        before.mean_s * 1000.0
    );
    Some(Applied { helps, about })
}

/// How it is started with the application of the incident.
fn recipe(setup: &Setup, kind: Kind) -> Box<dyn Recipe> {
    let (processes, threads) = setup.sizes();
    match kind {
        // It names its application as it is started.
        Kind::ModWsgi => Box::new(ModWsgi::daemon(processes, threads).composed()),
        _ => setup.recipe(),
    }
}

struct Figures {
    answered: usize,
    mean_s: f64,
}

/// From when each was due.
fn figures(sent: &[SentRequest]) -> Figures {
    let answered: Vec<&SentRequest> = sent.iter().filter(|request| request.status.is_some()).collect();
    let waited = |request: &&SentRequest| request.end_ns.saturating_sub(request.due_ns) as f64 / 1e9;
    let sum: f64 = answered.iter().map(waited).sum();
    Figures { answered: answered.len(), mean_s: sum / answered.len().max(1) as f64 }
}
