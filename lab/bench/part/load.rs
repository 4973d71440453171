//! Parts `load` (at saturation) and `half-busy`: throughput, latency and CPU time of servers, with every
//! subject attached in turn.
//!
//! In: servers, wrk, our own open-loop client. Out: ratios to the same server with nothing attached, in the
//! same round.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::client;
use crate::figure::{Aim, PartResult, Unit};
use crate::part::Bench;
use crate::rounds::{Contender, Sample, Samples, interleave};
use crate::server::{Kind, Server, calibrate};
use crate::statistics::Interval;
use crate::subject::{
    ALONE, BESIDE_CLIENT, BESIDE_SERVER, EMPTY, FEW_ROUNDS, Group, LIGHT, NOT_INSTALLABLE, OURS, Subject,
    Target, choose,
};

/// What `/work` should take.
const WORK_NS: u64 = 5_000_000;
/// Share of the throughput that such an application should keep.
const KEPT_AT_WORK: f64 = 0.99;
/// At half of saturation the 99th percentile should be no longer than so many times that with nothing
/// attached.
const OPEN_P99: f64 = 1.1;
/// The rounds of all servers with such an application: those of one alone are too few to tell a hundredth.
const WORK_TITLE: &str = "All servers together, 5 ms application, closed loop at saturation";

/// The tool has the kernel's statistics on for a part of its second second: a sample begins after that, also
/// where nothing is attached.
const SETTLED: Duration = Duration::from_millis(1300);

/// Load before each sample that does not count: what the rest has let go cold is warm again.
const RUN_UP_SECONDS: f64 = 0.25;

/// The client's way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    /// As fast as answers come.
    Closed,
    /// At half of what the closed loop reached.
    Open,
}

/// Shares of the throughput that should be kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    full: f64,
    light: f64,
}

/// One table.
struct Setting {
    kind: Kind,
    path: &'static str,
    server_cpus: &'static [usize],
    client_cpus: &'static [usize],
    client: Loop,
    groups: &'static [Group],
    /// Share of the throughput that should be kept: under a full trace, and in light mode.
    kept: Option<Kept>,
    /// What is added should be little beside what empty programs add.
    little_added: bool,
    rounds: usize,
    /// Length of one sample.
    sample_seconds: f64,
    /// Time that its rounds may take.
    seconds: u64,
}

const LIGHTLY: &[Group] = &[Group::Alone, Group::Ours, Group::Light];
/// Where it matters on which core the tool runs.
const PLACED: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Placed];
const TOOLS: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Tools];
/// Where threads share an interpreter, the way of looking at its lock may matter.
const THREADS: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Gil];
/// Where the lock changes hands at nearly every call, it does.
const CONVOY: &[Group] = &[Group::Alone, Group::Ours, Group::Light, Group::Gil, Group::Tools];
const ALL: &[Group] =
    &[Group::Alone, Group::Ours, Group::Light, Group::Gil, Group::Tracepoints, Group::Tools];

/// Hello world, closed loop, server and client on a core each.
const fn hello(kind: Kind, groups: &'static [Group]) -> Setting {
    Setting {
        kind,
        path: HELLO,
        server_cpus: &[0],
        client_cpus: &[1],
        client: Loop::Closed,
        groups,
        kept: None,
        little_added: false,
        rounds: 9,
        sample_seconds: 1.0,
        seconds: 100,
    }
}

/// A setting as [`hello`] at saturation, where what is added shows most: aims hang on it.
const fn saturated(kind: Kind, groups: &'static [Group], kept: Kept) -> Setting {
    Setting { kept: Some(kept), little_added: true, rounds: 14, seconds: 150, ..hello(kind, groups) }
}

/// The application of 5 ms. A second has so few of its requests that one more or less is seen.
const fn work(kind: Kind, groups: &'static [Group]) -> Setting {
    Setting {
        path: WORK,
        kept: Some(Kept { full: KEPT_AT_WORK, light: KEPT_AT_WORK }),
        rounds: 10,
        sample_seconds: 2.0,
        seconds: 120,
        ..hello(kind, groups)
    }
}

/// At half of saturation. Latencies of all rounds are taken together.
const fn open(setting: Setting) -> Setting {
    Setting { client: Loop::Open, groups: LIGHTLY, kept: None, ..setting }
}

/// The application of 5 ms at half of saturation.
const fn open_work(kind: Kind) -> Setting {
    Setting { rounds: 6, sample_seconds: 1.5, seconds: 60, ..open(work(kind, LIGHTLY)) }
}

/// Hello world at half of saturation. Its p99 hangs on a few moments of a second: of ten rounds the brackets
/// decided nothing.
const fn open_hello(kind: Kind) -> Setting {
    Setting { rounds: 30, seconds: 255, ..open(hello(kind, LIGHTLY)) }
}

const HELLO: &str = "/";
const WORK: &str = "/work";

/// At saturation; the tables that aims hang on first.
const SATURATED: &[Setting] = &[
    Setting { seconds: 320, ..saturated(Kind::UwsgiKept, PLACED, Kept { full: 0.88, light: 0.91 }) },
    Setting { seconds: 320, ..saturated(Kind::Uwsgi, PLACED, Kept { full: 0.94, light: 0.98 }) },
    Setting { seconds: 260, ..saturated(Kind::GunicornGthread, ALL, Kept { full: 0.955, light: 0.97 }) },
    saturated(Kind::GunicornSync, LIGHTLY, Kept { full: 0.95, light: 0.94 }),
    Setting {
        server_cpus: &[0, 1],
        client_cpus: &[0, 1],
        seconds: 220,
        ..saturated(Kind::GunicornGthread, CONVOY, Kept { full: 0.92, light: 0.92 })
    },
    Setting { seconds: 170, ..work(Kind::GunicornGthread, TOOLS) },
    work(Kind::GunicornSync, LIGHTLY),
    hello(Kind::Waitress, THREADS),
    hello(Kind::ModWsgi, THREADS),
    work(Kind::Uwsgi, LIGHTLY),
    work(Kind::Waitress, LIGHTLY),
    work(Kind::ModWsgi, LIGHTLY),
];

/// At half of saturation.
const HALF_BUSY: &[Setting] = &[
    open_hello(Kind::GunicornGthread),
    open_hello(Kind::GunicornSync),
    open_hello(Kind::Uwsgi),
    open_hello(Kind::Waitress),
    open_hello(Kind::ModWsgi),
    open_work(Kind::GunicornGthread),
    open_work(Kind::GunicornSync),
    open_work(Kind::Uwsgi),
    open_work(Kind::Waitress),
    open_work(Kind::ModWsgi),
];

impl Kept {
    /// Of the row with this name.
    fn of(self, name: &str) -> Option<f64> {
        match name {
            OURS => Some(self.full),
            LIGHT => Some(self.light),
            _ => None,
        }
    }
}

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
    most_rounds: usize,
}

impl<'a> Watched<'a> {
    fn new(setting: &Setting, subject: &'static Subject, server: &'a Server) -> Self {
        // Where no aim is set in terms of empty programs, they stand for the size of the effect.
        let is_floor = subject.name == EMPTY && !setting.little_added;
        let most_rounds = if is_floor { FEW_ROUNDS } else { (&subject).most_rounds() };
        Self { subject, server, name: subject.name, most_rounds }
    }
}

impl Contender for Watched<'_> {
    fn most_rounds(&self) -> usize {
        self.most_rounds
    }
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("load");
    let kept_at_work = measure(bench, SATURATED, &mut result)?;
    if bench.wants(WORK_TITLE) {
        for (name, kept) in [(OURS, kept_at_work.full), (LIGHT, kept_at_work.light)] {
            let (kept, aim) = (Interval::of_ratios(&kept), Some(Aim::at_least(KEPT_AT_WORK)));
            result.add((WORK_TITLE, name, "throughput kept"), Unit::Ratio, kept, aim);
        }
    }
    bench.finish(result)
}

pub(crate) fn run_half_busy(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("half-busy");
    measure(bench, HALF_BUSY, &mut result)?;
    bench.finish(result)
}

/// Measures the tables that are wanted; what all servers with an application of 5 ms kept together.
fn measure(bench: &Bench, settings: &[Setting], result: &mut PartResult) -> anyhow::Result<KeptByRound> {
    let pieces = calibrate(WORK_NS)?;
    let mut kept_at_work = KeptByRound::default();
    for setting in settings.iter().filter(|setting| bench.wants(&setting.title())) {
        let title = setting.title();
        bench.say(&title);
        match table(bench, setting, pieces, result) {
            Ok(kept) if setting.path == WORK => {
                kept_at_work.full.extend(kept.full);
                kept_at_work.light.extend(kept.light);
            }
            Ok(_) => {}
            Err(error) => result.miss(&title, "all", &format!("{error:#}")),
        }
    }
    Ok(kept_at_work)
}

/// Shares of the throughput that a server kept, round by round.
#[derive(Default)]
struct KeptByRound {
    full: Vec<f64>,
    light: Vec<f64>,
}

/// Measures a table; what the server kept under wsgi-trace.
fn table(
    bench: &Bench,
    setting: &Setting,
    pieces: u64,
    result: &mut PartResult,
) -> anyhow::Result<KeptByRound> {
    let title = setting.title();
    let server = Server::start(setting.kind, setting.server_cpus, pieces)?;
    let (here, missing) = choose(setting.groups);
    for (name, reason) in missing {
        result.miss(&title, name, &reason);
    }
    for subject in here.iter().filter(|subject| subject.group != Group::Alone) {
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
        here.into_iter().map(|subject| Watched::new(setting, subject, &server)).collect();

    // Its own telemetry is a part of the server: another one, whose rounds stand between the others'.
    let other = (setting.kind == Kind::ModWsgi && setting.client == Loop::Closed)
        .then(|| Server::start(Kind::ModWsgiTelemetry, setting.server_cpus, pieces));
    match (&other, Subject::named(ALONE)) {
        (Some(Ok(server)), Some(subject)) => {
            client::closed_loop(server, setting.path, setting.client_cpus, 1.0)?;
            let name = "mod_wsgi-telemetry";
            watched.push(Watched { subject, server, name, most_rounds: FEW_ROUNDS });
        }
        (Some(Err(error)), _) => result.miss(&title, "mod_wsgi-telemetry", &format!("{error:#}")),
        _ => {}
    }

    // Everything is warm before the first sample, and half of saturation is known.
    client::closed_loop(&server, setting.path, setting.client_cpus, 1.0)?;
    let warm = client::closed_loop(&server, setting.path, setting.client_cpus, 1.0)?;
    let rate = warm.get("throughput").context("no throughput")? / 2.0;
    let limit = bench.limit(setting.rounds, setting.seconds);
    // With nothing attached, as it was after the sample before.
    let mut alone: Option<(*const Server, Sample)> = None;
    let samples = interleave(
        &watched,
        limit,
        |watched| {
            if setting.client == Loop::Open {
                return sample(setting, watched, rate);
            }
            let nobody = Watched { subject: Subject::named(ALONE).context("no such row")?, ..*watched };
            let before = match alone.take() {
                Some((server, before)) if std::ptr::eq(server, watched.server) => before,
                _ => sample(setting, &nobody, rate)?,
            };
            let taken = sample(setting, watched, rate)?;
            let after = sample(setting, &nobody, rate)?;
            let taken = taken.between(&before, &after);
            alone = Some((watched.server, after));
            Ok(taken)
        },
        |watched, error| result.miss(&title, watched.name, &format!("{error:#}")),
    );
    let index = |name: &str| watched.iter().position(|watched| watched.name == name);
    let Some(base) = index(ALONE) else { anyhow::bail!("nothing to compare with") };
    for (row, watched) in watched.iter().enumerate() {
        figures(setting, result, &samples, (row, watched.name), base, index(EMPTY));
    }
    let kept = |name| index(name).map(|row| samples.ratios_beside(row, "throughput")).unwrap_or_default();
    Ok(KeptByRound { full: kept(OURS), light: kept(LIGHT) })
}

fn sample(setting: &Setting, watched: &Watched<'_>, rate: f64) -> anyhow::Result<Sample> {
    let server = watched.server;
    let cpus = match watched.name {
        BESIDE_CLIENT => setting.client_cpus.to_vec(),
        BESIDE_SERVER => setting.server_cpus.to_vec(),
        // As it is for a user: the scheduler puts it where there is room.
        _ => (0..std::thread::available_parallelism()?.get()).collect(),
    };
    let target = Target { root: server.root(), worker: server.worker(), cpus };
    let begun = Instant::now();
    let attached = watched.subject.start(&target)?;
    Bench::rest(begun);
    if setting.client == Loop::Closed {
        std::thread::sleep(SETTLED);
    }
    let (path, cpus) = (setting.path, setting.client_cpus);
    let sample = match setting.client {
        Loop::Closed => client::run_up(server, path, cpus, RUN_UP_SECONDS)
            .and_then(|()| client::closed_loop(server, path, cpus, setting.sample_seconds)),
        Loop::Open => client::open_loop(server, path, cpus, rate, RUN_UP_SECONDS)
            .and_then(|_| client::open_loop(server, path, cpus, rate, setting.sample_seconds)),
    };
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
    let title = title.as_str();
    let is_open = setting.client == Loop::Open;
    if row == base {
        let cpu = samples.value(row, "server_cpu_ns");
        result.add((title, name, "server CPU per request"), Unit::Nanoseconds, cpu, None);
        let p99 = if is_open { samples.latency(row, 0.99) } else { samples.value(row, "p99_ns") };
        result.add((title, name, "median latency"), Unit::Nanoseconds, samples.value(row, "p50_ns"), None);
        result.add((title, name, "p99"), Unit::Nanoseconds, p99, None);
    }
    for (quantity, column) in [("server_idle", "server's core idle"), ("client_idle", "client's core idle")] {
        result.add((title, name, column), Unit::Ratio, samples.value(row, quantity), None);
    }
    let ratio = |quantity| {
        if is_open { samples.ratio(row, base, quantity) } else { samples.ratio_beside(row, quantity) }
    };
    let added = |quantity| {
        if is_open {
            samples.difference(row, base, quantity)
        } else {
            samples.difference_beside(row, quantity)
        }
    };
    if is_open && row == base {
        return;
    }
    // Of the row with nothing attached this is nothing beside nothing: what the machine adds by itself.
    let name = if row == base { "nothing attached, again" } else { name };
    if !is_open {
        let aim = setting.kept.and_then(|kept| kept.of(name)).map(Aim::at_least);
        result.add((title, name, "throughput kept"), Unit::Ratio, ratio("throughput"), aim);
    }
    result.add((title, name, "CPU per request"), Unit::Ratio, ratio("server_cpu_ns"), None);
    result.add((title, name, "added CPU per request"), Unit::Nanoseconds, added("server_cpu_ns"), None);
    result.add((title, name, "added on the machine"), Unit::Nanoseconds, added("machine_cpu_ns"), None);
    if let Some(floor) = floor.filter(|_| setting.little_added) {
        to_floor(result, samples, (title, name), (row, floor, base));
    }
    result.add((title, name, "median latency"), Unit::Ratio, ratio("p50_ns"), None);
    let (p99, aim) = if is_open {
        let is_ours = [OURS, LIGHT].contains(&name);
        (samples.latency_ratio(row, base, 0.99), is_ours.then_some(Aim::at_most(OPEN_P99)))
    } else {
        (ratio("p99_ns"), None)
    };
    result.add((title, name, "p99"), Unit::Ratio, p99, aim);
}

/// Beside what empty programs take.
fn to_floor(
    result: &mut PartResult,
    samples: &Samples,
    (title, name): (&str, &str),
    (row, floor, base): (usize, usize, usize),
) {
    if name != OURS && name != LIGHT {
        return;
    }
    // Left on for weeks it must cost less than hooking system calls at all. Adding less is taking less in
    // all: that needs no division by what empty programs add, which is little.
    let aim = (name == LIGHT).then_some(Aim::at_most(1.0));
    let ratio = samples.ratio(row, floor, "server_cpu_ns");
    result.add((title, name, "CPU per request, to empty programs"), Unit::Ratio, ratio, aim);
    let column = "added, to empty programs";
    let aim = (name == OURS).then_some(Aim::at_most(1.3));
    match samples.added_ratio(row, floor, base, "server_cpu_ns") {
        Some(added) => result.add((title, name, column), Unit::Ratio, Some(added), aim),
        None => {
            result.miss(title, name, &format!("{column}: what these add cannot be distinguished from noise"))
        }
    }
}
