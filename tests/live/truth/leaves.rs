//! What requests waited for in the end, against the clocks of the application that waited.
//!
//! In: servers whose routes wait for one thing each, alone or behind a lock; twins that spend the same time
//! in another way; processes outside that hold, stop or do not read. Out: verdicts. A leaf has the time that
//! the application's notes say, and no route has a leaf that it does not wait for.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, ensure};
use profiler_core::model::chain::LeafKind;
use serde::Deserialize;
use serde_json::{Value, json};
use wsgi_trace_test_support::backend::Backend;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::notes::{self, LEAF, Mark, Note, OUTSIDE, Outsider, REQUEST};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::composed::Composed;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::{Trace, Traced, TracedRequest};

/// By so much a leaf may differ from the application's clock …
const OFF: f64 = 0.02;
/// … and by so much for each request: from the note to the call and back.
const NOTE_NS: u64 = 300_000;
/// Leaves of another kind may have this share of a route's time.
const OTHERS: f64 = 0.02;

/// Of the waits at a lock this share may not be followed: who took it before its turn was not there yet when
/// they began.
const NOT_FOLLOWED: f64 = 0.05;
/// Clients of a route behind a lock.
const AT_ONCE: u32 = 3;

/// A leaf of the report.
#[derive(Debug, Deserialize)]
struct Leaf {
    kind: String,
    port: Option<u16>,
    endpoint: Option<String>,
    hops: Vec<String>,
    held_ns: u64,
}

/// A route, and what it waits for.
struct Route {
    name: &'static str,
    hops: Value,
    leaf: Value,
    kind: LeafKind,
    port: Option<u16>,
    /// It sleeps and tries again: such sleeps are known by their order, from the third on, and if no timer
    /// was late. The others are sleeps on purpose, which is true of them.
    polls: bool,
}

impl Route {
    fn new(name: &'static str, leaf: Value, kind: LeafKind) -> Self {
        Self { name, hops: json!([]), leaf, kind, port: None, polls: false }
    }

    /// At a back end.
    fn asking(name: &'static str, back_end: &Backend, milliseconds: u32) -> anyhow::Result<Self> {
        let port = back_end.address.rsplit_once(':').context("no port")?.1.parse()?;
        let leaf = json!(["back_end", back_end.address, milliseconds]);
        Ok(Self { port: Some(port), ..Self::new(name, leaf, LeafKind::BackEnd) })
    }

    /// Behind a lock that all requests of the route take.
    fn locked(self) -> Self {
        Self { hops: json!([["lock", null]]), ..self }
    }

    /// That sleeps and tries again.
    fn polling(self) -> Self {
        Self { polls: true, ..self }
    }

    /// A leaf that it may have.
    fn may_have(&self, leaf: &Leaf) -> bool {
        leaf.kind == self.kind.name() && leaf.port == self.port
            || self.polls && leaf.kind == LeafKind::Sleep.name()
    }

    fn is_of(&self, path: &str) -> bool {
        path.trim_start_matches('/').split('/').next() == Some(self.name)
    }

    fn is_its(&self, leaf: &Leaf) -> bool {
        leaf.endpoint.as_deref().and_then(|name| name.split(' ').nth(1)).is_some_and(|path| self.is_of(path))
    }
}

/// A server, watched while its clients ask, and all that was noted meanwhile.
struct Watched {
    traced: Traced,
    notes: Vec<Note>,
    leaves: Vec<Leaf>,
}

/// Watches a server of these routes under one program of clients after the other.
fn watch(
    recipe: &dyn Recipe,
    (routes, options): (&[Route], &[&str]),
    (notes, loads): (&Path, &[Vec<String>]),
    outside: impl FnOnce(&Server) -> anyhow::Result<Option<Outsider>>,
) -> anyhow::Result<Watched> {
    let plans: BTreeMap<&str, Value> =
        routes.iter().map(|route| (route.name, json!({"hops": route.hops, "leaf": route.leaf}))).collect();
    let plan = json!({"routes": plans, "base": {"back_end_ms": 0, "cpu_ms": 0}}).to_string();
    let server = Server::start(&Composed { server: recipe, plan, notes: notes.to_owned() })?;
    let trace = Trace::start_with(server.pid(), options)?;
    let outsider = outside(&server)?;
    for load in loads {
        let options: Vec<&str> = load.iter().map(String::as_str).collect();
        Load::run(server.address(), &options)?;
    }
    drop(outsider);
    let traced = trace.end()?;
    let leaves = serde_json::from_value(traced.value("/chains/leaves")?.clone())?;
    Ok(Watched { traced, notes: notes::read(notes)?, leaves })
}

impl Watched {
    fn requests<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a TracedRequest> {
        self.traced.requests.iter().filter(|request| route.is_of(request.path()))
    }

    /// How long each request was between its first step and its last while one of the route was at the leaf,
    /// itself or whom it waited for.
    fn noted_ns(&self, route: &Route) -> anyhow::Result<BTreeMap<u64, u64>> {
        let is_of = |note: &&Note, id: u64| note.request == id && note.step != REQUEST;
        let ids: Vec<u64> = self.requests(route).filter_map(TracedRequest::id).collect();
        let mut leaves = Vec::new();
        let mut lengths = Vec::new();
        for &id in &ids {
            let notes: Vec<&Note> = self.notes.iter().filter(|note| is_of(note, id)).collect();
            let (first, last) = (notes.first().context("not noted")?, notes.last().context("not noted")?);
            lengths.push((id, first.at_ns..last.at_ns));
            let at = |mark| notes.iter().find(|note| note.step == LEAF && note.mark == mark);
            leaves.push(at(Mark::Enter).context("no leaf")?.at_ns..at(Mark::Leave).context("no leaf")?.at_ns);
        }
        let overlap = |one: &Range<u64>, other: &Range<u64>| {
            one.end.min(other.end).saturating_sub(one.start.max(other.start))
        };
        // One at a time is at the leaf: by one client, or under the lock.
        let noted = |length: &Range<u64>| leaves.iter().map(|leaf| overlap(leaf, length)).sum();
        Ok(lengths.iter().map(|(id, length)| (*id, noted(length))).collect())
    }

    /// The route's leaf has the time that the application waited. What its threads ran, in calls too, or were
    /// ready to, meanwhile is none of it: the notes have no clock for that.
    fn agrees(&self, route: &Route) -> anyhow::Result<()> {
        let noted = self.noted_ns(route)?;
        ensure!(noted.len() >= 5, "{}: {} requests", route.name, noted.len());
        let noted_ns: u64 = noted.values().sum();
        let held = |is_one: &dyn Fn(&Leaf) -> bool| -> u64 {
            let own = self.leaves.iter().filter(|leaf| route.is_its(leaf) && is_one(leaf));
            own.map(|leaf| leaf.held_ns).sum()
        };
        let held_ns = held(&|leaf| route.may_have(leaf));
        let named_ns = held(&|leaf| leaf.kind == route.kind.name());
        ensure!(named_ns * 2 >= held_ns, "{}: {named_ns} of {held_ns} ns: {:?}", route.name, self.of(route));
        // What the one at the leaf runs delays those behind it as well.
        let at_once = if route.hops == json!([]) { 1 } else { u64::from(AT_ONCE) };
        let in_calls_ns =
            held(&|leaf| [LeafKind::Reading, LeafKind::Writing].iter().any(|kind| kind.name() == leaf.kind));
        let awake_ns: u64 = self.requests(route).map(awake_ns).sum::<u64>() * at_once + in_calls_ns;
        let slack_ns = share_of(noted_ns, OFF) + NOTE_NS * noted.len() as u64;
        let missing_ns =
            if at_once > 1 { self.not_followed_ns().min(share_of(noted_ns, NOT_FOLLOWED)) } else { 0 };
        let least_ns = noted_ns.saturating_sub(awake_ns + slack_ns + missing_ns);
        eprintln!(
            "{}: {} {:.1} ms of {:.1} noted, {:.1} awake, {:.1} not followed",
            route.name,
            route.kind.name(),
            held_ns as f64 / 1e6,
            noted_ns as f64 / 1e6,
            awake_ns as f64 / 1e6,
            missing_ns as f64 / 1e6
        );
        let why =
            || format!("{}: {held_ns} ns, not {least_ns} to {noted_ns}: {:?}", route.name, self.of(route));
        ensure!((least_ns..=noted_ns + slack_ns).contains(&held_ns), why());
        self.has_no_other(route)
    }

    /// No leaf of the route is of a kind that it does not wait for.
    fn has_no_other(&self, route: &Route) -> anyhow::Result<()> {
        let total_ns: u64 = self.requests(route).map(|request| request.total_ns).sum();
        let mut others: BTreeMap<(&str, Option<u16>), u64> = BTreeMap::new();
        for leaf in self.of(route) {
            let is_work = WORK.iter().any(|kind| kind.name() == leaf.kind);
            if !is_work && !route.may_have(leaf) {
                *others.entry((&leaf.kind, leaf.port)).or_default() += leaf.held_ns;
            }
        }
        let most_ns = share_of(total_ns, OTHERS) + NOTE_NS;
        let lies: Vec<_> = others.into_iter().filter(|(_, held_ns)| *held_ns > most_ns).collect();
        ensure!(lies.is_empty(), "{}: {lies:?} of {total_ns} ns", route.name);
        Ok(())
    }

    /// Waits at locks that were not followed; for whom they worked is not known.
    fn not_followed_ns(&self) -> u64 {
        let is_one = |leaf: &&Leaf| {
            leaf.kind == LeafKind::NotFollowed.name() && leaf.hops.iter().any(|hop| hop == "lock_wait")
        };
        self.leaves.iter().filter(is_one).map(|leaf| leaf.held_ns).sum()
    }

    fn of<'a>(&'a self, route: &'a Route) -> Vec<&'a Leaf> {
        self.leaves.iter().filter(|leaf| route.is_its(leaf)).collect()
    }
}

/// How long a request's thread ran or was ready to.
fn awake_ns(request: &TracedRequest) -> u64 {
    ["cpu", "run_queue", "gil_wait", "unexplained"].map(|phase| request.phase_ns(phase)).iter().sum()
}

fn share_of(whole_ns: u64, share: f64) -> u64 {
    (whole_ns as f64 * share) as u64
}

/// What every request has, and what the machine's other programs take.
const WORK: [LeafKind; 4] = [LeafKind::Computing, LeafKind::CpuTaken, LeafKind::Reading, LeafKind::Writing];

/// Clients for these routes, and how many requests; no more clients than the server has threads.
fn load(routes: &[&str], clients: u32, requests: usize, first: u64) -> Vec<String> {
    let routes: Vec<String> = routes.iter().map(|route| format!("/{route}")).collect();
    vec![
        format!("--clients={clients}"),
        format!("--requests={requests}"),
        "--seconds=20".to_owned(),
        format!("--first-id={first}"),
        format!("--routes={}", routes.join(",")),
    ]
}

/// Each kind of leaf on a route of its own, and the same length of time asleep.
fn leaves_agree(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    // On a disk, as `target` is.
    let directory = tempfile::tempdir_in(wsgi_trace_test_support::root().join("target"))?;
    let notes = notes::directory()?;
    let file = |name: &str| directory.path().join(name).display().to_string();
    let outsider = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Outsider::start(&arguments, notes.path())
    };
    let mut read = std::fs::File::create(file("read"))?;
    read.write_all(&vec![1; 16 * 1024 * 1024])?;
    read.sync_all()?;
    let _outside = [
        outsider(&["lock", &file("locked"), "60", "10"])?,
        outsider(&["database", &file("database"), "60", "40"])?,
        outsider(&["drain", &file("pipe"), "90"])?,
    ];
    let (back_end, other) = (Backend::start()?, Backend::start()?);
    let routes = [
        Route::asking("asks", &back_end, 30)?,
        Route::new("dozes", json!(["sleep", 30]), LeafKind::Sleep),
        Route::new("locks", json!(["file_lock", file("locked")]), LeafKind::FileLock),
        Route::new("writes", json!(["sqlite", file("database")]), LeafKind::FileLock).polling(),
        Route::new("fills", json!(["full_pipe", file("pipe")]), LeafKind::Pipe),
        Route::new("reads", json!(["disk", file("read"), 30]), LeafKind::File),
        Route::new("breeds", json!(["child", 40]), LeafKind::Child),
        Route::asking("queues", &other, 25)?.locked(),
        Route::new("naps", json!(["sleep", 25]), LeafKind::Sleep).locked(),
    ];
    let alone = ["asks", "dozes", "locks", "writes", "fills", "reads", "breeds"];
    let loads =
        [load(&alone, 1, 80, 1), load(&["queues"], AT_ONCE, 24, 1001), load(&["naps"], AT_ONCE, 24, 2001)];
    let watched = watch(recipe, (&routes, options), (notes.path(), &loads), |_| Ok(None))?;
    let failed: Vec<String> = routes
        .iter()
        .filter_map(|route| watched.agrees(route).err())
        .map(|error| error.to_string())
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    let by_lock = |leaf: &&Leaf| leaf.hops.iter().any(|hop| hop == "lock_wait");
    let queued = watched.of(&routes[7]);
    ensure!(queued.iter().any(by_lock), "nobody waited at the lock: {queued:?}");
    Ok(())
}

#[test]
fn leaves_of_gthread_have_the_time_that_the_application_waited() -> anyhow::Result<()> {
    leaves_agree(&Settings::gthread(Version::V27, 1, 4), &[])
}

#[test]
fn light_leaves_of_gthread_have_the_time_that_the_application_waited() -> anyhow::Result<()> {
    leaves_agree(&Settings::gthread(Version::V27, 1, 4), &["--light"])
}

#[test]
#[ignore = "make live: make test has it on gthread"]
fn leaves_of_waitress_have_the_time_that_the_application_waited() -> anyhow::Result<()> {
    leaves_agree(&Waitress { threads: 4 }, &[])
}

/// Who takes a response slowly is waited for as long as the application's response is not over.
#[test]
fn a_slow_client_of_gthread_is_waited_for_until_it_has_its_response() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let routes = [Route::new("download", Value::Null, LeafKind::Client)];
    let options = ["--clients=0", "--slow-readers=1", "--requests=5", "--slow-read-seconds=0.6"];
    let loads = [options.map(str::to_owned).to_vec()];
    let recipe = Settings::gthread(Version::V27, 1, 4);
    let watched = watch(&recipe, (&routes, &[]), (notes.path(), &loads), |_| Ok(None))?;
    watched.agrees(&routes[0])
}

/// Requests wait for a lock that a thread took with it, from when they came to the window's end.
#[test]
fn a_lock_that_is_never_released_holds_requests_to_the_window_s_end() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let routes = [Route::new("sticks", json!(["forgotten", 6]), LeafKind::NotReleased)];
    let options = ["--clients=2", "--requests=8", "--timeout=1", "--routes=/sticks"];
    let loads = [options.map(str::to_owned).to_vec()];
    let recipe = Settings::gthread(Version::V27, 1, 4);
    let watched = watch(&recipe, (&routes, &[]), (notes.path(), &loads), |_| Ok(None))?;
    let end_ns = watched.traced.number("/window/end_ns")?;
    let is_over = |note: &&Note| {
        watched.notes.iter().any(|other| other.request == note.request && other.mark == Mark::Leave)
    };
    let begun = watched.notes.iter().filter(|note| note.step == LEAF && note.mark == Mark::Enter);
    let stuck: Vec<u64> = begun.filter(|note| !is_over(note)).map(|note| end_ns - note.at_ns).collect();
    // The last ones: some may pass before the thread that takes the lock has its turn.
    ensure!((1..=3).contains(&stuck.len()), "{stuck:?}");
    let noted_ns: u64 = stuck.iter().sum();
    let of_it = watched.leaves.iter().filter(|leaf| leaf.kind == LeafKind::NotReleased.name());
    let held_ns: u64 = of_it.map(|leaf| leaf.held_ns).sum();
    eprintln!("not released {:.1} ms of {:.1} noted", held_ns as f64 / 1e6, noted_ns as f64 / 1e6);
    let slack_ns = share_of(noted_ns, OFF) + NOTE_NS * stuck.len() as u64;
    let awake_ns: u64 = watched.requests(&routes[0]).map(awake_ns).sum();
    let least_ns = noted_ns.saturating_sub(slack_ns + awake_ns);
    ensure!(
        (least_ns..=noted_ns + slack_ns).contains(&held_ns),
        "{held_ns} ns, not {noted_ns}: {:?}",
        watched.leaves
    );
    Ok(())
}

/// A stopped process: while it is, all of its requests wait for that, and for nothing else.
fn stops_agree(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let routes = [Route::new("dozes", json!(["sleep", 30]), LeafKind::Sleep)];
    let loads = [vec!["--clients=2".to_owned(), "--seconds=3".to_owned(), "--routes=/dozes".to_owned()]];
    let watched = watch(recipe, (&routes, &[]), (notes.path(), &loads), |server| {
        let workers = server.worker_pids();
        let pids = if workers.is_empty() { vec![server.pid()] } else { workers };
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let arguments = ["stop".to_owned(), pids.join(","), "200".to_owned(), "300".to_owned()];
        Outsider::start(&arguments, notes.path()).map(Some)
    })?;
    let stops: Vec<&Note> = watched.notes.iter().filter(|note| note.step == OUTSIDE).collect();
    let stopped: Vec<(u64, u64)> =
        stops.as_chunks::<2>().0.iter().map(|[begun, ended]| (begun.at_ns, ended.at_ns)).collect();
    ensure!(stopped.len() >= 3, "{stopped:?}");
    let route = &routes[0];
    let of_request = |request: &TracedRequest| {
        let end_ns = request.start_ns + request.total_ns;
        let overlap =
            |(begun, ended): &(u64, u64)| (*ended).min(end_ns).saturating_sub((*begun).max(request.start_ns));
        stopped.iter().map(overlap).sum::<u64>()
    };
    let expected_ns: u64 = watched.requests(route).map(of_request).sum();
    let held_ns: u64 = watched
        .leaves
        .iter()
        .filter(|leaf| leaf.kind == LeafKind::StoodStill.name())
        .map(|leaf| leaf.held_ns)
        .sum();
    eprintln!("stood still {:.1} ms of {:.1} noted", held_ns as f64 / 1e6, expected_ns as f64 / 1e6);
    // A thread that sleeps stops when its sleep ends: up to a whole sleep, each time and for each client.
    let most_ns = expected_ns + expected_ns / 50;
    let least_ns = (expected_ns * 49 / 50).saturating_sub(stopped.len() as u64 * 2 * 35_000_000);
    ensure!((least_ns..=most_ns).contains(&held_ns), "{held_ns} ns, not {least_ns} to {most_ns}");
    Ok(())
}

#[test]
fn a_stopped_gthread_stood_still_for_as_long_as_it_was_stopped() -> anyhow::Result<()> {
    stops_agree(&Settings::gthread(Version::V27, 1, 4))
}

#[test]
#[ignore = "make live: make test has it on gthread"]
fn a_stopped_waitress_stood_still_for_as_long_as_it_was_stopped() -> anyhow::Result<()> {
    stops_agree(&Waitress { threads: 4 })
}
