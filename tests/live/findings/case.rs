//! One case: a server and clients under which a finding is present, and their healthy twin, where it is
//! absent.
//!
//! In: two sides (how the server is started, what its clients do) and a witness. Out: an error that names the
//! side with all that its report says; what was measured on standard error.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use wsgi_trace_test_support::cgroup::CpuQuota;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::dropping::{self, Clients};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::{Load, SentRequest};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};
use wsgi_trace_test_support::witness::Witness;

/// Bound in time of clients that go on until they are told to end.
const SECONDS: &str = "--seconds=3";
/// Requests that are served before anything becomes of the workers.
pub(crate) const SERVED_FIRST: usize = 100;
/// How long it may take until others have taken their place.
const WORKERS_LIMIT: Duration = Duration::from_secs(30);

/// What clients do while the server is watched.
pub(crate) enum Work {
    /// Programs of `clients/load.py`, all at once, for three seconds unless their options say otherwise.
    Load(&'static [&'static [&'static str]]),
    /// A plan of `clients/dropping.py`.
    Plan(&'static [&'static str]),
}

/// A server, and what its clients do.
pub(crate) struct Side {
    /// How it is started.
    pub(crate) server: Box<dyn Recipe>,
    /// What its clients do.
    pub(crate) work: Work,
    /// CPU quota of the server, in cores.
    pub(crate) quota_cores: Option<f64>,
    /// What becomes of its workers meanwhile.
    pub(crate) workers: Workers,
}

/// What becomes of a server's workers while its clients are at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// The workers stay.
    Stay,
    /// The server is told to reload (SIGHUP).
    Reloaded,
    /// One of them is told by this signal to end after its request, and the server begins another.
    OneEnds(libc::c_int),
}

/// A finding on one kind of server.
pub(crate) struct Case {
    /// Its id.
    pub(crate) finding: &'static str,
    /// Where it is present.
    pub(crate) sick: Side,
    /// Where it is absent.
    pub(crate) well: Side,
    /// Compares its figures, where it is present, with what others say.
    pub(crate) witness: fn(&Seen) -> anyhow::Result<()>,
}

/// One program of clients.
pub(crate) fn load(server: impl Recipe + 'static, work: &'static [&'static [&'static str]]) -> Side {
    Side { server: Box::new(server), work: Work::Load(work), quota_cores: None, workers: Workers::Stay }
}

/// Clients that may not be served.
pub(crate) fn plan(server: impl Recipe + 'static, work: &'static [&'static str]) -> Side {
    Side { server: Box::new(server), work: Work::Plan(work), quota_cores: None, workers: Workers::Stay }
}

/// What all saw of one side.
pub(crate) struct Seen {
    finding: &'static str,
    /// The report.
    pub(crate) traced: Traced,
    /// What ordinary clients sent and got.
    pub(crate) sent: Vec<SentRequest>,
    /// Connections that they made.
    pub(crate) connections: u64,
    /// What clients of a plan saw.
    pub(crate) plan: Option<dropping::Seen>,
    /// Connections that found a full queue, as the kernel counts them for this network.
    pub(crate) overflows: u64,
    /// How long its quota stopped the server, as the kernel counts it, in seconds.
    pub(crate) throttled: Option<f64>,
    /// The workers that it had before its clients came.
    pub(crate) workers_before: Vec<u32>,
    /// The server, ended.
    pub(crate) server: Server,
}

impl Case {
    /// Shows both sides.
    pub(crate) fn prove(self) -> anyhow::Result<()> {
        require_bpf!(Ok(()));
        let _alone = exclusive()?;
        let Self { finding, sick, well, witness } = self;
        let seen = sick.watch(finding)?;
        ensure!(seen.answer()? == "present", "{finding} is not present\n{}", seen.all()?);
        witness(&seen).with_context(|| seen.all().unwrap_or_default())?;
        let seen = well.watch(finding)?;
        // Of whom nobody is served nothing is found either.
        let is_served = seen.plan.is_some() || seen.sent.iter().any(|sent| sent.status.is_some());
        ensure!(is_served, "the healthy twin answered nobody\n{}", seen.all()?);
        let is_accused = seen.answer()? == "present";
        let is_measured = seen.answer()? != "undecided";
        ensure!(!is_accused && is_measured, "{finding} is not absent on the healthy twin\n{}", seen.all()?);
        Ok(())
    }
}

/// Clients at work.
enum Working {
    Load(Vec<Load>),
    Plan(Clients),
}

impl Side {
    fn watch(&self, finding: &'static str) -> anyhow::Result<Seen> {
        let mut server = Server::start(self.server.as_ref())?;
        let quota = self.quota_cores.map(|cores| CpuQuota::around(&server, cores)).transpose()?;
        let before = overflows()?;
        let trace = Trace::start(server.pid())?;
        let workers_before = server.worker_pids();
        let (mut sent, mut connections, mut plan) = (Vec::new(), 0, None);
        match self.start(&server)? {
            Working::Load(loads) => {
                self.replace_workers(&server, &workers_before)?;
                for load in loads {
                    let of_load = load.finish()?;
                    connections += of_load.counts.connections;
                    sent.extend(of_load.requests);
                }
            }
            Working::Plan(clients) => plan = Some(clients.finish()?),
        }
        let traced = trace.end()?;
        let overflows = overflows()?.saturating_sub(before);
        let throttled = quota.as_ref().map(CpuQuota::throttled_seconds).transpose()?;
        server.stop();
        let seen =
            Seen { finding, traced, sent, connections, plan, overflows, throttled, workers_before, server };
        eprintln!("{}: {}", self.server.about(), seen.told()?);
        Ok(seen)
    }

    /// Lets happen to the workers what is to happen, once they have served some requests, and waits until it
    /// has.
    fn replace_workers(&self, server: &Server, before: &[u32]) -> anyhow::Result<()> {
        if self.workers == Workers::Stay {
            return Ok(());
        }
        until("the first requests", WORKERS_LIMIT, || {
            Ok((server.witness()?.len() >= SERVED_FIRST).then_some(()))
        })?;
        let mut ends = before;
        if let Workers::OneEnds(signal) = self.workers {
            ends = before.get(..1).context("there is no worker")?;
            let pid = libc::pid_t::try_from(*ends.first().context("there is no worker")?)?;
            // SAFETY: `kill` takes no pointers. The number is that of a child of a server that this test has
            // started.
            ensure!(unsafe { libc::kill(pid, signal) } == 0, "worker {pid} hears nothing");
        } else {
            server.signal(libc::SIGHUP);
        }
        until("other workers", WORKERS_LIMIT, || {
            let now = server.worker_pids();
            let are_gone = !now.iter().any(|pid| ends.contains(pid));
            Ok((are_gone && now.len() == before.len()).then_some(()))
        })
    }

    fn start(&self, server: &Server) -> anyhow::Result<Working> {
        match self.work {
            Work::Plan(plan) => Ok(Working::Plan(Clients::start(server.address(), plan)?)),
            Work::Load(programs) => {
                let mut loads = Vec::new();
                for (number, options) in programs.iter().enumerate() {
                    // Numbers of requests are unique among all programs.
                    let first = format!("--first-id={}", (number + 1) * 1_000_000 + 1);
                    loads.push(Load::start(server.address(), &[&[SECONDS, &first], *options].concat())?);
                }
                Ok(Working::Load(loads))
            }
        }
    }
}

impl Seen {
    fn it(&self) -> anyhow::Result<&Value> {
        self.traced.finding(self.finding)
    }

    fn answer(&self) -> anyhow::Result<&str> {
        self.it()?.get("answer").and_then(Value::as_str).context("no answer")
    }

    /// Answer, sentence and figures of the finding.
    fn told(&self) -> anyhow::Result<String> {
        let it = self.it()?;
        let mut text = format!("{} {}: {}", self.finding, self.answer()?, it["sentence"]);
        for one in it["evidence"].as_array().into_iter().flatten() {
            write!(text, "\n  {} {} (limit {})", one["name"], one["value"], one["threshold"])?;
        }
        write!(text, "\n  cost {}", it["cost_request_seconds"])?;
        if let Ok(waited) = self.waited_by_clocks() {
            write!(text, "; from the client's clock to the application's {waited:.3} s")?;
        }
        Ok(text)
    }

    /// What the finding says, and every sentence of the report.
    fn all(&self) -> anyhow::Result<String> {
        let mut text = self.told()?;
        for one in self.traced.value("/findings")?.as_array().into_iter().flatten() {
            write!(text, "\n{} {}: {} {}", one["id"], one["answer"], one["sentence"], one["reason"])?;
        }
        write!(text, "\n{} requests, {}", self.sent.len(), self.server.last_words())?;
        Ok(text)
    }

    /// A figure of the finding.
    pub(crate) fn figure(&self, name: &str) -> anyhow::Result<f64> {
        let evidence = self.it()?.get("evidence").and_then(Value::as_array).context("no evidence")?;
        let row = evidence.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["value"].as_f64()).with_context(|| format!("no figure {name}"))
    }

    /// What the finding says.
    pub(crate) fn sentence(&self) -> anyhow::Result<&str> {
        self.it()?.get("sentence").and_then(Value::as_str).context("no sentence")
    }

    /// What the finding costs, in request-seconds.
    pub(crate) fn cost(&self) -> anyhow::Result<f64> {
        self.it()?.get("cost_request_seconds").and_then(Value::as_f64).context("no cost")
    }

    /// What the application's clock says of each request that was sent to a `/truth` route.
    pub(crate) fn witnessed(&self) -> anyhow::Result<Vec<(&SentRequest, Witness)>> {
        let by_id: BTreeMap<u64, &SentRequest> = self.sent.iter().map(|sent| (sent.id, sent)).collect();
        let lines = self.server.witness()?.into_iter();
        let pairs: Vec<_> =
            lines.filter_map(|line| Some((*by_id.get(&line.id.parse().ok()?)?, line))).collect();
        ensure!(!pairs.is_empty(), "the application witnessed nothing");
        Ok(pairs)
    }

    /// From the moment each request was sent, by the client's clock, to the moment the application began, by
    /// its own, in seconds.
    pub(crate) fn waited_by_clocks(&self) -> anyhow::Result<f64> {
        let pairs = self.witnessed()?;
        let waited = pairs.iter().map(|(sent, line)| line.start_ns.saturating_sub(sent.sent_ns));
        Ok(waited.sum::<u64>() as f64 / 1e9)
    }

    /// How many clients of the plan saw this.
    pub(crate) fn saw(&self, what: &str) -> anyhow::Result<f64> {
        Ok(self.plan.as_ref().context("there was no plan")?.count(what) as f64)
    }

    /// How often the server's logs have these words.
    pub(crate) fn logged(&self, words: &str) -> anyhow::Result<f64> {
        let logs = ["error.log", "output.log"].map(|name| std::fs::read_to_string(self.server.file(name)));
        let times =
            logs.into_iter().map(|log| Ok(log?.matches(words).count())).sum::<anyhow::Result<usize>>()?;
        Ok(times as f64)
    }
}

/// Fails where a figure is not between two others.
pub(crate) fn between(what: &str, figure: f64, (least, most): (f64, f64)) -> anyhow::Result<()> {
    eprintln!("  {what}: {figure:.3}, by the witness {least:.3} to {most:.3}");
    ensure!((least..=most).contains(&figure), "{what}: {figure} is not between {least} and {most}");
    Ok(())
}

/// Fails where a figure is not what the witness says.
pub(crate) fn same(what: &str, figure: f64, witnessed: f64) -> anyhow::Result<()> {
    between(what, figure, (witnessed, witnessed))
}

/// `ListenOverflows` of this network.
fn overflows() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat")?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(values)) = (rows.next(), rows.next()) else { bail!("no TcpExt") };
    let place = names.split_whitespace().position(|name| name == "ListenOverflows");
    let value = place.and_then(|place| values.split_whitespace().nth(place)).context("no ListenOverflows")?;
    Ok(value.parse()?)
}
