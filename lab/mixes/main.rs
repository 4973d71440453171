//! `make mixes`: advice applied under random mixes of servers, settings and loads, and healthy twins on which
//! nothing may be advised.
//!
//! In: `--runs N`, `--seed S`, `--servers a,b`, `--mirror`, `--list`; the `wsgi-trace` of this build. Out: a
//! line of progress and a line of JSON for each run, under `target/mixes`; the table there, and in
//! `lab/results/advice.md` after a run of all. A run that was cut off goes on where it was. Advice that
//! harms, a healthy twin that is advised on, and more than a few runs without a judgement fail the run.

mod identity;
mod judge;
mod load;
mod mirror;
mod mix;
mod options;
mod record;
mod run;
mod said;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use wsgi_trace_lab::generated;
use wsgi_trace_lab::machine::Machine;

use mix::Mix;
use options::Options;
use record::{Record, Reflection, Verdict};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[mixes] {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One of so many mixes may be without a judgement: more say that something is wrong with the run.
const FEW: usize = 10;

/// What stands for all runs.
struct Place {
    /// `target/mixes`.
    directory: PathBuf,
    machine: String,
    /// Which wsgi-trace, judge, clients and applications.
    build: String,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let Machine { cpu, cpus, kernel, system, build, wsgi_trace, .. } = Machine::describe();
        Ok(Self {
            directory: wsgi_trace_test_support::root().join("target/mixes"),
            machine: format!(
                "{cpus} CPUs ({cpu}), Linux {kernel}, {system}; wsgi-trace {wsgi_trace} ({build} build)"
            ),
            build: identity::identity()?,
        })
    }

    fn runs(&self) -> PathBuf {
        self.directory.join("runs.jsonl")
    }

    fn mirror(&self) -> PathBuf {
        self.directory.join("mirror.jsonl")
    }

    /// Of runs of these mixes by these programs the worst of each.
    fn records(&self, mixes: &[Mix]) -> BTreeMap<u64, Record> {
        let abouts: BTreeMap<u64, String> = mixes.iter().map(|mix| (mix.seed, mix.about())).collect();
        let mut records: Vec<Record> = record::read(&self.runs());
        records.retain(|one| one.build == self.build && abouts.get(&one.seed) == Some(&one.mix));
        record::worst(records)
    }

    /// Runs of healthy twins; one that was watched again was not seen before.
    fn reflections(&self, twins: &[mirror::Twin]) -> BTreeMap<String, Reflection> {
        let is_of = |one: &Reflection| {
            one.build == self.build
                && twins.iter().any(|twin| twin.name == one.name && twin.about == one.about)
        };
        let all: Vec<Reflection> = record::read(&self.mirror());
        all.into_iter().filter(is_of).map(|one| (one.name.clone(), one)).collect()
    }
}

fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let mixes = options.mixes();
    if options.is_list {
        for mix in &mixes {
            println!("{:>6}  {}", mix.seed, mix.about());
        }
        return Ok(());
    }
    if !wsgi_trace_test_support::gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    let place = Place::new()?;
    let twins = mirror::twins();
    if options.has_mirror() {
        reflect(&place, &twins)?;
    }
    let last = run_all(&place, &mixes, options.is_one())?;
    if let (true, Some(record)) = (options.is_one(), &last) {
        return conclude_one(&place, record);
    }
    conclude(&place, (mixes.as_slice(), twins.as_slice()), &options)
}

/// Watches every healthy twin that has no answer yet.
fn reflect(place: &Place, twins: &[mirror::Twin]) -> anyhow::Result<()> {
    let known = place.reflections(twins);
    let is_known = |twin: &mirror::Twin| known.get(&twin.name).is_some_and(|one| one.failed.is_none());
    for (index, twin) in twins.iter().enumerate().filter(|(_, twin)| !is_known(twin)) {
        let mut one = twin.reflect(&place.machine, &place.directory.join("reports"));
        one.build.clone_from(&place.build);
        record::append(&place.mirror(), &one)?;
        let said = match &one.failed {
            Some(why) => format!("FAILED: {why}"),
            None if one.advised.is_empty() && one.watches.len() > 1 => {
                format!("nothing advised in the last of {} watches", one.watches.len())
            }
            None if one.advised.is_empty() => "nothing advised".to_owned(),
            None => format!("ADVISED ON: {}", one.advised.join(", ")),
        };
        eprintln!("[mixes] twin {}/{} {}: {said}", index + 1, twins.len(), twin.name);
    }
    Ok(())
}

/// Runs every mix that has not been judged yet; one alone always. The last record.
fn run_all(place: &Place, mixes: &[Mix], is_one: bool) -> anyhow::Result<Option<Record>> {
    let known = place.records(mixes);
    let is_known = |mix: &&Mix| known.get(&mix.seed).is_some_and(|one| one.verdict != Verdict::NotJudged);
    let left: Vec<&Mix> = mixes.iter().filter(|mix| is_one || !is_known(mix)).collect();
    if left.len() < mixes.len() {
        eprintln!("[mixes] {} of {} have been run before", mixes.len() - left.len(), mixes.len());
    }
    let (mut seconds, mut last) = (0.0, None);
    for (done, mix) in (1_usize..).zip(&left) {
        let mut record = run::run(mix, &place.machine, (&place.directory.join("reports"), is_one));
        record.build.clone_from(&place.build);
        record::append(&place.runs(), &record)?;
        seconds += record.seconds;
        let minutes = seconds / done as f64 * (left.len() - done) as f64 / 60.0;
        eprintln!("[mixes] {done}/{} {}; {minutes:.0} minutes left", left.len(), said::line(&record));
        last = Some(record);
    }
    Ok(last)
}

/// Shows the figures of one run, whatever others showed.
fn conclude_one(place: &Place, record: &Record) -> anyhow::Result<()> {
    println!("{}", said::figures(record));
    eprintln!("[mixes] reports: {}/reports/{}-*.json", place.directory.display(), record.seed);
    match record.verdict {
        Verdict::Harmed => bail!("advice harmed"),
        Verdict::NotJudged => bail!("not judged: {}", record.why.join(", ")),
        _ => Ok(()),
    }
}

/// Writes the table of what was asked for, and fails where something is a bug.
fn conclude(
    place: &Place,
    (mixes, twins): (&[Mix], &[mirror::Twin]),
    options: &Options,
) -> anyhow::Result<()> {
    let (records, reflections) = (place.records(mixes), place.reflections(twins));
    let records: Vec<&Record> = records.values().collect();
    let reflections: Vec<&Reflection> = reflections.values().collect();
    let section = table::section(&records, &reflections);
    println!("{section}");
    std::fs::create_dir_all(&place.directory)?;
    std::fs::write(place.directory.join("mixes.md"), &section)?;
    if options.is_all() {
        generated::write(
            &wsgi_trace_test_support::root().join("lab/results/advice.md"),
            table::MARK,
            &section,
        )?;
        eprintln!("[mixes] written: lab/results/advice.md");
    }
    let harmed = records.iter().filter(|record| record.verdict == Verdict::Harmed).count();
    let advised = reflections.iter().filter(|one| !one.advised.is_empty()).count();
    let unseen = reflections.iter().filter(|one| one.failed.is_some()).count();
    if harmed + advised + unseen > 0 {
        bail!("advice harmed in {harmed} mixes; {advised} healthy twins were advised on, {unseen} not seen");
    }
    let unjudged = records.iter().filter(|record| record.verdict == Verdict::NotJudged).count();
    if unjudged * FEW > records.len() {
        bail!("{unjudged} of {} mixes are not judged: the next run tries them again", records.len());
    }
    Ok(())
}
