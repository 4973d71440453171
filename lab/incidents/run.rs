//! One incident, watched once.
//!
//! In: an incident, the modes to watch it in at once. Out: a [`Record`] for each, whatever happens. Reports,
//! recordings and witnesses stay under `target/incidents` where they are not right, and can be judged
//! again by a later program.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wsgi_trace_test_support::child::until_each;
use wsgi_trace_test_support::gate;
use wsgi_trace_test_support::load::{Load, SentRequest};
use wsgi_trace_test_support::named::Mark;
use wsgi_trace_test_support::notes::{self, Note};
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::server::composed::Composed;
use wsgi_trace_test_support::steal::Stretch;
use wsgi_trace_test_support::trace::{self, Trace, Traced};

use crate::incident::{Incident, SECONDS};
use crate::judge::{self, Ports, Said, Verdict};
use crate::outside::Outside;
use crate::path::Hop;
use crate::record::{Mode, Record};
use crate::sentence;
use crate::truth::{self, About, HOPS};

/// How long live tests beside this run may go on.
const TURN_LIMIT: Duration = Duration::from_secs(2);
/// Who has no answer so long after the last request was sent will get none.
const AFTER: Duration = Duration::from_millis(1500);
/// Above this share of the CPUs' time that a hypervisor took nothing is judged.
const DISTURBED: f64 = 0.15;

/// Runs it. `keeps`: also where it is right.
pub(crate) fn run(incident: &Incident, modes: &[Mode], (place, keeps): (&Path, bool)) -> Vec<Record> {
    let start = Instant::now();
    let (watched, disturbed) = undisturbed(incident, modes, place);
    let seconds = start.elapsed().as_secs_f64();
    let mut records = Vec::new();
    for (at, mode) in modes.iter().enumerate() {
        let mut record = Record { seconds, ..Record::new(incident, *mode) };
        let kept = kept(place, incident, *mode);
        let outcome = match &watched {
            Ok((traced, witness)) => traced.get(at).context("not watched").and_then(|traced| {
                keep(traced, witness, &kept)?;
                compare(incident, &traced.report, witness, &mut record)
            }),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        if let Some(why) = outcome.err().map(|error| format!("{error:#}")).or_else(|| disturbed.clone()) {
            record.verdict = Verdict::Void;
            record.why = why;
        }
        if !keeps && record.is_well() {
            for extension in ["json", "wtrace", "witness"] {
                // What is left of it is in the record.
                let _ = std::fs::remove_file(kept.with_extension(extension));
            }
        }
        records.push(record);
    }
    records
}

/// What was seen in each mode, and why nothing is to be judged by it.
type Outcome = (anyhow::Result<(Vec<Traced>, Witness)>, Option<String>);

/// Watches it while no live test does anything.
fn undisturbed(incident: &Incident, modes: &[Mode], place: &Path) -> Outcome {
    let _turn = match gate::exclusive_within(TURN_LIMIT) {
        Ok(turn) => turn,
        Err(error) => return (Err(error), None),
    };
    let stretch = Stretch::begin();
    let watched = watch(incident, modes, place);
    let (_, stolen_ratio) = stretch.stolen();
    let is_disturbed = stolen_ratio > DISTURBED;
    let why = is_disturbed.then(|| format!("a hypervisor took {:.0} % of the CPUs", stolen_ratio * 100.0));
    (watched, why)
}

fn keep(traced: &Traced, witness: &Witness, kept: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(kept.parent().context("no directory")?)?;
    std::fs::write(kept.with_extension("json"), serde_json::to_string(&traced.report)?)?;
    std::fs::copy(&traced.recording, kept.with_extension("wtrace"))?;
    std::fs::write(kept.with_extension("witness"), serde_json::to_string(witness)?)?;
    Ok(())
}

/// Judges once more what was kept, by the program as it is now.
pub(crate) fn again(incident: &Incident, mode: Mode, place: &Path) -> Record {
    let mut record = Record::new(incident, mode);
    let kept = kept(place, incident, mode);
    let mut compared = || -> anyhow::Result<()> {
        let witness = serde_json::from_str(&std::fs::read_to_string(kept.with_extension("witness"))?)?;
        let report = trace::report_on(&kept.with_extension("wtrace"), "json")?.stdout;
        std::fs::write(kept.with_extension("json"), &report)?;
        compare(incident, &serde_json::from_str(&report)?, &witness, &mut record)
    };
    let outcome = compared();
    if let Err(error) = outcome {
        record.verdict = Verdict::Void;
        record.why = format!("{error:#}");
    }
    record
}

/// Where the report, the recording and the witness of a watch are kept, but for their extensions.
fn kept(place: &Path, incident: &Incident, mode: Mode) -> PathBuf {
    place.join("reports").join(format!("{}-{}", incident.seed, mode.name()))
}

fn compare(
    incident: &Incident,
    report: &Value,
    witness: &Witness,
    record: &mut Record,
) -> anyhow::Result<()> {
    let said: Said = serde_json::from_value(report.get("chains").context("no chains")?.clone())?;
    let moment = |name: &str| report.pointer(name).and_then(Value::as_u64).context("no window");
    let window = moment("/window/start_ns")?..moment("/window/end_ns")?;
    let mut shared_hops = [false; HOPS];
    for (is_shared, hop) in shared_hops.iter_mut().zip(&incident.hops) {
        *is_shared = hop.file().is_some();
    }
    let about = About {
        has_shared_queue: incident.server.has_shared_queue(),
        computes: incident.leaf.computes(),
        stops: incident.leaf.stops(),
        itself: incident.hops.iter().position(Hop::is_itself),
        shared_hops,
    };
    let truth = truth::truth(&witness.notes(), &witness.sent, &window, about);
    let judgement = judge::judge(&said, incident, (witness.ports, &witness.marks), &truth);
    record.take(&judgement, &truth, &said);
    if let Some(verdict) = report.get("verdict") {
        let asked = (witness.ports, witness.marks.as_slice());
        record.sentence = Some(sentence::judge(verdict, incident, asked, &truth)?);
    }
    Ok(())
}

/// What is known of a watch without wsgi-trace.
#[derive(Debug, Deserialize, Serialize)]
struct Witness {
    ports: Ports,
    /// What a report ought to say of the leaf's object.
    #[serde(default)]
    marks: Vec<Mark>,
    /// Number of each request and when it was sent.
    sent: Vec<(u64, u64)>,
    /// Time, number of the request, process, thread, step, mark.
    notes: Vec<(u64, u64, u32, u32, u8, u8)>,
}

impl Witness {
    fn new(ports: Ports, sent: &[SentRequest], notes: &[Note]) -> Self {
        let sent = sent.iter().map(|request| (request.id, request.sent_ns)).collect();
        let of = |note: &Note| (note.at_ns, note.request, note.pid, note.tid, note.step, note.mark as u8);
        Self { ports, marks: Vec::new(), sent, notes: notes.iter().map(of).collect() }
    }

    fn notes(&self) -> Vec<Note> {
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

fn watch(incident: &Incident, modes: &[Mode], place: &Path) -> anyhow::Result<(Vec<Traced>, Witness)> {
    let notes = notes::directory()?;
    // On a disk: what waits for one is an incident.
    let files = tempfile::Builder::new().prefix("files-").tempdir_in(place)?;
    let directory = files.path().to_str().context("no path")?;
    for name in incident.hops.iter().filter_map(Hop::file) {
        std::fs::write(files.path().join(name), "")?;
    }
    let mut outside = Outside::before(incident, files.path(), notes.path())?;
    let recipe = incident.server.recipe();
    let composed = Composed {
        server: recipe.as_ref(),
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
    Ok((traced, witness))
}

fn as_texts(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}
