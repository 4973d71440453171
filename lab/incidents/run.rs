//! One incident, watched once.
//!
//! In: an incident, the modes to watch it in at once. Out: a [`Record`] for each, whatever happens. Reports,
//! recordings and witnesses stay under `target/incidents` where they are not right, and can be judged
//! again by a later program.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use wsgi_trace_lab::advised::setup::Change;
use wsgi_trace_test_support::gate;
use wsgi_trace_test_support::steal::Stretch;
use wsgi_trace_test_support::trace::{self, Traced};

use crate::applied::{self, Applied};
use crate::incident::Incident;
use crate::judge::{self, Said, Verdict};
use crate::leaf::Leaf;
use crate::path::Hop;
use crate::prevented;
use crate::record::{Mode, Record};
use crate::sentence;
use crate::truth::{self, About, HOPS};
use crate::watch::{Witness, watch};

/// How long live tests beside this run may go on.
const TURN_LIMIT: Duration = Duration::from_secs(2);
/// Of so many incidents one is watched without its leaf too.
const TWIN_EVERY: u64 = 5;
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
    // Too few slots, or a worker that ends, are not of the leaf alone.
    let has_twin = incident.leaf.has_path() || incident.leaf.stops();
    if has_twin
        && incident.seed.is_multiple_of(TWIN_EVERY)
        && let Some(why) = accused(&incident.healthy(), place)
    {
        records.iter_mut().for_each(|record| record.is_void(&why));
    }
    try_sizes(incident, &mut records, place);
    records
}

/// What is said of an incident that is none; `None`: nothing.
fn accused(healthy: &Incident, place: &Path) -> Option<String> {
    let (traced, _) = watch(healthy, &[Mode::Full], place).ok()?;
    let verdict = traced.first()?.report.get("verdict")?;
    let is_wrong = verdict.get("is_wrong")?.as_bool()?;
    is_wrong.then(|| format!("without its leaf: {}", verdict.get("sentence").unwrap_or(&Value::Null)))
}

/// Tries more slots where they are advised; both modes may advise the same.
fn try_sizes(incident: &Incident, records: &mut [Record], place: &Path) {
    let mut known: Vec<(Vec<Change>, Option<Applied>)> = Vec::new();
    for said in records.iter_mut().filter_map(|record| record.sentence.as_mut()) {
        let sizes = sentence::sizes(&said.settings);
        if sizes.is_empty() {
            continue;
        }
        if !known.iter().any(|(changes, _)| *changes == sizes) {
            known.push((sizes.clone(), applied::applied(incident, &sizes, place)));
        }
        if let Some((_, Some(applied))) = known.iter().find(|(changes, _)| *changes == sizes) {
            said.is_harm = !applied.helps;
            said.tried = Some(applied.about.clone());
        }
    }
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
        stops_its_process: incident.leaf.stops_its_process()
            || incident.server.kind.takes_turns() && !incident.leaf.yields(),
        is_absence: incident.leaf == Leaf::Nobody,
        itself: incident.hops.iter().position(Hop::is_itself),
        shared_hops,
    };
    let truth = truth::truth(&witness.notes(), &witness.sent, &window, about);
    let judgement = judge::judge(&said, incident, (witness.ports, &witness.marks), &truth);
    record.take(&judgement, &truth, &said);
    let notes = witness.notes();
    let prevented = incident.room().map(|room| prevented::prevented(&notes, &witness.sent, &window, room));
    record.prevented_percent = prevented.map(|prevented| prevented.share() * 100.0);
    if let Some(verdict) = report.get("verdict") {
        let asked = (witness.ports, witness.marks.as_slice());
        record.sentence = Some(sentence::judge(verdict, incident, asked, (&truth, prevented))?);
    }
    Ok(())
}
