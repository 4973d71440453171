//! What looks at sleeping threads say, against what the application waited for and who kept it waiting.
//!
//! In: servers whose routes wait for one thing each; processes outside that hold it, stop the server or do
//! not answer. Out: verdicts on the facts of recordings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use profiler_core::fact::asleep::{
    AsleepSeen, ConnectionState, FileSeen, ObjectSeen, OtherProcess, SleepState,
};
use profiler_core::fact::place::{PlaceSeen, Whose};
use profiler_core::fact::{Fact, FactRecord};
use serde_json::{Value, json};
use wsgi_trace_test_support::backend::Backend;
use wsgi_trace_test_support::freezer::Freezer;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::notes::{self, LEAF, Mark, Note, OUTSIDE, Outsider};
use wsgi_trace_test_support::peer::{Peer, Stuck};
use wsgi_trace_test_support::recorded::{facts_of, looks_of, signals_of};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::composed::Composed;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::stalled_disk::StalledDisk;
use wsgi_trace_test_support::trace::Trace;

const SIGSTOP: u32 = 19;
const SIGCONT: u32 = 18;

/// What was seen of a server's threads, and what they noted themselves.
struct Seen {
    looks: Vec<(u64, AsleepSeen)>,
    notes: Vec<Note>,
    /// Where in Python, by number.
    places: BTreeMap<u32, PlaceSeen>,
    /// By route: its requests, by number.
    routes: BTreeMap<String, Vec<u64>>,
    /// Processes outside, in the order in which they were started.
    outside: Vec<u32>,
}

/// Serves these routes, each a leaf, to clients of all of them.
fn see(
    recipe: &dyn Recipe,
    (routes, options): (&[(&str, Value)], &[&str]),
    notes: &Path,
    load: &[&str],
    outside: impl FnOnce(&Server) -> anyhow::Result<Vec<Outsider>>,
) -> anyhow::Result<Seen> {
    let plans: BTreeMap<&str, Value> =
        routes.iter().map(|(name, leaf)| (*name, json!({"hops": [], "leaf": leaf}))).collect();
    let plan = json!({"routes": plans, "base": {"back_end_ms": 0, "cpu_ms": 0}}).to_string();
    let server = Server::start(&Composed { server: recipe, plan, notes: notes.to_owned() })?;
    let trace = Trace::start_with(server.pid(), options)?;
    let outsiders = outside(&server)?;
    let all: Vec<String> = routes.iter().map(|(name, _)| format!("/{name}")).collect();
    let all = format!("--routes={}", all.join(","));
    let sent = Load::run(server.address(), &[&[all.as_str()], load].concat())?;
    let outside = outsiders.iter().map(Outsider::pid).collect();
    drop(outsiders);
    let traced = trace.end()?;
    let mut by_route: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for request in sent.requests {
        let route = request.path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        by_route.entry(route).or_default().push(request.id);
    }
    let looks = looks_of(&traced.recording)?;
    let place = |record: FactRecord| match record.fact {
        Fact::PlaceSeen(place) => Some((place.number, place)),
        _ => None,
    };
    let places = facts_of(&traced.recording)?.into_iter().filter_map(place).collect();
    Ok(Seen { looks, notes: notes::read(notes)?, places, routes: by_route, outside })
}

impl Seen {
    /// Looks at threads while they were at the leaf of this route.
    fn at(&self, route: &str) -> Vec<&AsleepSeen> {
        let ids = self.routes.get(route).map(Vec::as_slice).unwrap_or_default();
        let of_route = |note: &&Note| note.step == LEAF && ids.contains(&note.request);
        let enters = || self.notes.iter().filter(of_route).filter(|note| note.mark == Mark::Enter);
        let end = |begun: &Note| {
            let mut after = self.notes.iter().filter(of_route).filter(|note| note.request == begun.request);
            after.find(|note| note.mark == Mark::Leave).map_or(u64::MAX, |note| note.at_ns)
        };
        let within = |(at_ns, seen): &&(u64, AsleepSeen)| {
            enters().any(|begun| begun.tid == seen.tid && begun.at_ns <= *at_ns && *at_ns < end(begun))
        };
        self.looks.iter().filter(within).map(|(_, seen)| seen).collect()
    }

    /// Some look at the route shows this, and none shows another object.
    fn agrees(&self, route: &str, is_it: &dyn Fn(&ObjectSeen) -> bool) -> anyhow::Result<()> {
        let looks = self.at(route);
        let objects: Vec<&ObjectSeen> = looks.iter().filter_map(|seen| seen.object.as_ref()).collect();
        eprintln!("{route}: {} looks, {} with an object", looks.len(), objects.len());
        ensure!(!objects.is_empty(), "{route}: nothing was seen: {looks:?}");
        let others: Vec<&&ObjectSeen> = objects.iter().filter(|object| !is_it(object)).collect();
        ensure!(others.is_empty(), "{route}: {others:?}");
        Ok(())
    }

    /// The application's own innermost line is one of those that wait, by its source, in every look.
    fn waits_at(&self, route: &str, calls: &[&str]) -> anyhow::Result<()> {
        let looks = self.at(route);
        let of_looks = looks.iter().filter_map(|seen| self.places.get(&seen.place?));
        let mut lines = BTreeMap::new();
        for place in of_looks {
            let own = place.own();
            let frame = own.last().with_context(|| format!("{route}: nothing is its own: {place:?}"))?;
            let source = std::fs::read_to_string(&frame.file).with_context(|| format!("{frame:?}"))?;
            let line = usize::try_from(frame.line)?.checked_sub(1).and_then(|at| source.lines().nth(at));
            let line = line.with_context(|| format!("{frame:?}"))?.trim().to_owned();
            ensure!(calls.iter().any(|call| line.contains(call)), "{route}: {line}: {frame:?}");
            ensure!(place.frames.iter().any(|frame| frame.whose == Whose::Server), "{place:?}");
            *lines.entry(line).or_insert(0) += 1;
        }
        eprintln!("{route}: {} looks, lines {lines:?}", looks.len());
        ensure!(lines.values().sum::<usize>() * 10 >= looks.len() * 9, "{route}: {} looks", looks.len());
        Ok(())
    }

    /// Of the looks at the route one shows this.
    fn once(&self, route: &str, is_it: &dyn Fn(&ObjectSeen) -> bool) -> anyhow::Result<()> {
        let objects: Vec<&ObjectSeen> =
            self.at(route).iter().filter_map(|seen| seen.object.as_ref()).collect();
        ensure!(objects.iter().any(|object| is_it(object)), "{route}: {objects:?}");
        Ok(())
    }
}

/// Whether these are exactly one process.
fn is_one(processes: &[OtherProcess], pid: u32) -> bool {
    matches!(processes, [one] if one.tgid == pid && !one.comm.is_empty() && one.state.is_some())
}

/// Each kind of object on a route of its own.
fn objects_agree(recipe: &dyn Recipe, options: &[&str]) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let directory = tempfile::tempdir_in(wsgi_trace_test_support::root().join("target"))?;
    let notes = notes::directory()?;
    let file = |name: &str| directory.path().join(name).display().to_string();
    let outsider = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Outsider::start(&arguments, notes.path())
    };
    let back_end = Backend::start()?;
    let unix = Backend::start_at(&directory.path().join("unix"))?;
    let routes = [
        ("asks", json!(["back_end", back_end.address, 300])),
        ("unix", json!(["back_end", unix.address, 300])),
        ("locks", json!(["file_lock", file("locked")])),
        ("writes", json!(["sqlite", file("database")])),
        ("fills", json!(["full_pipe", file("pipe"), 2])),
        ("opens", json!(["fifo", file("fifo")])),
        ("breeds", json!(["child", 300])),
        ("chats", json!(["back_end", back_end.address, 200])),
    ];
    // So many requests, however long a busy machine takes for them.
    let load = ["--clients=8", "--seconds=30", "--requests=100"];
    let seen = see(recipe, (&routes, options), notes.path(), &load, |_| {
        Ok(vec![
            outsider(&["lock", &file("locked"), "600", "20"])?,
            outsider(&["database", &file("database"), "900", "20"])?,
            outsider(&["drain", &file("pipe"), "250"])?,
            outsider(&["open", &file("fifo"), "500"])?,
        ])
    })?;
    let [locker, database, reader, _] = *seen.outside.as_slice() else { anyhow::bail!("not all were there") };
    let names = |seen: &FileSeen, name: &str| {
        seen.path.ends_with(&format!("/{name}")) && !seen.mount.is_empty() && !seen.file_system.is_empty()
    };
    let connection = |object: &ObjectSeen, back_end: &Backend| match object {
        // The list of sockets is not taken for each new one.
        ObjectSeen::Tcp { peer, .. } if peer.is_empty() => true,
        ObjectSeen::Tcp { peer, local, state, .. } => {
            *peer == back_end.address && local.starts_with("127.") && *state == ConnectionState::Acknowledged
        }
        _ => false,
    };
    let found = [
        seen.agrees("asks", &|object| connection(object, &back_end)),
        seen.once(
            "asks",
            &|object| matches!(object, ObjectSeen::Tcp { others, .. } if is_one(others, back_end.pid())),
        ),
        seen.once("unix", &|object| {
            let path = directory.path().join("unix");
            matches!(object, ObjectSeen::Unix { path: found, others, .. }
                if found.ends_with("/unix") && path.ends_with("unix") && is_one(others, unix.pid()))
        }),
        seen.agrees("locks", &|object| {
            matches!(object, ObjectSeen::FileLock { file, holders }
                if names(file, "locked") && (is_one(holders, locker) || holders.len() == 1))
        }),
        seen.once(
            "locks",
            &|object| matches!(object, ObjectSeen::FileLock { holders, .. } if is_one(holders, locker)),
        ),
        seen.agrees("writes", &|object| {
            matches!(object, ObjectSeen::FileLock { file, holders }
                if names(file, "database") && holders.len() == 1)
        }),
        seen.once(
            "writes",
            &|object| matches!(object, ObjectSeen::FileLock { holders, .. } if is_one(holders, database)),
        ),
        seen.once("fills", &|object| {
            matches!(object, ObjectSeen::Pipe { path, others, .. }
                if path.ends_with("/pipe") && is_one(others, reader))
        }),
        seen.agrees(
            "opens",
            &|object| matches!(object, ObjectSeen::Pipe { path, .. } if path.ends_with("/fifo")),
        ),
        seen.waits_at("asks", &["recv(", "connect("]),
        seen.waits_at("unix", &["recv(", "connect("]),
        seen.waits_at("locks", &["lock"]),
        seen.waits_at("writes", &["execute"]),
        seen.waits_at("fills", &["write("]),
        seen.waits_at("opens", &["os.open("]),
        seen.waits_at("breeds", &["subprocess"]),
        seen.once("breeds", &|object| matches!(object, ObjectSeen::Child(child) if child.comm == "sleep")),
    ];
    let failed: Vec<String> =
        found.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn a_look_at_gthread_says_what_it_waits_for_and_who_keeps_it_waiting() -> anyhow::Result<()> {
    objects_agree(&Settings::gthread(Version::V27, 1, 12), &[])
}

#[test]
#[ignore = "make live: make test has it with system calls hooked"]
fn a_look_in_light_mode_says_the_same() -> anyhow::Result<()> {
    objects_agree(&Settings::gthread(Version::V27, 1, 12), &["--light"])
}

#[test]
#[ignore = "make live: make test has it on gthread"]
fn a_look_at_waitress_says_what_it_waits_for_and_who_keeps_it_waiting() -> anyhow::Result<()> {
    objects_agree(&Waitress { threads: 12 }, &[])
}

/// Connections that get stuck, each in a state of its own, and a disk that hangs.
#[test]
fn a_look_says_how_a_connection_is_stuck_and_which_file_hangs() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let directory = tempfile::tempdir_in(wsgi_trace_test_support::root().join("target"))?;
    let notes = notes::directory()?;
    let disk = StalledDisk::new(directory.path(), &["touched"])?;
    let [unreached, dead, full] = [Stuck::Unreached, Stuck::Dead, Stuck::Full].map(Peer::start);
    let (unreached, dead, full) = (unreached?, dead?, full?);
    let routes = [
        ("connects", json!(["connect", unreached.address])),
        ("asks", json!(["back_end", dead.address, 300])),
        ("uploads", json!(["upload", full.address])),
        ("touches", json!(["touch", disk.above().join("touched")])),
    ];
    let load = ["--clients=8", "--seconds=4", "--requests=40", "--timeout=2"];
    let recipe = Settings::gthread(Version::V27, 1, 40);
    let seen = see(&recipe, (&routes, &[]), notes.path(), &load, |_| {
        let stall =
            ["stall".to_owned(), disk.above().display().to_string(), "700".to_owned(), "100".to_owned()];
        Ok(vec![Outsider::start(&stall, notes.path())?])
    })?;
    let stands = |object: &ObjectSeen, at: &str, how: ConnectionState| matches!(object, ObjectSeen::Tcp { peer, state, .. } if peer == at && *state == how);
    seen.once("connects", &|object| stands(object, &unreached.address, ConnectionState::Connecting))?;
    seen.once("asks", &|object| stands(object, &dead.address, ConnectionState::Retransmitting))?;
    seen.once("uploads", &|object| stands(object, &full.address, ConnectionState::WindowZero))?;
    seen.once(
        "uploads",
        &|object| matches!(object, ObjectSeen::Tcp { others, .. } if is_one(others, full.pid())),
    )?;
    seen.agrees("touches", &|object| {
        matches!(object, ObjectSeen::File(file) if file.path.ends_with("/above/touched")
            && file.mount.ends_with("/above") && file.file_system == "ext4" && !file.is_deleted)
    })
}

/// All threads are in this state whenever it was seen, and it was seen while somebody outside held them.
fn stands_still(kind: &str, state: SleepState) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let freezer = if kind == "freeze" { Some(Freezer::new()?) } else { None };
    let recipe = Settings::gthread(Version::V27, 1, 4);
    let plan = json!({"routes": {"dozes": {"hops": [], "leaf": ["sleep", 400]}}, "base": {"back_end_ms": 0, "cpu_ms": 0}});
    let server =
        Server::start(&Composed { server: &recipe, plan: plan.to_string(), notes: notes.path().to_owned() })?;
    let worker = *server.worker_pids().first().context("no worker")?;
    let whom = match &freezer {
        Some(group) => {
            group.take(worker)?;
            group.path().display().to_string()
        }
        None => worker.to_string(),
    };
    let trace = Trace::start(server.pid())?;
    let outsider =
        Outsider::start(&[kind.to_owned(), whom, "500".to_owned(), "500".to_owned()], notes.path())?;
    Load::run(server.address(), &["--clients=2", "--seconds=3", "--requests=40", "--routes=/dozes"])?;
    let by = outsider.pid();
    drop(outsider);
    let traced = trace.end()?;
    let noted = notes::read(notes.path())?;
    let outside: Vec<&Note> = noted.iter().filter(|note| note.step == OUTSIDE).collect();
    let held = |at_ns: u64| {
        let mut turns = outside.as_chunks::<2>().0.iter();
        // To tell a process is not at once to stop its threads, nor to let them go on.
        turns.any(|[from, until]| (from.at_ns..until.at_ns + 100_000_000).contains(&at_ns))
    };
    let looks = looks_of(&traced.recording)?;
    let still: Vec<&(u64, AsleepSeen)> = looks.iter().filter(|(_, seen)| seen.stands_still()).collect();
    eprintln!("{kind}: {} of {} looks", still.len(), looks.len());
    ensure!(still.len() >= 6, "{looks:?}");
    for (at_ns, seen) in still {
        ensure!(seen.state == state && seen.tgid == worker && seen.object.is_none(), "{seen:?}");
        ensure!(held(*at_ns), "{at_ns}: {seen:?}");
        let tracer = seen.held_by.as_ref().map(|process| process.tgid);
        ensure!(tracer == (state == SleepState::Traced).then_some(by), "{seen:?}");
    }
    if state == SleepState::Stopped {
        let signals = signals_of(&traced.recording)?;
        for number in [SIGSTOP, SIGCONT] {
            let of_it =
                |signal: &profiler_core::event::Signal| signal.number == number && signal.tgid == worker;
            let sent: Vec<_> = signals.iter().filter(|(_, signal)| of_it(signal)).collect();
            ensure!(sent.len() >= 2, "{number}: {signals:?}");
            ensure!(sent.iter().all(|(_, signal)| signal.sender_tgid == by && !signal.by_kernel), "{sent:?}");
        }
    }
    Ok(())
}

#[test]
fn a_stopped_process_is_seen_to_be_and_who_stopped_it_is_recorded() -> anyhow::Result<()> {
    stands_still("stop", SleepState::Stopped)
}

#[test]
fn a_traced_process_is_seen_to_be_with_who_traces_it() -> anyhow::Result<()> {
    stands_still("trace", SleepState::Traced)
}

#[test]
fn a_frozen_process_is_not_taken_for_one_that_sleeps_in_its_call() -> anyhow::Result<()> {
    stands_still("freeze", SleepState::Frozen)
}

/// Who may not know of other processes is not told of them, and who wants no looks gets none.
#[test]
fn looks_go_as_far_as_they_are_wanted() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let notes = notes::directory()?;
    let back_end = Backend::start()?;
    let routes = [("asks", json!(["back_end", back_end.address, 300]))];
    let load = ["--clients=1", "--seconds=2", "--requests=5"];
    let recipe = Settings::gthread(Version::V27, 1, 4);
    let seen = see(&recipe, (&routes, &["--looks=own"]), notes.path(), &load, |_| Ok(Vec::new()))?;
    seen.agrees("asks", &|object| {
        matches!(object, ObjectSeen::Tcp { others, peer, .. } if others.is_empty() && *peer == back_end.address)
    })?;
    let server = Server::start(&recipe)?;
    let trace = Trace::start_with(server.pid(), &["--looks=off"])?;
    Load::run(server.address(), &["--clients=1", "--requests=5", "--routes=/sleep"])?;
    let traced = trace.end()?;
    let is_look = |fact: &Fact| matches!(fact, Fact::AsleepSeen(_) | Fact::Patrol(_));
    ensure!(!facts_of(&traced.recording)?.iter().any(|record| is_look(&record.fact)), "nobody wanted looks");
    Ok(())
}
