//! What to change in gunicorn for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: one or two sentences. Options are named as on the command line.

use crate::model::{Origin, Server};
use crate::server::lock;
use crate::server::setting::more_cpu;
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

pub(super) fn advice(finding_id: &str, server: &Server, site: &Site) -> Option<String> {
    let concurrency = match server.worker_class.as_str() {
        "sync" => Concurrency::Sync,
        "gthread" => Concurrency::Threads,
        "unknown" => Concurrency::Unknown,
        _ => Concurrency::Loop,
    };
    let workers = option(server, "--workers", "workers");
    let threads = option(server, "--threads", "threads");
    if finding_id.starts_with("slots-exhausted") {
        return exhausted(finding_id, server, concurrency, (&workers, &threads));
    }
    match finding_id {
        "keep-alive-race" => Some(format!(
            "Raise {} above the time for which clients, or the proxy before it, keep idle connections.",
            option(server, "--keep-alive", "keepalive")
        )),
        "worker-timeouts" => Some(format!(
            "Make that request faster, or give it a limit of its own at the back end; raise {} only if such long requests \
             are intended.",
            option(server, "--timeout", "timeout")
        )),
        "idle-connections/acceptor" => Some(format!(
            "Put a reverse proxy (nginx) before gunicorn, which closes finished connections at once; or raise {workers}. \
             More threads do not help: the main thread of each worker, which accepts, is what waits (up to 2 s a client)."
        )),
        "cpu-bound/turns" => Some(format!(
            "Raise {workers} up to the number of cores: each has an interpreter of its own. Fewer --threads lose nothing \
             here, more only wait for the same interpreter."
        )),
        "cpu-bound/cores" => Some(format!(
            "More workers or threads would make it worse: give the host more cores, or lower {workers} towards their \
             number. Requests are then served one after the other instead of all slowly."
        )),
        "slow-clients" => Some(slow_clients(concurrency, &workers)),
        "idle-connections" => Some(idle_connections(concurrency, server)),
        "back-end" => Some(back_end(concurrency, &threads)),
        "cpu-bound" => Some(format!(
            "Raise {workers} up to the number of cores; more threads do not help while Python code holds the GIL. \
             With the cores busy, only faster code or more machines help."
        )),
        "gil-contention" => Some(match concurrency {
            Concurrency::Threads | Concurrency::Unknown => format!(
                "Raise {workers} up to the number of cores and lower {threads}: processes do not share the GIL, \
                 threads do. Move long computations out of the process."
            ),
            // One thread serves: who it waits for is the application's own threads.
            Concurrency::Sync | Concurrency::Loop => format!(
                "The application's own threads take the GIL from the one that serves: move their work to another \
                 process; raising {workers} shares it out."
            ),
        }),
        "cpu-throttled" => Some(format!(
            "Raise the CPU limit of the server's cgroup (container). If that cannot be, lower {workers}: \
             fewer processes use up the quota more slowly and stop less often."
        )),
        "loop-blocked" => Some(loop_blocked(&server.worker_class)),
        "loop-blocked/computing" => Some(loop_computing(&server.worker_class, &workers)),
        "loop-saturated" => {
            Some(format!("Raise {workers} up to the number of cores: each worker's event loop uses one core at most."))
        }
        "short-behind-long" => Some(short_behind_long(concurrency, &workers, &threads)),
        "imbalance" => Some(
            "Let all workers share one queue (no --reuse-port): one that is busy then leaves new connections to the others. A \
             worker of threads or of an event loop takes them all the same: fewer workers with more threads each share better."
                .to_owned(),
        ),
        "full-beside-free" => Some(accepts_without_capacity(concurrency, &workers, &threads)),
        "herd" => Some(herd(concurrency, server, &workers, site)),
        other => {
            let has_threads = matches!(concurrency, Concurrency::Threads | Concurrency::Unknown);
            let more_processes = format!("raise {workers}");
            let threads = has_threads.then_some(threads.as_str());
            lock::advice(other, &lock::Options { more_processes: &more_processes, threads, switch_interval: None })
        }
    }
}

/// Where slots run out, by what holds them.
fn exhausted(
    finding_id: &str,
    server: &Server,
    concurrency: Concurrency,
    (workers, threads): (&str, &str),
) -> Option<String> {
    match finding_id {
        "slots-exhausted" => Some(slots_exhausted(concurrency, workers, threads)),
        "slots-exhausted/waiting" => Some(slots_waiting(concurrency, workers, threads)),
        "slots-exhausted/computing" => Some(format!(
            "Raise {workers} up to the number of cores, or make the code faster; more threads do not help while Python \
             holds the GIL."
        )),
        "slots-exhausted/cpu-short" => Some(format!(
            "More workers or threads would not help: the CPU is what is short. {}",
            more_cpu(server, workers, "workers")
        )),
        "slots-exhausted/clients" => {
            Some(
                "More of them would only be held as well: first do what slow-clients advises, a reverse proxy that buffers."
                    .to_owned(),
            )
        }
        "slots-exhausted/connections" => {
            Some(
                "More of them would only be held as well: first do what idle-connections advises, a reverse proxy that \
                 keeps such connections away."
                    .to_owned(),
            )
        }
        "slots-exhausted/one-worker" => Some(format!(
            "Connections stay with the worker that took them. Raise {threads}; or use fewer workers with more threads each."
        )),
        _ => None,
    }
}

/// Greenlets are switched by their library, where it has patched what blocks; coroutines only where they await.
fn loop_blocked(worker_class: &str) -> String {
    let (library, threads) = match worker_class {
        "gevent" | "gevent_pywsgi" => ("gevent", "gevent's thread pool (gevent.get_hub().threadpool)"),
        "eventlet" => ("eventlet", "eventlet's threads (eventlet.tpool.execute)"),
        _ => {
            return "Find the blocking call of this endpoint, and await an asynchronous one in its place or give it to a thread \
                    (asyncio.to_thread)."
                .to_owned();
        }
    };
    format!(
        "Find the blocking call of this endpoint: a driver in C, or a module imported before {library} patched it. Give it \
         to {threads}, or serve the endpoint with gthread workers."
    )
}

/// The same where it computes.
fn loop_computing(worker_class: &str, workers: &str) -> String {
    let pause = match worker_class {
        "gevent" | "gevent_pywsgi" => {
            "Greenlets do not interrupt a computation: call gevent.sleep(0) within it, or move it"
        }
        "eventlet" => {
            "Greenlets do not interrupt a computation: call eventlet.sleep(0) within it, or move it"
        }
        _ => "Coroutines do not interrupt a computation: move it",
    };
    format!("{pause} to another process; raising {workers} spreads it.")
}

/// The option with its present value. Of threads that were only counted there may be more: they are born when needed.
fn option(server: &Server, name: &str, setting: &str) -> String {
    let inferred = server.settings.iter().any(|one| one.name == setting && one.origin == Origin::Inferred);
    let now = if inferred && setting == "threads" { "seen:" } else { "now" };
    server.number(setting).map_or_else(|| name.to_owned(), |value| format!("{name} ({now} {value})"))
}

/// Only gthread's acceptor and event loops take what nobody is free for. `--worker-connections` is no way to keep them from it:
/// connections that send nothing count too, and with as many of these as it allows the worker answers nobody (gthread, gevent,
/// eventlet); the ASGI and tornado workers do not look at it at all.
fn accepts_without_capacity(concurrency: Concurrency, workers: &str, threads: &str) -> String {
    match concurrency {
        Concurrency::Threads | Concurrency::Unknown => format!(
            "A worker takes connections also while all of its threads are busy: use fewer workers with more threads each \
             ({workers}, {threads}). There is then seldom a full one beside a free one."
        ),
        Concurrency::Loop => {
            "Take what computes out of the event loop, or serve it with gthread workers.".to_owned()
        }
        Concurrency::Sync => "See on the timeline what the worker did before it served them.".to_owned(),
    }
}

fn loops_are_the_limit(workers: &str) -> String {
    format!("Raise {workers}: the event loop of each process is the limit.")
}

/// Slots that wait cost little more than memory.
fn slots_waiting(concurrency: Concurrency, workers: &str, threads: &str) -> String {
    match concurrency {
        Concurrency::Sync => format!(
            "The requests wait rather than compute: --worker-class gthread with --threads serves several per process \
             for little memory. Raising {workers} helps too, at a process each."
        ),
        Concurrency::Threads => {
            format!("The requests wait rather than compute: raise {threads}, a waiting thread costs little.")
        }
        Concurrency::Loop => loops_are_the_limit(workers),
        Concurrency::Unknown => format!("Raise {threads} with gthread workers, or {workers}."),
    }
}

fn slots_exhausted(concurrency: Concurrency, workers: &str, threads: &str) -> String {
    match concurrency {
        Concurrency::Sync => format!(
            "Raise {workers}. Where requests wait rather than compute, --worker-class gthread with --threads \
             serves several per process for less memory."
        ),
        Concurrency::Threads => format!(
            "Raise {threads} where requests wait (back end, sleep, slow clients), {workers} where they compute."
        ),
        Concurrency::Loop => loops_are_the_limit(workers),
        Concurrency::Unknown => format!("Raise {workers}, or {threads} with gthread workers."),
    }
}

fn slow_clients(concurrency: Concurrency, workers: &str) -> String {
    let proxy =
        "Put a reverse proxy that buffers requests and responses (nginx does by default) before gunicorn";
    match concurrency {
        Concurrency::Sync => format!(
            "{proxy}: a sync worker serves one client and waits for it. Without one, use --worker-class gthread \
             with many --threads, or gevent."
        ),
        Concurrency::Threads => format!(
            "{proxy}: each slow client holds a thread for as long as it takes. Without one, raise --threads, or use \
             --worker-class gevent."
        ),
        Concurrency::Loop => format!("{proxy}; if it has to do without one, raise {workers}."),
        Concurrency::Unknown => format!("{proxy}: sync and gthread workers wait for each client."),
    }
}

/// 25 waits for a new connection's first bytes in the pool (up to 5 s); 26 lingers after the response (up to 2 s).
fn idle_connections(concurrency: Concurrency, server: &Server) -> String {
    let major = server.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let lingers = major.is_none_or(|major| major >= 26);
    let waits_in_pool = major.is_none_or(|major| major >= 25);
    let version = server.version.as_deref().unwrap_or("from 26");
    let proxy =
        "Put a reverse proxy before gunicorn that opens a connection only when it has a request to send";
    match concurrency {
        Concurrency::Sync if lingers => format!(
            "{proxy} and closes it after the response. A sync worker waits for the first byte as long as \
             --timeout allows. After the response, gunicorn {version} waits up to 2 s for the client to close."
        ),
        Concurrency::Sync => format!(
            "{proxy}: a sync worker waits for the first byte of a connection as long as --timeout allows. \
             Load balancers that open connections ahead need --worker-class gthread."
        ),
        Concurrency::Threads if waits_in_pool => format!(
            "{proxy}: gunicorn {version} lets a new connection without data hold a thread for up to 5 s. Without \
             one, raise {}.",
            option(server, "--threads", "threads")
        ),
        Concurrency::Threads | Concurrency::Loop => format!(
            "Idle connections hold no thread in this kind of worker; lower {} if their number is the trouble.",
            option(server, "--keep-alive", "keepalive")
        ),
        Concurrency::Unknown => format!("{proxy}."),
    }
}

/// 27 opens a listener for each worker; 23 sets the option on the one listener that all workers inherit.
fn herd(concurrency: Concurrency, server: &Server, workers: &str, site: &Site) -> String {
    let major = server.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let fewer = match concurrency {
        Concurrency::Threads => format!("lower {workers} and raise --threads"),
        _ => format!("lower {workers}"),
    };
    // UNIX sockets and sockets that were passed: the server does not come up with it, or all workers but one are cut off.
    let may_split = site.own_tcp && server.number("listen_fds").is_none();
    if !may_split {
        return format!("{}.", capital(&fewer));
    }
    if major.is_some_and(|major| major >= 27) {
        format!(
            "Use --reuse-port: each worker then has a listener of its own, and a connection wakes one. A worker that hangs keeps \
             the connections of its own queue; one that ends loses them. Or {fewer}."
        )
    } else {
        let version = server.version.as_deref().unwrap_or("before 27");
        format!(
            "Try to {fewer}. With --reuse-port gunicorn 27 gives each worker a listener of its own; gunicorn {version} \
             shares one all the same."
        )
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn back_end(concurrency: Concurrency, threads: &str) -> String {
    let cause = "The time is lost in a back end: speed up its answers, or ask it less often";
    match concurrency {
        Concurrency::Sync => format!(
            "{cause}. Until then --worker-class gthread with --threads lets other requests run while one waits."
        ),
        Concurrency::Threads => {
            format!("{cause}. Until then raise {threads}: a waiting thread costs little.")
        }
        Concurrency::Loop | Concurrency::Unknown => {
            format!("{cause}. A timeout on its calls bounds the harm.")
        }
    }
}

fn short_behind_long(concurrency: Concurrency, workers: &str, threads: &str) -> String {
    let apart = "Serve the long endpoints from a gunicorn of their own";
    match concurrency {
        Concurrency::Sync => {
            format!("{apart}, or use --worker-class gthread with --threads; raising {workers} helps less.")
        }
        Concurrency::Threads => format!(
            "{apart}. If the long ones compute, raise {workers} (threads share one GIL); if they wait, raise {threads}."
        ),
        Concurrency::Loop => {
            format!("{apart}, or move their computation off the event loop; raising {workers} helps less.")
        }
        Concurrency::Unknown => format!("{apart}, or raise {workers}."),
    }
}
