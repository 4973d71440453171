//! What to change in gunicorn for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: advice. Options are named as on the command line.

use crate::model::Server;
use crate::server::advice::common::{apart, keep_idle_longer, keep_within, raise_cpu_limit};
use crate::server::advice::{
    Advice, Arrangement, Direction, Part, Setting, Sizes, Step, act, lower, raise, say, use_option,
};
use crate::server::setting::major;
use crate::server::site::Site;

/// The kinds of worker that call for different advice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Concurrency {
    /// One request per process.
    Sync,
    /// A pool of threads per process.
    Threads,
    /// An event loop per process.
    Loop,
    /// Not known.
    Unknown,
}

/// The settings that make slots.
struct Slots {
    workers: Setting,
    threads: Setting,
}

pub(super) fn advice(finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
    let concurrency = match server.worker_class.as_str() {
        "sync" => Concurrency::Sync,
        "gthread" => Concurrency::Threads,
        "unknown" => Concurrency::Unknown,
        _ => Concurrency::Loop,
    };
    let slots = Slots {
        workers: option(server, "--workers", "workers").sizing(Sizes::Processes),
        threads: threads(server, concurrency),
    };
    Some(match finding_id {
        // A sync worker closes each connection after its response.
        "keep-alive-race" if concurrency == Concurrency::Sync => return None,
        "keep-alive-race" => keep_idle_longer(&option(server, "--keep-alive", "keepalive")).into(),
        "worker-timeouts" => keep_within(&option(server, "--timeout", "timeout")),
        "idle-connections/acceptor" => idle_at_acceptor(&slots),
        "slow-clients" => slow_clients(concurrency, &slots, site),
        "idle-connections" => idle_connections(concurrency, server, &slots),
        "cpu-bound" => cpu_bound(&slots),
        "cpu-throttled" => Advice::first(raise_cpu_limit()).then(
            lower(&slots.workers)
                .when("If that cannot be")
                .because("fewer processes use up the quota more slowly and stop less often"),
        ),
        "slow-file/heartbeat" => heartbeat(),
        "gil-contention" => gil_contention(concurrency, &slots),
        // gthread's main thread dispatches for all threads of its worker.
        "loop-blocked" | "loop-blocked/computing" if concurrency == Concurrency::Threads => Advice::first(
            raise(&slots.workers)
                .up_to_cores()
                .because("the main thread of each worker dispatches for all of its threads"),
        ),
        "loop-blocked" => loop_blocked(&server.worker_class),
        "loop-blocked/computing" => loop_computing(&server.worker_class, &slots),
        "full-beside-free" => accepts_without_capacity(concurrency, server, &slots, site),
        "herd" => herd(concurrency, server, &slots, site),
        "more-slots" => slots_waiting(concurrency, &slots),
        // A worker with a queue of its own is waited for while others are free.
        "more-slots/one-worker" if splits_queue(server, site) => one_queue(),
        "more-slots/one-worker" => {
            let because = "connections stay with the worker that took them";
            let more = raise(&slots.threads);
            // Their requests would wait for one another's GIL.
            let more = if site.computes { more.into() } else { more.or(fewer_workers(&slots)) };
            Advice::first(more.because(because))
        }
        _ => return None,
    })
}

/// The option with its present value. Of threads that were only counted there may be more: they are born when
/// needed.
fn option(server: &Server, name: &str, setting: &str) -> Setting {
    let option = Setting::of(server, name, setting);
    let is_seen = option.is_seen && setting == "threads";
    Setting { is_seen, ..option }
}

/// The number of threads. A sync worker has one, whoever set it: with more it would be gthread
/// (`Config.worker_class` in gunicorn/config.py). gthread's main thread accepts whether a thread is free or
/// not (`ThreadWorker.accept` in gunicorn/workers/gthread.py).
fn threads(server: &Server, concurrency: Concurrency) -> Setting {
    let threads = option(server, "--threads", "threads").sizing(Sizes::Threads).with_queues_apart();
    if concurrency == Concurrency::Sync && threads.present.is_none() { threads.now(1) } else { threads }
}

/// Another kind of worker.
fn worker_class(class: &str) -> Part {
    act(format!("use --worker-class {class}")).with_value(Setting::named("--worker-class"), class)
}

/// Each worker touches a temporary file before each wait, so that the master knows that it lives
/// (gunicorn/workers/workertmp.py).
fn heartbeat() -> Advice {
    act("use --worker-tmp-dir /dev/shm")
        .with_value(Setting::named("--worker-tmp-dir"), "/dev/shm")
        .because("each worker touches its heartbeat file between requests, and in memory that never waits")
        .into()
}

/// Several requests at once in each process.
fn gthread(slots: &Slots) -> Part {
    worker_class("gthread").so("with --threads").with(slots.threads.clone(), Direction::Raise)
}

/// Any number of requests at once in each process.
fn greenlets() -> Part {
    worker_class("gevent").more(Sizes::Threads)
}

/// As many slots in fewer processes.
fn fewer_workers(slots: &Slots) -> Part {
    act("use fewer workers with more threads each")
        .with(slots.workers.clone(), Direction::Lower)
        .with(slots.threads.clone(), Direction::Raise)
}

/// What more workers would do, where that is not the thing to do first.
fn raising_workers(slots: &Slots, effect: &str) -> Part {
    say(format!("raising {} {effect}", slots.workers)).with(slots.workers.clone(), Direction::Raise)
}

fn cpu_bound(slots: &Slots) -> Advice {
    Advice::first(raise(&slots.workers).up_to_cores())
        .then(say("more threads do not help while Python code holds the GIL").no_more(Sizes::Threads))
        .then(say("with the cores busy, only faster code or more machines help"))
}

fn gil_contention(concurrency: Concurrency, slots: &Slots) -> Advice {
    match concurrency {
        Concurrency::Threads | Concurrency::Unknown => Advice::first(
            raise(&slots.workers).up_to_cores().because("processes do not share the GIL, threads do"),
        )
        .then(act("move long computations out of the process")),
        // One thread serves: who it waits for is the application's own threads.
        Concurrency::Sync | Concurrency::Loop => Advice::first(
            act("move the work of the application's own threads to another process")
                .because("they take the GIL from the one that serves"),
        )
        .then(raising_workers(slots, "shares it out").up_to_cores()),
    }
}

/// Greenlets are switched by their library, where it has patched what blocks; coroutines only where they
/// await.
fn loop_blocked(worker_class: &str) -> Advice {
    let (library, threads) = match worker_class {
        "gevent" | "gevent_pywsgi" => ("gevent", "gevent's thread pool (gevent.get_hub().threadpool)"),
        "eventlet" => ("eventlet", "eventlet's threads (eventlet.tpool.execute)"),
        _ => {
            return Advice::first(act("find the blocking call of this endpoint").and(act(
                "await an asynchronous one in its place or give it to a thread (asyncio.to_thread)",
            )));
        }
    };
    let where_it_is = format!("a driver in C, or a module imported before {library} patched it");
    Advice::first(act("find the blocking call of this endpoint").because(where_it_is))
        .then(act(format!("give it to {threads}")).or(act("serve the endpoint with gthread workers")))
}

/// Advice where a request that computes keeps the loop.
fn loop_computing(worker_class: &str, slots: &Slots) -> Advice {
    let pausing = |pause: &str| {
        act(format!("call {pause} within the computation"))
            .or(act("move it to another process"))
            .because("greenlets do not interrupt a computation")
    };
    let step = match worker_class {
        "gevent" | "gevent_pywsgi" => pausing("gevent.sleep(0)"),
        "eventlet" => pausing("eventlet.sleep(0)"),
        _ => act("move the computation to another process")
            .because("coroutines do not interrupt a computation"),
    };
    Advice::first(step).then(raising_workers(slots, "spreads it").up_to_cores())
}

/// Whether each worker has a queue of its own, as is seen, or by the option: it does that from 24 on.
fn splits_queue(server: &Server, site: &Site) -> bool {
    let is_given = server.settings.iter().any(|one| one.name == "reuse_port" && one.value == "true");
    site.is_split || is_given && major(server).is_some_and(|major| major >= 24)
}

/// A worker with a queue of its own gets connections while it is busy.
fn one_queue() -> Advice {
    // A listener that a worker opened for itself keeps its part of the connections until that worker has
    // ended.
    let out = act("leave --reuse-port out")
        .with(Setting::named("--reuse-port"), Direction::Remove)
        .and(act("restart gunicorn"))
        .because(
            "all workers then share one queue, and one that is busy leaves new connections to the others",
        );
    Advice::first(out).then(say("each connection then wakes several workers again (herd)"))
}

/// Only gthread's acceptor and event loops take what nobody is free for. `--worker-connections` is no way to
/// keep them from it. Connections that send nothing count too, and with as many of these as it allows the
/// worker answers nobody (gthread, gevent, eventlet). The ASGI and tornado workers do not look at it at all.
fn accepts_without_capacity(concurrency: Concurrency, server: &Server, slots: &Slots, site: &Site) -> Advice {
    match concurrency {
        // In fewer processes they would wait for one another's GIL instead.
        Concurrency::Threads | Concurrency::Unknown if site.computes => Advice::first(
            act("make faster what computes there")
                .or(apart("gunicorn"))
                .because("a worker takes connections also while all of its threads are busy"),
        ),
        Concurrency::Threads | Concurrency::Unknown => Advice::first(
            fewer_workers(slots)
                .so(format!("({}, {})", slots.workers, slots.threads))
                .because("a worker takes connections also while all of its threads are busy"),
        )
        .then(say("there is then seldom a full one beside a free one")),
        Concurrency::Loop if has_greenlets(server) => Advice::first(
            act("take what computes out of the event loop").or(act("serve it with gthread workers")),
        ),
        // gthread calls an application as WSGI: it cannot serve one that is ASGI.
        Concurrency::Loop => Advice::first(act(
            "take what computes or blocks off the event loop, to a thread or another process",
        )),
        Concurrency::Sync => {
            Advice::first(act("see on the timeline what the worker did before it served them"))
        }
    }
}

fn has_greenlets(server: &Server) -> bool {
    matches!(server.worker_class.as_str(), "gevent" | "gevent_pywsgi" | "eventlet")
}

fn loops_are_the_limit(slots: &Slots) -> Advice {
    Advice::first(raise(&slots.workers).because("the event loop of each process is the limit"))
}

/// Slots that wait cost little more than memory.
fn slots_waiting(concurrency: Concurrency, slots: &Slots) -> Advice {
    match concurrency {
        Concurrency::Sync => Advice::first(gthread(slots).because(
            "the requests wait rather than compute, and it serves several per process for little memory",
        ))
        .then(raising_workers(slots, "helps too, at a process each")),
        Concurrency::Threads => Advice::first(
            raise(&slots.threads)
                .because("the requests wait rather than compute, and a waiting thread costs little"),
        ),
        Concurrency::Loop => loops_are_the_limit(slots),
        Concurrency::Unknown => {
            Advice::first(raise(&slots.threads).so("with gthread workers").or(raise(&slots.workers)))
        }
    }
}

/// How advice begins for those who cannot have the proxy.
const WITHOUT_PROXY: &str = "Without one";

/// Another kind of worker takes more CPU for each request: 9 clients of short requests beside slow ones got
/// 2,139 answers a second in place of 4,798 (`make mixes`, seed 20090197).
fn slow_clients(concurrency: Concurrency, slots: &Slots, site: &Site) -> Advice {
    let proxy = act(
        "put a reverse proxy that buffers requests and responses (nginx does by default) before gunicorn",
    )
    .arranging(Arrangement::BufferingProxy);
    match concurrency {
        Concurrency::Sync if site.computes => {
            Advice::first(proxy.because("a sync worker serves one client and waits for it"))
                .then(say("gthread and gevent workers take more CPU for each request, and these compute"))
        }
        Concurrency::Sync => Advice::first(proxy.because("a sync worker serves one client and waits for it"))
            .then(
                worker_class("gthread")
                    .so("with --threads")
                    .with(slots.threads.clone(), Direction::Raise)
                    .or(greenlets())
                    .when(WITHOUT_PROXY),
            ),
        Concurrency::Threads => {
            let more = Step::from(raise(&slots.threads));
            let more = if site.computes { more } else { more.or(greenlets()) };
            Advice::first(proxy.because("each slow client holds a thread for as long as it takes"))
                .then(more.when(WITHOUT_PROXY))
        }
        Concurrency::Loop => Advice::first(proxy).then(raise(&slots.workers).when(WITHOUT_PROXY)),
        Concurrency::Unknown => Advice::first(proxy.because("sync and gthread workers wait for each client")),
    }
}

/// The main thread of a worker that lingers accepts nothing.
fn idle_at_acceptor(slots: &Slots) -> Advice {
    Advice::first(
        act("put a reverse proxy (nginx) before gunicorn").because("it closes finished connections at once"),
    )
    .then(raise(&slots.workers).when(WITHOUT_PROXY))
    .then(
        say("more threads do not help")
            .no_more(Sizes::Threads)
            .because("the main thread of each worker, which accepts, is what waits (up to 2 s a client)"),
    )
}

/// 25 waits for a new connection's first bytes in the pool (up to 5 s); 26 lingers after the response (up to
/// 2 s).
fn idle_connections(concurrency: Concurrency, server: &Server, slots: &Slots) -> Advice {
    let major = major(server);
    let lingers = major.is_none_or(|major| major >= 26);
    let waits_in_pool = major.is_none_or(|major| major >= 25);
    let version = server.version.as_deref().unwrap_or("from 26");
    let proxy =
        act("put a reverse proxy before gunicorn that opens a connection only when it has a request to send");
    match concurrency {
        Concurrency::Sync if lingers => Advice::first(proxy.so("and closes it after the response"))
            .then(say("a sync worker waits for the first byte as long as --timeout allows"))
            .then(say(format!(
                "after the response, gunicorn {version} waits up to 2 s for the client to close"
            ))),
        Concurrency::Sync => {
            Advice::first(proxy.because(
                "a sync worker waits for the first byte of a connection as long as --timeout allows",
            ))
            .then(worker_class("gthread").when("For load balancers that open connections ahead"))
        }
        Concurrency::Threads if waits_in_pool => Advice::first(proxy.because(format!(
            "gunicorn {version} lets a new connection without data hold a thread for up to 5 s"
        )))
        .then(raise(&slots.threads).when(WITHOUT_PROXY)),
        Concurrency::Threads | Concurrency::Loop => Advice::first(
            lower(&option(server, "--keep-alive", "keepalive"))
                .only("if the number of idle connections is the trouble")
                .because("they hold no thread in this kind of worker"),
        ),
        Concurrency::Unknown => Advice::first(proxy),
    }
}

/// From 24 on each worker opens a listener of its own; 23 sets the option on the one listener that all
/// workers inherit.
fn herd(concurrency: Concurrency, server: &Server, slots: &Slots, site: &Site) -> Advice {
    let in_fewer = |fewer: Part| -> Step {
        match concurrency {
            Concurrency::Threads => fewer.and(raise(&slots.threads)),
            _ => fewer.into(),
        }
    };
    // UNIX sockets and sockets that were passed: the server does not come up with it, or all workers but one
    // are cut off.
    let is_passed = server.settings.iter().any(|one| one.name == "bind" && one.value.contains("fd://"));
    let may_split = site.own_tcp && !is_passed && server.number("listen_fds").is_none();
    let can_split = major(server).is_some_and(|major| major >= 24);
    // gthread keeps as many slots in fewer workers, which share a GIL.
    let waits_if_fewer =
        if concurrency == Concurrency::Threads { site.computes } else { site.waits_if_fewer };
    match (may_split, can_split, site.waits_if_split) {
        (true, true, false) => {
            let otherwise = (!waits_if_fewer).then(|| in_fewer(lower(&slots.workers)).when("Otherwise"));
            otherwise.into_iter().fold(split(), Advice::then)
        }
        _ if waits_if_fewer && concurrency == Concurrency::Threads => {
            Advice::first(say("leave it as it is: in fewer workers, requests that compute would share a GIL"))
        }
        _ if waits_if_fewer => {
            let other = if may_split && can_split { ", or a listener for each" } else { "" };
            Advice::first(say(format!(
                "leave it as it is: with fewer workers{other} requests would wait longer than these wakeups take"
            )))
        }
        (false, ..) => Advice::first(in_fewer(lower(&slots.workers))),
        // A connection goes to the queue that its addresses choose, also where that worker is busy and
        // another is free.
        (true, true, true) => Advice::first(in_fewer(lower(&slots.workers)).because(
            "with a listener for each (--reuse-port) requests would wait for busy workers longer than these wakeups take",
        )),
        (true, false, _) => {
            let version = server.version.as_deref().unwrap_or("before 24");
            let try_fewer = act(format!("try to lower {}", slots.workers));
            Advice::first(in_fewer(try_fewer.with(slots.workers.clone(), Direction::Lower))).then(say(format!(
                "with --reuse-port gunicorn gives each worker a listener of its own from 24 on; gunicorn {version} \
                 shares one all the same"
            )))
        }
    }
}

/// A listener for each worker. The old listener, which lacks the option, keeps the port until the last who
/// inherited it has ended.
fn split() -> Advice {
    Advice::first(
        use_option(&Setting::named("--reuse-port"))
            .and(act("restart gunicorn"))
            .because("each worker then has a listener of its own, and a connection wakes one"),
    )
    .then(say("with a mere reload (HUP, USR2) new workers cannot bind"))
    .then(say("a worker that hangs keeps the connections of its own queue; one that ends loses them"))
}
