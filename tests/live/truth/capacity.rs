//! Connections that wait in a full worker while another is free, against the application's own clock.
//!
//! In: a server of two workers, of which one is stopped while the other accepts more than it can serve. Out:
//! verdicts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace::source::live::clock::monotonic_ns;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::raw::{RawClient, is_inside, resting, until_accepted, until_inside};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::gevent::{GunicornGevent, WitnessedGevent};
use wsgi_trace_test_support::server::{Line, Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced};

/// System calls by their numbers: a read of a socket, a sleep, a wait in epoll.
const RECVFROM: u32 = 45;
const CLOCK_NANOSLEEP: u32 = 230;
const EPOLL_WAIT: u32 = 232;
/// How far the profiler's clock reading may lie from what it stands for.
const SLACK_NS: u64 = 50_000;
/// For how long a connection waits at least, beside what the machine needs.
const HELD: Duration = Duration::from_millis(60);

/// A worker that cannot accept until it may again.
struct Stopped(u32);

impl Stopped {
    fn stop(pid: u32) -> anyhow::Result<Self> {
        let stopped = Self(pid);
        stopped.send(libc::SIGSTOP);
        let stat = format!("/proc/{pid}/stat");
        until("a stopped worker", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(&stat)?;
            Ok(text.rsplit(')').next().filter(|rest| rest.trim_start().starts_with('T')).map(drop))
        })?;
        Ok(stopped)
    }

    fn send(&self, signal: i32) {
        let Ok(pid) = libc::pid_t::try_from(self.0) else { return };
        // SAFETY: `kill` takes no pointers; the worker is our server's child and lives.
        unsafe { libc::kill(pid, signal) };
    }

    /// Lets it continue, and waits until it waits for connections again.
    fn release(self) -> anyhow::Result<()> {
        let pid = self.0;
        drop(self);
        until("a free worker", Duration::from_secs(10), || Ok(is_inside(&[pid], EPOLL_WAIT).then_some(())))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.send(libc::SIGCONT);
    }
}

/// The wait that one connection must have had, by the clocks of the client and the application.
struct Wait {
    least_ns: u64,
    most_ns: u64,
}

impl Wait {
    /// Fails where the connection's wait is not reported so; it is the only one.
    fn is_the_only_one(&self, traced: &Traced, about: &str) -> anyhow::Result<()> {
        let number = |key: &str| traced.number(&format!("/listeners/0/beside_free/{key}"));
        let beside = traced.value("/listeners/0/beside_free")?;
        ensure!(number("waits/count")? == 1 && number("undecided")? == 0, "{beside}");
        self.holds(number("waits/sum_ns")?, SLACK_NS, about)
    }

    /// Fails where the longest wait is not this one. The loop may have been kept from a CPU while it served
    /// another connection.
    fn is_the_longest(&self, traced: &Traced, about: &str) -> anyhow::Result<()> {
        let longest_ns = traced.number("/listeners/0/beside_free/waits/max_ns")?;
        // A histogram's step is 1 %.
        self.holds(longest_ns, SLACK_NS + longest_ns / 100, about)
    }

    fn holds(&self, waited_ns: u64, slack_ns: u64, about: &str) -> anyhow::Result<()> {
        let Self { least_ns, most_ns } = *self;
        eprintln!("{about}: {waited_ns} ns beside a free worker, by the clocks {least_ns} to {most_ns}");
        ensure!(least_ns >= HELD.as_nanos() as u64, "nothing was held: {least_ns} ns");
        ensure!(
            (least_ns.saturating_sub(slack_ns)..=most_ns + slack_ns).contains(&waited_ns),
            "{waited_ns} ns is not between {least_ns} and {most_ns}"
        );
        Ok(())
    }
}

fn line_of<'a>(log: &'a [Line], path: &str) -> anyhow::Result<&'a Line> {
    log.iter().find(|line| line.path == path).with_context(|| format!("{path} is not in the log"))
}

/// One thread serves an upload that does not go on; a second connection is accepted by the same worker.
fn behind_an_upload(version: Version) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let recipe = Settings::gthread(version, 2, 1).witnessed();
    let server = Server::start(&recipe)?;
    let pids = server.worker_pids();
    let [full, free] = *pids.as_slice() else { anyhow::bail!("{pids:?} are not two workers") };
    resting(&pids)?;
    let trace = Trace::start(server.pid())?;
    let stopped = Stopped::stop(free)?;
    let mut upload = RawClient::connect(server.address())?;
    upload
        .send("POST /upload/1 HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab")?;
    until_inside(&[full], RECVFROM)?;
    let descriptors = std::fs::read_dir(format!("/proc/{full}/fd"))?.count();
    let before_ns = monotonic_ns();
    let mut second = RawClient::connect(server.address())?;
    second.get("/fast/2")?;
    until_accepted(&[full], descriptors)?;
    let accepted_ns = monotonic_ns();
    stopped.release()?;
    std::thread::sleep(HELD);
    let released_ns = monotonic_ns();
    upload.send("cd")?;
    ensure!(upload.status()? == Some(200) && second.status()? == Some(200));
    drop((upload, second));
    let log = server.log(2)?;
    let traced = trace.end()?;
    let called_ns = line_of(&log, "/fast/2")?.start_ns.context("the witness has no start")?;
    let wait = Wait {
        least_ns: released_ns.saturating_sub(accepted_ns),
        most_ns: called_ns.saturating_sub(before_ns),
    };
    wait.is_the_only_one(&traced, &recipe.about())
}

#[test]
fn connection_behind_a_full_gthread_worker_waits_beside_a_free_one_as_long_as_the_clocks_say()
-> anyhow::Result<()> {
    behind_an_upload(Version::V27)
}

#[test]
#[ignore = "make live: the same for another release"]
fn connection_behind_a_full_gthread_worker_of_23_waits_beside_a_free_one() -> anyhow::Result<()> {
    behind_an_upload(Version::V23)
}

#[test]
#[ignore = "make live: two seconds"]
fn connection_behind_a_blocked_event_loop_waits_beside_a_free_one_as_long_as_the_clocks_say()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let recipe = WitnessedGevent(GunicornGevent { workers: 2 });
    let server = Server::start(&recipe)?;
    let pids = server.worker_pids();
    let [full, free] = *pids.as_slice() else { anyhow::bail!("{pids:?} are not two workers") };
    resting(&pids)?;
    let trace = Trace::start(server.pid())?;
    let stopped = Stopped::stop(free)?;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let descriptors = std::fs::read_dir(format!("/proc/{full}/fd"))?.count();
        clients.push(RawClient::connect(server.address())?);
        until_accepted(&[full], descriptors)?;
    }
    stopped.release()?;
    let [blocking, second] = clients.as_mut_slice() else { anyhow::bail!("not two clients") };
    blocking.get("/block/1500/1")?;
    until_inside(&[full], CLOCK_NANOSLEEP)?;
    let before_ns = monotonic_ns();
    second.get("/fast/2")?;
    let sent_ns = monotonic_ns();
    ensure!(blocking.status()? == Some(200) && second.status()? == Some(200));
    drop(clients);
    let log = server.log(2)?;
    let traced = trace.end()?;
    let ended_ns = line_of(&log, "/block/1500/1")?.end_ns.context("the witness has no end")?;
    let called_ns = line_of(&log, "/fast/2")?.start_ns.context("the witness has no start")?;
    let wait =
        Wait { least_ns: ended_ns.saturating_sub(sent_ns), most_ns: called_ns.saturating_sub(before_ns) };
    wait.is_the_longest(&traced, &recipe.about())
}
