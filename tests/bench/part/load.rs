//! Part `load`: throughput, latency and CPU time of servers under load, with every subject attached in turn.
//!
//! In: servers, wrk, our own open-loop client. Out: ratios to the same server with nothing attached, in the same round.

use std::time::{Duration, Instant};

use crate::client;
use crate::figure::{Aim, PartResult, Unit};
use crate::part::Bench;
use crate::rounds::{Contender, Sample, Samples, interleave};
use crate::server::{Kind, Server, calibrate};
use crate::subject::{ALONE, EMPTY, Group, LIGHT, NOT_INSTALLABLE, OURS, Subject, Target, choose};

/// What `/work` should take.
const WORK_NS: u64 = 5_000_000;

/// The machine rests so long before each sample. Attaching takes a while in which the server has nothing to do; without the
/// same rest the server alone ran straight on after a sample, and was 4 to 7 % *slower* than with anything attached.
const PAUSE: Duration = Duration::from_millis(400);
/// Load before each sample that does not count: what the rest has let go cold is warm again.
const RUN_UP_SECONDS: f64 = 0.3;

/// The client's way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    /// As fast as answers come.
    Closed,
    /// At half of what the closed loop reached.
    Open,
}

/// One table.
struct Setting {
    kind: Kind,
    path: &'static str,
    server_cpus: &'static [usize],
    client_cpus: &'static [usize],
    client: Loop,
    groups: &'static [Group],
    /// Share of the throughput that should be kept.
    kept: Option<f64>,
    /// More rounds than usual: an aim hangs on it.
    long: bool,
    /// Time that its rounds may take.
    seconds: u64,
}

const BASIC: &[Group] = &[Group::Alone, Group::Ours];
const LIGHTLY: &[Group] = &[Group::Alone, Group::Ours, Group::Light];
const ALL: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Tracepoints, Group::Tools];
const TOOLS: &[Group] = &[Group::Alone, Group::Ours, Group::Tools];
/// Where the interpreter lock changes hands at nearly every call, the way of looking at it matters.
const CONVOY: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Gil, Group::Tools];

const fn setting(kind: Kind, path: &'static str, groups: &'static [Group], kept: Option<f64>) -> Setting {
    Setting {
        kind,
        path,
        server_cpus: &[0],
        client_cpus: &[1],
        client: Loop::Closed,
        groups,
        kept,
        long: false,
        seconds: 30,
    }
}

const HELLO: &str = "/";
const WORK: &str = "/work";

/// All tables, the ones that aims hang on first.
const SETTINGS: &[Setting] = &[
    Setting { long: true, seconds: 240, ..setting(Kind::GunicornGthread, HELLO, ALL, Some(0.955)) },
    Setting { long: true, seconds: 80, ..setting(Kind::GunicornSync, HELLO, LIGHTLY, Some(0.95)) },
    Setting {
        server_cpus: &[0, 1],
        client_cpus: &[0, 1],
        long: true,
        seconds: 180,
        ..setting(Kind::GunicornGthread, HELLO, CONVOY, Some(0.92))
    },
    Setting { seconds: 100, ..setting(Kind::GunicornGthread, WORK, TOOLS, Some(0.99)) },
    setting(Kind::GunicornSync, WORK, BASIC, Some(0.99)),
    setting(Kind::Uwsgi, HELLO, BASIC, None),
    setting(Kind::Waitress, HELLO, BASIC, None),
    setting(Kind::ModWsgi, HELLO, BASIC, None),
    setting(Kind::Uwsgi, WORK, BASIC, Some(0.99)),
    setting(Kind::Waitress, WORK, BASIC, Some(0.99)),
    setting(Kind::ModWsgi, WORK, BASIC, Some(0.99)),
    Setting { client: Loop::Open, ..setting(Kind::GunicornGthread, HELLO, BASIC, None) },
    Setting { client: Loop::Open, ..setting(Kind::GunicornSync, HELLO, BASIC, None) },
    Setting { client: Loop::Open, ..setting(Kind::GunicornGthread, WORK, BASIC, None) },
];

impl Setting {
    fn title(&self) -> String {
        let application = if self.path == WORK { "5 ms application" } else { "hello world" };
        let place = if self.server_cpus.len() > 1 { ", GIL convoy on two cores" } else { "" };
        let client = match self.client {
            Loop::Closed => "closed loop at saturation",
            Loop::Open => "open loop at half of saturation",
        };
        format!("{}, {application}{place}, {client}", self.kind.name())
    }
}

/// A subject with the server that it watches.
struct Watched<'a> {
    subject: &'static Subject,
    server: &'a Server,
    name: &'static str,
}

impl Contender for Watched<'_> {
    fn most_rounds(&self) -> usize {
        self.subject.most_rounds()
    }
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("load");
    let pieces = calibrate(WORK_NS)?;
    for setting in SETTINGS.iter().filter(|setting| bench.wants(&setting.title())) {
        let title = setting.title();
        bench.say(&title);
        if let Err(error) = table(bench, setting, pieces, &mut result) {
            result.miss(&title, "all", &format!("{error:#}"));
        }
    }
    bench.finish(result)
}

fn table(bench: &Bench, setting: &Setting, pieces: u64, result: &mut PartResult) -> anyhow::Result<()> {
    let title = setting.title();
    let server = Server::start(setting.kind, setting.server_cpus, pieces)?;
    let (here, missing) = choose(setting.groups);
    for (name, reason) in missing {
        result.miss(&title, name, &reason);
    }
    for subject in &here {
        if let Ok(Some(version)) = subject.check() {
            result.versions.insert(subject.name.to_owned(), version);
        }
    }
    if setting.groups.contains(&Group::Tools) {
        for (name, reason) in NOT_INSTALLABLE {
            result.miss(&title, name, reason);
        }
    }
    let mut watched: Vec<Watched<'_>> =
        here.into_iter().map(|subject| Watched { subject, server: &server, name: subject.name }).collect();

    // Its own telemetry is a part of the server: another one, whose rounds stand between the others'.
    let other = (setting.kind == Kind::ModWsgi)
        .then(|| Server::start(Kind::ModWsgiTelemetry, setting.server_cpus, pieces));
    match (&other, Subject::named(ALONE)) {
        (Some(Ok(server)), Some(subject)) => {
            client::closed_loop(server, setting.path, setting.client_cpus, 1.0)?;
            watched.push(Watched { subject, server, name: "mod_wsgi-telemetry" });
        }
        (Some(Err(error)), _) => result.miss(&title, "mod_wsgi-telemetry", &format!("{error:#}")),
        _ => {}
    }

    // Everything is warm before the first sample, and half of saturation is known.
    client::closed_loop(&server, setting.path, setting.client_cpus, 1.0)?;
    let warm = client::closed_loop(&server, setting.path, setting.client_cpus, 1.0)?;
    let rate = warm.get("throughput").copied().unwrap_or(100.0) / 2.0;
    let limit = bench.limit(if setting.long { 12 } else { 9 }, setting.seconds);
    let samples = interleave(
        &watched,
        limit,
        |watched| sample(setting, watched, rate),
        |watched, error| result.miss(&title, watched.name, &format!("{error:#}")),
    );
    let index = |name: &str| watched.iter().position(|watched| watched.name == name);
    let Some(base) = index(ALONE) else { anyhow::bail!("nothing to compare with") };
    for (row, watched) in watched.iter().enumerate() {
        figures(setting, result, &samples, (row, watched.name), base, index(EMPTY));
    }
    Ok(())
}

fn sample(setting: &Setting, watched: &Watched<'_>, rate: f64) -> anyhow::Result<Sample> {
    let server = watched.server;
    let target = Target { root: server.root(), worker: server.worker(), cpus: setting.client_cpus.to_vec() };
    let begun = Instant::now();
    let attached = watched.subject.start(&target)?;
    std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    let load = |seconds: f64| match setting.client {
        Loop::Closed => client::closed_loop(server, setting.path, setting.client_cpus, seconds),
        Loop::Open => client::open_loop(server, setting.path, 1, rate, seconds),
    };
    let sample = load(RUN_UP_SECONDS).and_then(|_| load(1.0));
    attached.finish()?;
    sample
}

fn figures(
    setting: &Setting,
    result: &mut PartResult,
    samples: &Samples,
    (row, name): (usize, &str),
    base: usize,
    floor: Option<usize>,
) {
    let title = setting.title();
    if row == base {
        let cpu = samples.values(row, "server_cpu_ns");
        result.add((&title, name, "server CPU per request"), Unit::Nanoseconds, &cpu, None);
        for (column, quantity) in [("median latency", "p50_ns"), ("p99", "p99_ns")] {
            result.add((&title, name, column), Unit::Nanoseconds, &samples.values(row, quantity), None);
        }
        return;
    }
    let mine = name == OURS;
    if setting.client == Loop::Closed {
        let aim = setting.kept.filter(|_| mine).map(Aim::at_least);
        let kept = samples.ratios(row, base, "throughput");
        result.add((&title, name, "throughput kept"), Unit::Ratio, &kept, aim);
    }
    let ratios = samples.ratios(row, base, "server_cpu_ns");
    result.add((&title, name, "CPU per request"), Unit::Ratio, &ratios, None);
    let added = samples.differences(row, base, "server_cpu_ns");
    result.add((&title, name, "added CPU per request"), Unit::Nanoseconds, &added, None);
    let machine = samples.differences(row, base, "machine_cpu_ns");
    result.add((&title, name, "added on the machine"), Unit::Nanoseconds, &machine, None);
    // Left on for weeks it must cost less than hooking system calls at all.
    if let Some(floor) = floor.filter(|_| name == LIGHT) {
        let ratio = samples.added_ratios(row, floor, base, "server_cpu_ns");
        let aim = setting.long.then_some(Aim::at_most(1.0));
        result.add((&title, name, "added, to empty programs"), Unit::Ratio, &ratio, aim);
    }
    if let Some(floor) = floor.filter(|_| mine) {
        let ratio = samples.added_ratios(row, floor, base, "server_cpu_ns");
        let aim = setting.long.then_some(Aim::at_most(1.3));
        result.add((&title, name, "added, to empty programs"), Unit::Ratio, &ratio, aim);
    }
    for (column, quantity) in [("median latency", "p50_ns"), ("p99", "p99_ns")] {
        result.add((&title, name, column), Unit::Ratio, &samples.ratios(row, base, quantity), None);
    }
}
