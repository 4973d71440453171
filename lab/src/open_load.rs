//! Clients that cost little CPU time, as they share the server's cores: requests that come when they are due,
//! whatever the server does, or users who think between an answer and the next request.
//!
//! In: a schedule made from a seed. Out: when each was due, was sent, and was answered. A thread serves one
//! request at a time; there are as many as may be in flight, and how late requests were sent is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// Requests that may be in flight at once.
const CLIENTS: usize = 256;
/// A server that says nothing for this long has failed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Stack of a client's thread.
const STACK_BYTES: usize = 64 * 1024;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    /// Path without its number.
    pub path: &'static str,
    /// How many of all requests there are of it, beside the other kinds.
    pub weight: f64,
    /// How much later than the first half of the request's body its client sends the second. Zero: there is
    /// no body.
    pub body_pause: Duration,
}

impl Kind {
    /// A GET.
    pub const fn get(path: &'static str, weight: f64) -> Self {
        Self { path, weight, body_pause: Duration::ZERO }
    }

    /// A POST from a slow client.
    pub const fn slow_post(path: &'static str, weight: f64, body_pause: Duration) -> Self {
        Self { path, weight, body_pause }
    }

    /// One of these, in proportion to their weights.
    fn drawn(kinds: &'static [Self], random: &mut fastrand::Rng) -> Option<&'static Self> {
        let mut left = random.f64() * kinds.iter().map(|kind| kind.weight).sum::<f64>();
        let chosen = kinds.iter().find(|kind| {
            left -= kind.weight;
            left < 0.0
        });
        chosen.or(kinds.last())
    }
}

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// When, since the start.
    pub after: Duration,
    /// What it asks.
    pub kind: &'static Kind,
}

/// Users, each with a connection of its own that is kept as long as the server keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// How many.
    pub count: usize,
    /// Mean time from an answer to the next request; its lengths are exponential.
    pub think: Duration,
    /// For how long they ask.
    pub length: Duration,
    /// A seed gives the same thoughts each time.
    pub seed: u64,
    /// What they ask.
    pub mix: &'static [Kind],
}

/// What became of one.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// How much later than due it was sent.
    pub late: Duration,
    /// From being due to the end of the response; `None`: there was none.
    pub took: Option<Duration>,
}

/// Poisson arrivals of so many requests a second for so long. The same seed gives the same again.
pub fn poisson(seed: u64, rate_per_s: f64, length: Duration, mix: &'static [Kind]) -> Vec<Due> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut due = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += exponential_s(&mut random, 1.0 / rate_per_s);
        if at_s >= length.as_secs_f64() {
            return due;
        }
        if let Some(kind) = Kind::drawn(mix, &mut random) {
            due.push(Due { after: Duration::from_secs_f64(at_s), kind });
        }
    }
}

fn exponential_s(random: &mut fastrand::Rng, mean_s: f64) -> f64 {
    -(1.0 - random.f64()).ln() * mean_s
}

/// Sends each when it is due, on a connection of its own, until all are answered or `stop` is set.
///
/// # Errors
///
/// Where no client can be started.
pub fn send(address: &str, schedule: &[Due], stop: &AtomicBool) -> anyhow::Result<Vec<Answer>> {
    let (start, next) = (Instant::now(), AtomicUsize::new(0));
    let client = || {
        let mut answers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(due) = schedule.get(number) else { break };
            std::thread::sleep(due.after.saturating_sub(start.elapsed()));
            let late = start.elapsed().saturating_sub(due.after);
            let is_answered =
                Connection::open(address).and_then(|it| it.ask(due.kind, number, false)).is_ok();
            answers
                .push(Answer { late, took: is_answered.then(|| start.elapsed().saturating_sub(due.after)) });
        }
        answers
    };
    on_threads(CLIENTS, |_| client())
}

/// Users ask until their time is over or `stop` is set. A request is due when its user has thought.
///
/// # Errors
///
/// Where no client can be started.
pub fn send_as_users(address: &str, users: &Users, stop: &AtomicBool) -> anyhow::Result<Vec<Answer>> {
    let start = Instant::now();
    on_threads(users.count, |user| {
        let mut random = fastrand::Rng::with_seed(users.seed.wrapping_mul(1000).wrapping_add(user as u64));
        let (mut answers, mut kept) = (Vec::new(), None);
        loop {
            std::thread::sleep(Duration::from_secs_f64(exponential_s(
                &mut random,
                users.think.as_secs_f64(),
            )));
            let kind = Kind::drawn(users.mix, &mut random);
            let is_over = start.elapsed() >= users.length || stop.load(Ordering::Relaxed);
            let Some(kind) = kind.filter(|_| !is_over) else { return answers };
            let due = Instant::now();
            let number = answers.len();
            let connection = kept.take().map_or_else(|| Connection::open(address), Ok);
            let answered = connection.and_then(|connection: Connection| connection.ask(kind, number, true));
            let took = answered.is_ok().then(|| due.elapsed());
            answers.push(Answer { late: Duration::ZERO, took });
            kept = answered.ok().flatten();
        }
    })
}

/// What these clients, each on a thread of its own, got.
fn on_threads(count: usize, client: impl Fn(usize) -> Vec<Answer> + Sync) -> anyhow::Result<Vec<Answer>> {
    let client = &client;
    std::thread::scope(|scope| {
        let started: Result<Vec<_>, _> = (0..count)
            .map(|number| {
                std::thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || client(number))
            })
            .collect();
        let mut answers = Vec::new();
        for client in started.context("a client cannot be started")? {
            match client.join() {
                Ok(of_client) => answers.extend(of_client),
                Err(_) => bail!("a client failed"),
            }
        }
        Ok(answers)
    })
}

/// Bytes of each half of a slow client's body.
const HALF_BODY: [u8; 500] = [b'x'; 500];

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> anyhow::Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_nodelay(true)?;
        Ok(Self(BufReader::new(connection)))
    }

    /// Asks and reads the answer. Gives the connection back where both sides keep it.
    fn ask(mut self, kind: &Kind, number: usize, keeps: bool) -> anyhow::Result<Option<Self>> {
        let path = kind.path;
        let connection = if keeps { "keep-alive" } else { "close" };
        let rest = format!("{path}/{number} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n");
        let stream = self.0.get_mut();
        if kind.body_pause.is_zero() {
            stream.write_all(format!("GET {rest}\r\n").as_bytes())?;
        } else {
            let length = 2 * HALF_BODY.len();
            let head = format!("POST {rest}Content-Length: {length}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &HALF_BODY].concat())?;
            std::thread::sleep(kind.body_pause);
            stream.write_all(&HALF_BODY)?;
        }
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200"), "no answer: {line:?}");
        let (mut length, mut is_kept) = (None, keeps);
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "the head ends early");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse()?),
                "connection" => is_kept &= !value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = Vec::new();
        match length {
            Some(length) if is_kept => {
                body.resize(length, 0);
                self.0.read_exact(&mut body)?;
                return Ok(Some(self));
            }
            // To the end: the answer is whole when the server has closed.
            _ => self.0.read_to_end(&mut body)?,
        };
        ensure!(length.is_none_or(|length| length == body.len()), "the body ends early");
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn arrivals_are_those_of_their_rate_and_mix_and_the_same_again() {
        const MIX: &[Kind] = &[Kind::get("/a", 3.0), Kind::get("/b", 1.0)];
        let made = || poisson(7, 100.0, Duration::from_secs(100), MIX);
        let due = made();
        assert_eq!(due, made());
        assert!(due.is_sorted_by_key(|one| one.after));
        // 10,000 with a standard deviation of 100.
        assert!((9_600..10_400).contains(&due.len()), "{}", due.len());
        let of_b = due.iter().filter(|one| one.kind.path == "/b").count() as f64 / due.len() as f64;
        assert!((of_b - 0.25).abs() < 0.02, "{of_b}");
    }

    /// Answers `answers` requests on each connection, the last with `Connection: close`; gives how many
    /// connections it took.
    fn serve(listener: &TcpListener, connections: usize, answers: usize) -> Vec<String> {
        let mut asked = Vec::new();
        for stream in listener.incoming().take(connections).flatten() {
            let mut stream = BufReader::new(stream);
            for number in 1..=answers {
                let (mut head, mut line) = (String::new(), String::new());
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    head.push_str(&line);
                    line.clear();
                }
                let mut body = vec![0; if head.starts_with("POST") { 2 * HALF_BODY.len() } else { 0 }];
                assert!(stream.read_exact(&mut body).is_ok(), "{head}");
                let ending = if number == answers { "Connection: close\r\n" } else { "" };
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{ending}\r\nok");
                assert!(stream.get_mut().write_all(answer.as_bytes()).is_ok());
                asked.push(head.lines().next().unwrap_or_default().to_owned());
            }
        }
        asked
    }

    #[test]
    fn users_keep_their_connection_as_long_as_the_server_does_and_slow_ones_send_all_of_their_body() {
        const MIX: &[Kind] = &[Kind::slow_post("/upload", 1.0, Duration::from_millis(1))];
        let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { panic!("no port") };
        let Ok(address) = listener.local_addr() else { panic!("no address") };
        let stop = AtomicBool::new(false);
        let think = Duration::from_micros(10);
        let users = Users { count: 1, think, length: TIMEOUT, seed: 1, mix: MIX };
        let (asked, answers) = std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let asked = serve(&listener, 2, 3);
                stop.store(true, Ordering::Relaxed);
                // One more may be on its way: it is refused.
                drop(listener);
                asked
            });
            let answers = send_as_users(&address.to_string(), &users, &stop);
            (server.join(), answers)
        });
        let (Ok(asked), Ok(answers)) = (asked, answers) else { panic!("a thread failed") };
        assert_eq!(asked.len(), 6);
        assert_eq!(asked[5], "POST /upload/5 HTTP/1.1", "on its second connection");
        assert_eq!(answers.iter().filter(|answer| answer.took.is_some()).count(), 6);
    }
}
