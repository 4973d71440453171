//! A mix of loads from a seed: what clients ask for, how many they are, and when they ask again.
//!
//! In: a source of random numbers, the kind of application. Out: [`Load`], options of `clients/load.py`: at
//! most 16 clients in at most three programs. These programs end themselves after a minute or 100,000
//! requests, whatever happens.

use std::time::Duration;

use fastrand::Rng;

/// Clients of one mix at most.
pub(crate) const MOST_CLIENTS: u32 = 16;
/// Slow clients of one program at most.
const MOST_SLOW: u32 = 4;
/// How long clients are at work before the watch begins.
pub(crate) const RUN_UP: Duration = Duration::from_millis(500);

/// What kind of application is asked: each has its own way to compute for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// `demo_app`.
    Wsgi,
    /// `asgi_app`.
    Asgi,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Short,
    /// Milliseconds.
    Computing(u32),
    /// Milliseconds.
    Sleeping(u32),
    BackEnd,
}

/// Options of one program of clients, and what they do in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) about: String,
    pub(crate) options: Vec<String>,
    /// Some of its requests take long, and compute meanwhile.
    computes: bool,
    /// Some of its requests take long, and wait meanwhile.
    waits: bool,
}

/// All that clients do at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) parts: Vec<Part>,
}

impl Load {
    /// The next one. A server that closes after each response is asked on a connection each, and so is what
    /// advice makes of it. Else the same clients would ask in another way afterwards.
    pub(crate) fn new(rng: &mut Rng, application: Application, closes: bool) -> Self {
        let mut left = rng.u32(1..=MOST_CLIENTS);
        let mut parts = Vec::new();
        while left > 0 && parts.len() < 3 {
            let is_last = parts.len() == 2 || rng.u32(0..3) == 0;
            let clients = if is_last { left } else { rng.u32(1..=left) };
            // Ordinary clients first: slow ones alone keep no server busy.
            let part = match rng.u32(0..8) {
                0..=2 if !parts.is_empty() => uploads(rng, clients.min(MOST_SLOW)),
                3 | 4 if !parts.is_empty() => readers(rng, clients.min(MOST_SLOW)),
                _ => ordinary(rng, clients, (application, closes)),
            };
            parts.push(part);
            left -= clients;
        }
        for part in &mut parts {
            // With a seed the choices of routes are the same each time that this load is run.
            part.options.push(format!("--seed={}", rng.u32(1..100_000)));
        }
        Self { parts }
    }

    /// In words.
    pub(crate) fn about(&self) -> String {
        self.parts.iter().map(|part| part.about.as_str()).collect::<Vec<_>>().join("; ")
    }
}

impl Request {
    fn new(rng: &mut Rng) -> Self {
        match rng.u32(0..4) {
            0 => Self::Short,
            1 => Self::Computing(pick(rng, 5, &[10, 20, 50])),
            2 => Self::Sleeping(pick(rng, 10, &[30, 100, 300])),
            _ => Self::BackEnd,
        }
    }

    fn route(self, application: Application) -> String {
        match (self, application) {
            (Self::Short, _) => "/fast".to_owned(),
            (Self::BackEnd, _) => "/backend".to_owned(),
            (Self::Sleeping(ms), _) => format!("/sleep/{ms}"),
            (Self::Computing(ms), Application::Wsgi) => format!("/truth/cpu/{ms}"),
            (Self::Computing(ms), Application::Asgi) => format!("/compute/{ms}"),
        }
    }

    fn about(self) -> String {
        match self {
            Self::Short => "short".to_owned(),
            Self::BackEnd => "20 ms of back end".to_owned(),
            Self::Sleeping(ms) => format!("{ms} ms of sleep"),
            Self::Computing(ms) => format!("{ms} ms of computing"),
        }
    }
}

/// Clients that send and read as fast as they can.
fn ordinary(rng: &mut Rng, clients: u32, (application, closes): (Application, bool)) -> Part {
    let first = Request::new(rng);
    let mut requests = vec![(first, 1)];
    if rng.bool() {
        let second = Request::new(rng);
        if second != first {
            requests = vec![(first, rng.u32(1..=5)), (second, 1)];
        }
    }
    let routes: Vec<String> =
        requests.iter().map(|(request, weight)| format!("{}={weight}", request.route(application))).collect();
    let asked: Vec<String> = requests
        .iter()
        .map(|(request, weight)| match weight {
            1 => request.about(),
            _ => format!("{weight} × {}", request.about()),
        })
        .collect();
    let mut options = vec![format!("--clients={clients}"), format!("--routes={}", routes.join(","))];
    // Chosen in any case: what comes after is the same for each server.
    let chosen = pick(rng, 1, &[1, 5, 50]);
    let kept = if closes { 1 } else { chosen };
    options.push(format!("--keep-alive={kept}"));
    let pace = match rng.u32(0..4) {
        0 => {
            let every = pick(rng, 20, &[50, 100, 250]);
            options.push(format!("--every-ms={every}"));
            format!("one each {every} ms")
        }
        1 => {
            let think = pick(rng, 5, &[20, 100, 250]);
            options.push(format!("--think-ms={think}"));
            format!("{think} ms between two")
        }
        _ => "one after the other".to_owned(),
    };
    let connections = if kept == 1 { "a connection each".to_owned() } else { format!("{kept} a connection") };
    let is = |of: fn(&Request) -> bool| requests.iter().any(|(request, _)| of(request));
    Part {
        about: format!("{} for {}, {pace}, {connections}", count(clients), asked.join(" and ")),
        options,
        computes: is(|request| matches!(request, Request::Computing(_))),
        waits: is(|request| matches!(request, Request::Sleeping(_) | Request::BackEnd)),
    }
}

/// Clients that send a body within a second, whatever its size.
fn uploads(rng: &mut Rng, clients: u32) -> Part {
    let bytes = pick(rng, 1000, &[100_000, 1_000_000]);
    let options = vec![
        "--clients=0".to_owned(),
        format!("--slow-bodies={clients}"),
        format!("--slow-body-bytes={bytes}"),
        format!("--slow-body-rate={bytes}"),
    ];
    let about = format!("{} sending {bytes} bytes in 1 s", count(clients));
    Part { about, options, computes: false, waits: true }
}

/// Clients that read a large response slowly.
fn readers(rng: &mut Rng, clients: u32) -> Part {
    let seconds = pick(rng, 1, &[2]);
    let options = vec![
        "--clients=0".to_owned(),
        format!("--slow-readers={clients}"),
        format!("--slow-read-seconds={seconds}"),
    ];
    let about = format!("{} reading 16 MB in {seconds} s", count(clients));
    Part { about, options, computes: false, waits: true }
}

fn count(clients: u32) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

/// One of these, each as likely.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, first: T, others: &[T]) -> T {
    let chosen = rng.usize(0..=others.len());
    chosen.checked_sub(1).and_then(|index| others.get(index).copied()).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn loads() -> impl Iterator<Item = Load> {
        (1..=300).map(|seed| Load::new(&mut Rng::with_seed(seed), Application::Wsgi, false))
    }

    #[test]
    fn a_server_that_closes_after_each_response_has_the_same_load_on_a_connection_each() {
        for (seed, other) in (1..=300).zip(loads()) {
            let load = Load::new(&mut Rng::with_seed(seed), Application::Wsgi, true);
            let all = |of: &Load| of.parts.iter().flat_map(|part| part.options.clone()).collect::<Vec<_>>();
            let differs = |(one, other): &(String, String)| one != other;
            for (one, other) in all(&load).into_iter().zip(all(&other)).filter(differs) {
                assert_eq!(one, "--keep-alive=1", "{other}");
            }
            for number in [5, 50] {
                assert!(!load.about().contains(&format!("{number} a connection")), "{}", load.about());
            }
            assert_eq!(all(&load).len(), all(&other).len());
        }
    }

    #[test]
    fn a_load_is_bounded_in_clients_and_programs() {
        for load in loads() {
            let names = ["--clients=", "--slow-bodies=", "--slow-readers="];
            let options = load.parts.iter().flat_map(|part| &part.options);
            let numbers =
                options.filter_map(|option| names.iter().find_map(|name| option.strip_prefix(name)));
            let clients: u32 = numbers.map(|number| number.parse::<u32>().unwrap()).sum();
            assert!((1..=MOST_CLIENTS).contains(&clients), "{load:?}");
            assert!((1..=3).contains(&load.parts.len()), "{load:?}");
        }
    }

    #[test]
    fn seeds_have_clients_of_every_kind() {
        let all: Vec<String> = loads().flat_map(|load| load.parts).flat_map(|part| part.options).collect();
        let names: BTreeSet<&str> = all.iter().filter_map(|option| option.split('=').next()).collect();
        for name in ["--every-ms", "--think-ms", "--slow-bodies", "--slow-readers", "--keep-alive", "--seed"]
        {
            assert!(names.contains(name), "{name}");
        }
        for route in ["/fast", "/truth/cpu/", "/sleep/", "/backend"] {
            assert!(all.iter().any(|option| option.starts_with("--routes=") && option.contains(route)));
        }
    }

    #[test]
    fn an_asgi_application_is_asked_for_what_it_has() {
        for seed in 1..=100 {
            let load = Load::new(&mut Rng::with_seed(seed), Application::Asgi, false);
            let options = load.parts.iter().flat_map(|part| &part.options);
            assert!(options.into_iter().all(|option| !option.contains("/truth")), "{load:?}");
        }
    }

    #[test]
    fn each_of_a_list_is_picked() {
        let mut rng = Rng::with_seed(1);
        let picked: BTreeSet<u32> = (0..100).map(|_| pick(&mut rng, 1, &[2, 3])).collect();
        assert_eq!(picked, BTreeSet::from([1, 2, 3]));
    }
}
