//! Part `growth`: what a request costs where a server has more threads or more connections.
//!
//! In: gunicorn gthread with so many threads, and so many kept connections beside those that ask. Out: CPU
//! time per request of the reader and of the programs, in both modes; what each is to that of the smallest.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aya::sys::{Stats, enable_stats};

use super::event::run_time_ns;
use crate::account::process_ns;
use crate::client;
use crate::figure::{PartResult, Unit};
use crate::part::Bench;
use crate::server::{Kind, Server};
use crate::statistics::Interval;
use crate::subject::{LIGHT, OURS, Subject, Target};

const THREADS: &str = "Growth with the number of threads, hello world";
const CONNECTIONS: &str = "Growth with the number of kept connections, hello world";

/// Rounds of a row, a second each.
const ROUNDS: usize = 6;

pub(crate) fn run(bench: &Bench) -> anyhow::Result<PartResult> {
    let mut result = bench.begin("growth");
    bench.measure(&[(THREADS, threads), (CONNECTIONS, connections)], &mut result);
    bench.finish(result)
}

fn threads(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    rows(bench, result, THREADS, "threads", [(1, 0, 1), (10, 0, 10), (100, 0, 100)])
}

fn connections(bench: &Bench, result: &mut PartResult) -> anyhow::Result<()> {
    rows(bench, result, CONNECTIONS, "connections", [(8, 1, 1), (8, 100, 100), (8, 10_000, 10_000)])
}

/// A row for each of `sizes`: threads, idle connections, and which of these is the size.
fn rows(
    bench: &Bench,
    result: &mut PartResult,
    table: &str,
    what: &str,
    sizes: [(usize, usize, usize); 3],
) -> anyhow::Result<()> {
    for name in [OURS, LIGHT] {
        let subject = Subject::named(name).context("there is no such subject")?;
        let mut smallest = None;
        for (threads, idle, size) in sizes {
            let row = format!("{name}, {size} {what}");
            let costs = match cost(bench, subject, threads, idle) {
                Ok(costs) => costs,
                Err(error) => {
                    result.miss(table, &row, &format!("{error:#}"));
                    continue;
                }
            };
            let smallest: &[Vec<f64>; 2] = smallest.get_or_insert_with(|| costs.clone());
            for ((column, costs), base) in
                ["reader per request", "programs per request"].into_iter().zip(&costs).zip(smallest)
            {
                result.add((table, &row, column), Unit::Nanoseconds, Interval::of(costs), None);
                let ratios: Vec<f64> = costs.iter().zip(base).map(|(cost, base)| cost / base).collect();
                let column = format!("{column}, to the smallest");
                result.add((table, &row, &column), Unit::Ratio, Interval::of_ratios(&ratios), None);
            }
        }
    }
    Ok(())
}

/// Nanoseconds per request, round by round: of the reader, of the programs.
fn cost(bench: &Bench, subject: &Subject, threads: usize, idle: usize) -> anyhow::Result<[Vec<f64>; 2]> {
    let more = [
        ["--threads".to_owned(), threads.to_string()],
        ["--worker-connections".to_owned(), (idle + 1_000).to_string()],
        ["--keep-alive".to_owned(), "600".to_owned()],
    ];
    allow_files(idle + 1_000)?;
    let server = Server::start_with(Kind::GunicornGthread, &[0], 1, &more.concat())?;
    let _idle = keep(&server, idle)?;
    let target = Target { root: server.root(), worker: server.worker(), cpus: vec![1] };
    let attached = subject.start(&target)?;
    let pid = attached.pid().context("nothing is attached")?;
    // From its fourth second on the reader follows waits to their ends, too.
    client::closed_loop(&server, "/", &[1], 5.0)?;
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..bench.rounds(ROUNDS) {
        let statistics = enable_stats(Stats::RunTime)?;
        let before = [process_ns(pid), run_time_ns(pid)];
        let load = client::closed_loop(&server, "/", &[1], 1.0)?;
        let after = [process_ns(pid), run_time_ns(pid)];
        drop(statistics);
        let requests = load.get("throughput").context("no throughput")?;
        for ((costs, after), before) in costs.iter_mut().zip(after).zip(before) {
            costs.push(after.saturating_sub(before) as f64 / requests);
        }
    }
    attached.finish()?;
    Ok(costs)
}

/// Opens so many connections, each of which has had one answer and stays.
fn keep(server: &Server, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut kept = Vec::with_capacity(count);
    let mut buffer = [0; 4096];
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        if stream.read(&mut buffer)? == 0 {
            bail!("the server kept {} connections, and not {count}", kept.len());
        }
        kept.push(stream);
    }
    Ok(kept)
}

/// This process, and the servers that it starts, may open so many files.
fn allow_files(count: usize) -> anyhow::Result<()> {
    let count = libc::rlim_t::try_from(count)?;
    // SAFETY: the pointers are to a local value of the right type.
    let is_allowed = unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_cur.max(count);
            limit.rlim_max = limit.rlim_max.max(count);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !is_allowed {
        bail!("{count} open files are not allowed here");
    }
    Ok(())
}
