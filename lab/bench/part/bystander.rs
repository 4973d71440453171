//! Part `bystander`: what tracing an idle server costs processes that have nothing to do with it.
//!
//! In: a system-call loop, a scheduler ping-pong, redis. Out: ratios to the same with nothing attached,
//! within a round.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wsgi_trace_test_support::child::{Child, until};

use crate::child::{Event, Worker};
use crate::figure::{Aim, PartResult, Unit};
use crate::machine::{bounded, output, version};
use crate::part::Bench;
use crate::rounds::{Sample, interleave};
use crate::server::{Kind, Server, on_cpus};
use crate::subject::{ALONE, EMPTY, Group, LIGHT, OURS, Target, choose};

const CALLS: &str = "A loop of system calls (getppid)";
const SWITCHES: &str = "A scheduler ping-pong through pipes";
const REDIS: &str = "redis-benchmark, 20 connections, GET";

/// Share of its throughput that a bystander should keep in light mode.
const LIGHT_KEPT: f64 = 0.98;
/// Length of one sample of the loops.
const SAMPLE_MS: u64 = 300;
/// Requests of one sample of redis.
const REDIS_REQUESTS: &str = "60000";

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("bystander");
    bench.say("bystanders of an idle, traced gunicorn");
    let server = Server::start(Kind::GunicornGthread, &[0, 1], 1)?;
    let target = Target { root: server.root(), worker: server.worker(), cpus: vec![1] };
    let mut worker = Worker::start(&[0])?;
    let redis = match Redis::start() {
        Ok(redis) => {
            let words = version(std::path::Path::new("redis-server"), &["--version"]);
            result.versions.extend(words.map(|words| ("redis".to_owned(), words)));
            Some(redis)
        }
        Err(error) => {
            result.miss(REDIS, "all", &format!("{error:#}"));
            None
        }
    };
    let (subjects, missing) = choose(&[Group::Alone, Group::Ours, Group::Light, Group::Tracepoints]);
    for (name, reason) in missing {
        result.miss(CALLS, name, &reason);
    }
    // Everything is warm before the first sample.
    worker.measure(Event::Unobserved, 1, SAMPLE_MS)?;
    let samples = interleave(
        &subjects,
        bench.limit(12, 150),
        |subject| {
            let begun = Instant::now();
            let attached = subject.start(&target)?;
            Bench::rest(begun);
            let mut sample = Sample::default();
            sample.insert("calls", worker.measure(Event::Unobserved, 1, SAMPLE_MS)?);
            sample.insert("switches", worker.measure(Event::Switch, 2, SAMPLE_MS)?);
            if let Some(redis) = &redis {
                sample.insert("redis", redis.requests_per_second()?);
            }
            attached.finish()?;
            Ok(sample)
        },
        |subject, error| result.miss(CALLS, subject.name, &format!("{error:#}")),
    );
    let index = |name: &str| subjects.iter().position(|subject| subject.name == name);
    let Some(base) = index(ALONE) else { bail!("nothing to compare with") };
    for (row, subject) in subjects.iter().enumerate() {
        let name = subject.name;
        for (table, quantity, column) in [(CALLS, "calls", "a call"), (SWITCHES, "switches", "a switch")] {
            if row == base {
                result.add((table, name, column), Unit::Nanoseconds, samples.value(row, quantity), None);
            } else {
                let added = samples.difference(row, base, quantity);
                result.add((table, name, "added"), Unit::Nanoseconds, added, None);
                result.add((table, name, "ratio"), Unit::Ratio, samples.ratio(row, base, quantity), None);
            }
        }
        if row != base {
            let kept = samples.ratio(row, base, "redis");
            let aim = (name == LIGHT).then_some(Aim::at_least(LIGHT_KEPT));
            result.add((REDIS, name, "throughput kept"), Unit::Ratio, kept, aim);
        }
        if let (true, Some(floor)) = (name == OURS, index(EMPTY)) {
            let kept = samples.ratio(row, floor, "redis");
            let aim = Some(Aim::at_least(0.99));
            result.add((REDIS, name, "throughput, to empty programs"), Unit::Ratio, kept, aim);
        }
    }
    bench.finish(result)
}

/// A redis of our own on a free port, without a disk.
struct Redis {
    _child: Child,
    port: String,
}

impl Redis {
    fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                "/tmp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        on_cpus(&mut command, &[0]);
        let child = Child::start(&mut command, "redis-server").context("redis is not installed")?;
        let address = format!("127.0.0.1:{port}");
        until("redis to listen", Duration::from_secs(10), || Ok(TcpStream::connect(&address).ok()))?;
        Ok(Self { _child: child, port })
    }

    fn requests_per_second(&self) -> anyhow::Result<f64> {
        let mut command = bounded("redis-benchmark", Duration::from_secs(30));
        command.args(["-p", &self.port, "-n", REDIS_REQUESTS, "-c", "20", "-t", "get", "--csv"]);
        on_cpus(&mut command, &[1]);
        let text = output(&mut command, "redis-benchmark")?;
        let line =
            text.lines().find(|line| line.starts_with("\"GET\"")).context("redis-benchmark is silent")?;
        let rate = line.split(',').nth(1).context("redis-benchmark gives no rate")?;
        Ok(rate.trim_matches('"').parse()?)
    }
}
