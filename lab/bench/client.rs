//! Load: closed loop at saturation (wrk), and open loop, where every request has its time and is late if it
//! must wait.
//!
//! In: a server's address and path. Out: requests a second, latencies. Everything is bounded in time and
//! connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::account::Window;
use crate::machine::{bounded, output};
use crate::rounds::Sample;
use crate::server::{Server, on_cpus};
use crate::statistics::quantile;

/// Connections of either loop.
const CONNECTIONS: usize = 16;

/// What wrk reports, with the CPU time of a request.
pub(crate) fn closed_loop(
    server: &Server,
    path: &str,
    cpus: &[usize],
    seconds: f64,
) -> anyhow::Result<Sample> {
    let mut command = bounded("wrk", Duration::from_secs(20));
    // wrk takes whole seconds only.
    let whole = format!("{}s", seconds.ceil().max(1.0));
    command
        .args(["-t1", &format!("-c{CONNECTIONS}"), "-d", &whole, "--latency"])
        .arg(format!("http://{}{path}", server.address()));
    on_cpus(&mut command, cpus);
    let window = Window::start(&server.pids());
    let text = output(&mut command, "wrk")?;
    let used = window.finish();
    let field = |name: &str| -> Option<&str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
        line.split_whitespace().last()
    };
    let rate: f64 = field("Requests/sec:").and_then(|word| word.parse().ok()).context("wrk gives no rate")?;
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .context("wrk gives no count")?;
    if requests == 0.0 {
        bail!("no request was answered");
    }
    let mut sample = Sample::from([
        ("throughput", rate),
        ("server_cpu_ns", used.server_ns / requests),
        ("machine_cpu_ns", used.machine_ns / requests),
        ("server_share", used.server_ns / used.wall_ns),
    ]);
    let mean = |on_client: bool| {
        let of_cpus = used.idle_ratios.iter().enumerate().filter(|(cpu, _)| cpus.contains(cpu) == on_client);
        let of_cpus: Vec<f64> = of_cpus.map(|(_, ratio)| *ratio).collect();
        of_cpus.iter().sum::<f64>() / of_cpus.len() as f64
    };
    for (name, ratio) in [("client_idle", mean(true)), ("server_idle", mean(false))] {
        if ratio.is_finite() {
            sample.insert(name, ratio);
        }
    }
    for (name, label) in [("p50_ns", "50%"), ("p99_ns", "99%")] {
        if let Some(ns) = field(label).and_then(duration_ns) {
            sample.insert(name, ns);
        }
    }
    Ok(sample)
}

/// `1.23ms` as wrk writes it.
fn duration_ns(word: &str) -> Option<f64> {
    let unit = word.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = word.split_at(unit);
    let factor = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Requests that nobody counts, as fast as answers come: what a rest has let go cold is warm again.
pub(crate) fn run_up(server: &Server, path: &str, cpus: &[usize], seconds: f64) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    each_connection(|_| {
        stay_on(cpus);
        let mut client = Client::new(&server.address(), path);
        while Instant::now() < end {
            client.ask()?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Requests at fixed times, `rate` a second over all connections, for `seconds`. A latency counts from the
/// time at which its request was due, or from its sending where only our own timer was late.
pub(crate) fn open_loop(
    server: &Server,
    path: &str,
    cpus: &[usize],
    rate: f64,
    seconds: f64,
) -> anyhow::Result<Sample> {
    let address = server.address();
    let window = Window::start(&server.pids());
    let start = Instant::now() + Duration::from_millis(5);
    let end = start + Duration::from_secs_f64(seconds);
    let every = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
    let latencies = each_connection(|index| {
        stay_on(cpus);
        go_before_others();
        let due = start + every.mul_f64(index as f64 / CONNECTIONS as f64);
        one_connection(&address, path, due, every, end)
    })?;
    let used = window.finish();
    let mut latencies_ns: Vec<f64> = latencies.into_iter().flatten().collect();
    latencies_ns.sort_by(f64::total_cmp);
    let requests = latencies_ns.len() as f64;
    let Some(p50) = quantile(&latencies_ns, 0.5) else { bail!("no request was answered") };
    let mut sample = Sample::from([
        ("p50_ns", p50),
        ("server_cpu_ns", used.server_ns / requests),
        ("machine_cpu_ns", used.machine_ns / requests),
    ]);
    sample.latencies_ns = latencies_ns;
    Ok(sample)
}

/// Does the same on every connection at once, each on a thread of its own.
fn each_connection<T: Send>(one: impl Fn(usize) -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    let one = &one;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|index| scope.spawn(move || one(index))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client thread failed"))))
            .collect()
    })
}

/// The calling thread runs on these CPUs only.
fn stay_on(cpus: &[usize]) {
    // SAFETY: the set is a local value; the call concerns this thread alone.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus {
            libc::CPU_SET(*cpu, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// The calling thread's sleeps end when they should, and on its CPU it goes before everything else, as a
/// client on a machine of its own would. What it waits for is the server, not the tool that is measured
/// beside it. Without the right to that it takes its turn. No real-time class: from one, Linux 6.12 and later
/// take 50 ms of each second for whoever waits there (`fair_server`), which is the tool. Its p99 was that of
/// this pause.
fn go_before_others() {
    // SAFETY: both calls take no pointers and concern this thread alone.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
}

fn one_connection(
    address: &str,
    path: &str,
    mut due: Instant,
    every: Duration,
    end: Instant,
) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::new(address, path);
    let mut latencies = Vec::new();
    while due < end {
        let now = Instant::now();
        let from = if now < due {
            std::thread::sleep(due - now);
            Instant::now()
        } else {
            due
        };
        client.ask()?;
        latencies.push(from.elapsed().as_nanos() as f64);
        due += every;
    }
    Ok(latencies)
}

/// One connection, made again where the server closes it.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    request: Vec<u8>,
    stream: Option<TcpStream>,
    /// Answers that came over it.
    answers: u64,
    /// The server has not been seen to close a connection after its first answer without saying so, as uWSGI
    /// does.
    keeps: bool,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: &str, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes();
        let address = address.to_owned();
        Self { address, request, stream: None, answers: 0, keeps: true, buffer: Vec::new() }
    }

    /// One request and its whole answer.
    pub(crate) fn ask(&mut self) -> anyhow::Result<()> {
        let reused = self.stream.is_some();
        match self.attempt() {
            // The server closed the kept connection just then.
            Err(_) if reused => {
                self.keeps = self.keeps && self.answers > 1;
                self.stream = None;
                self.attempt()
            }
            outcome => outcome,
        }
    }

    fn attempt(&mut self) -> anyhow::Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                self.answers = 0;
                stream
            }
        };
        stream.write_all(&self.request)?;
        self.buffer.clear();
        let mut chunk = [0; 4096];
        loop {
            let got = stream.read(&mut chunk)?;
            if got == 0 {
                bail!("the connection ended within an answer");
            }
            self.buffer.extend_from_slice(chunk.get(..got).unwrap_or_default());
            let Some(head_bytes) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(self.buffer.get(..head_bytes).unwrap_or_default());
            let field = |name: &str| {
                head.lines().filter_map(|line| line.split_once(": ")).find_map(|(field, value)| {
                    field.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
                })
            };
            let body_bytes: usize = field("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if self.buffer.len() >= head_bytes + 4 + body_bytes {
                if !head.starts_with("HTTP/1.1 200") && !head.starts_with("HTTP/1.0 200") {
                    bail!("answered {:?}", head.lines().next());
                }
                let closes = field("connection").is_some_and(|value| value == "close");
                self.answers += 1;
                if self.keeps && !closes && head.starts_with("HTTP/1.1") {
                    self.stream = Some(stream);
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_read_in_every_unit() {
        assert_eq!(duration_ns("512.00us"), Some(512_000.0));
        assert_eq!(duration_ns("1.50ms"), Some(1_500_000.0));
        assert_eq!(duration_ns("2.00s"), Some(2e9));
        assert_eq!(duration_ns("none"), None);
    }
}
