//! One incident under a server, with its clients, watched or not.
//!
//! In: an incident, a server, the modes to watch it in at once. Out: reports, what is known without
//! wsgi-trace ([`Witness`]), and what clients sent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wsgi_trace_test_support::child::until_each;
use wsgi_trace_test_support::load::{Load, SentRequest};
use wsgi_trace_test_support::named::Mark;
use wsgi_trace_test_support::notes::{self, Note};
use wsgi_trace_test_support::server::composed::Composed;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

use crate::incident::{Incident, SECONDS};
use crate::judge::Ports;
use crate::outside::Outside;
use crate::path::Hop;
use crate::record::Mode;

/// Who has no answer so long after the last request was sent will get none.
const AFTER: Duration = Duration::from_millis(1500);

/// What is known of a watch without wsgi-trace.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Witness {
    pub(crate) ports: Ports,
    /// What a report ought to say of the leaf's object.
    #[serde(default)]
    pub(crate) marks: Vec<Mark>,
    /// Number of each request and when it was sent.
    pub(crate) sent: Vec<(u64, u64)>,
    /// Time, number of the request, process, thread, step, mark.
    notes: Vec<(u64, u64, u32, u32, u8, u8)>,
}

impl Witness {
    fn new(ports: Ports, sent: &[SentRequest], notes: &[Note]) -> Self {
        let sent = sent.iter().map(|request| (request.id, request.sent_ns)).collect();
        let of = |note: &Note| (note.at_ns, note.request, note.pid, note.tid, note.step, note.mark as u8);
        Self { ports, marks: Vec::new(), sent, notes: notes.iter().map(of).collect() }
    }

    /// In the order of time.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let of = |&(at_ns, request, pid, tid, step, mark): &(u64, u64, u32, u32, u8, u8)| Note {
            at_ns,
            request,
            pid,
            tid,
            step,
            mark: notes::Mark::of(mark),
        };
        self.notes.iter().map(of).collect()
    }
}

/// Watches it under its own server.
pub(crate) fn watch(
    incident: &Incident,
    modes: &[Mode],
    place: &Path,
) -> anyhow::Result<(Vec<Traced>, Witness)> {
    let (traced, witness, _) = go_through(incident, (incident.server.recipe().as_ref(), modes), place)?;
    Ok((traced, witness))
}

/// What its clients sent where a server serves it that nobody watches.
pub(crate) fn serve(
    incident: &Incident,
    recipe: &dyn Recipe,
    place: &Path,
) -> anyhow::Result<Vec<SentRequest>> {
    let (_, _, sent) = go_through(incident, (recipe, &[]), place)?;
    Ok(sent)
}

fn go_through(
    incident: &Incident,
    (recipe, modes): (&dyn Recipe, &[Mode]),
    place: &Path,
) -> anyhow::Result<(Vec<Traced>, Witness, Vec<SentRequest>)> {
    let notes = notes::directory()?;
    // On a disk: what waits for one is an incident.
    let files = tempfile::Builder::new().prefix("files-").tempdir_in(place)?;
    let directory = files.path().to_str().context("no path")?;
    for name in incident.hops.iter().filter_map(Hop::file) {
        std::fs::write(files.path().join(name), "")?;
    }
    if incident.server.kind.has_no_files() {
        // It runs as somebody who may write nowhere else.
        std::fs::set_permissions(notes.path(), std::fs::Permissions::from_mode(0o777))?;
    }
    let mut outside = Outside::before(incident, files.path(), notes.path())?;
    let composed = Composed {
        server: recipe,
        plan: incident.plan(outside.address(), directory),
        notes: notes.path().to_owned(),
    };
    let mut server = Server::start(&composed)?;
    let ports = Ports { leaf: port_of(outside.address()), base: port_of(server.back_end()) };
    let before = Duration::from_secs(u64::from(incident.seconds_before()));
    let start_loads = || -> anyhow::Result<Vec<Load>> {
        let all = incident.programs();
        all.iter().map(|options| Load::start(server.address(), &as_texts(options))).collect()
    };
    let mut loads = Vec::new();
    if !before.is_zero() {
        loads = start_loads()?;
        std::thread::sleep(before);
    }
    let traces = modes.iter().map(|mode| Trace::start_with(server.pid(), mode.options()));
    let traces = traces.collect::<anyhow::Result<Vec<Trace>>>()?;
    outside.after(incident, &server, notes.path())?;
    let marks = outside.marks(incident);
    if before.is_zero() {
        loads = start_loads()?;
    }
    let limit = Duration::from_secs(u64::from(SECONDS)) + AFTER;
    let mut have_ended = || {
        let all = loads.iter_mut().map(Load::ended).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(all.iter().all(Option::is_some).then_some(()))
    };
    // Some wait for ever, and their server is to be seen with them.
    let _ = until_each("the clients", (limit, Duration::from_millis(20)), &mut have_ended);
    let traced = traces.into_iter().map(Trace::end).collect::<anyhow::Result<Vec<Traced>>>()?;
    outside.leave();
    server.kill();
    let sent = loads.into_iter().map(Load::finish).collect::<anyhow::Result<Vec<_>>>()?;
    let sent: Vec<SentRequest> = sent.into_iter().flat_map(|sent| sent.requests).collect();
    let mut witness = Witness::new(ports, &sent, &notes::read(notes.path())?);
    witness.marks = marks;
    Ok((traced, witness, sent))
}

fn as_texts(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}
