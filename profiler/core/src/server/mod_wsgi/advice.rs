//! What to change in mod_wsgi for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: advice. Options are named as `WSGIDaemonProcess` and Apache have
//! them, with mod_wsgi-express's beside them.

use super::DAEMON;
use crate::model::Server;
use crate::server::advice::common::{keep_idle_longer, keep_within, raise_cpu_limit};
use crate::server::advice::{Advice, Arrangement, Direction, Scope, Setting, Sizes, act, lower, raise, say};
use crate::server::site::Site;

pub(super) fn advice(finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
    let advice = if server.worker_class == DAEMON {
        daemon(finding_id, server, site)
    } else {
        embedded(finding_id, server)
    };
    advice.or_else(|| shared(finding_id, server))
}

/// Why a daemon process is full beside free ones.
const ONE_TOOK_MORE: &str =
    "all daemon processes accept from one socket, and one of them took more than it could serve";

/// A parameter of `WSGIDaemonProcess`, with its present value and mod_wsgi-express's option.
fn parameter(server: &Server, name: &str, setting: &str) -> Setting {
    Setting::of(server, format!("{name}="), setting)
        .at(Scope::Directive)
        .or_as(format!("mod_wsgi-express: --{name}"))
}

fn keep_alive_timeout(server: &Server) -> Setting {
    Setting::of(server, "KeepAliveTimeout", "keep_alive_timeout")
        .at(Scope::Directive)
        .or_as("mod_wsgi-express: --keep-alive-timeout")
}

fn daemon(finding_id: &str, server: &Server, site: &Site) -> Option<Advice> {
    let processes = parameter(server, "processes", "processes").sizing(Sizes::Processes);
    let threads = parameter(server, "threads", "threads").sizing(Sizes::Threads);
    Some(match finding_id {
        "slow-clients" => Advice::first(
            act("put a reverse proxy that buffers requests and responses (nginx does) before Apache")
                .arranging(Arrangement::BufferingProxy)
                .or(raise(&threads))
                .because(
                    "a slow client holds a daemon thread and one of Apache's as well, as Apache passes bodies on as \
                     they come",
                ),
        ),
        "idle-connections" => {
            // Apache's own, which run no Python in this mode: it sizes nothing that other advice is about.
            let clients = Setting::of(server, "MaxRequestWorkers", "max_request_workers")
                .at(Scope::Directive)
                .or_as("mod_wsgi-express: --max-clients");
            Advice::first(
                lower(&keep_alive_timeout(server))
                    .or(raise(&clients))
                    .when("Where idle connections use up Apache's own threads"),
            )
            .then(say("idle connections hold no daemon thread"))
        }
        "cpu-bound" => Advice::first(
            raise(&processes).up_to_cores().because("each has an interpreter of its own"),
        )
        .then(say("more threads only wait for the same interpreter").no_more(Sizes::Threads)),
        "gil-contention" => Advice::first(
            raise(&processes)
                .up_to_cores()
                .because("processes do not share the GIL, threads do"),
        )
        .then(say("a shorter switch-interval= only makes threads take turns more often")),
        "cpu-throttled" => Advice::first(raise_cpu_limit()).then(
            lower(&processes)
                .when("If that cannot be")
                .because("fewer processes use up the quota more slowly"),
        ),
        "worker-timeouts" => keep_within(&parameter(server, "request-timeout", "request_timeout"))
            .then(say("it limits what requests take on average over the threads of a process, idle ones counted")),
        "more-slots" => Advice::first(
            raise(&threads).because("requests wait rather than compute, and a waiting thread costs little"),
        ),
        // In fewer processes requests that compute would wait for one another's GIL.
        "more-slots/one-worker" if site.computes => Advice::first(raise(&threads).because(ONE_TOOK_MORE)),
        "more-slots/one-worker" => Advice::first(
            act("use fewer processes with more threads")
                .with(processes.clone(), Direction::Lower)
                .with(threads.clone(), Direction::Raise)
                .or(raise(&threads))
                .because(ONE_TOOK_MORE),
        ),
        _ => return None,
    })
}

fn embedded(finding_id: &str, server: &Server) -> Option<Advice> {
    // In embedded mode mod_wsgi-express makes Apache's limit of them.
    let clients = Setting::of(server, "MaxRequestWorkers", "max_request_workers")
        .at(Scope::Directive)
        .or_as("mod_wsgi-express: --processes or --threads, their product")
        .sizing(Sizes::Processes);
    let daemon = Setting::named("WSGIDaemonProcess")
        .at(Scope::Directive)
        .or_as("mod_wsgi-express without --embedded-mode");
    Some(match finding_id {
        "more-slots" => Advice::first(
            raise(&clients)
                .or(act("run the application in daemon mode (WSGIDaemonProcess; mod_wsgi-express without \
                     --embedded-mode)")
                .with(daemon, Direction::Set))
                .because("daemon mode sizes Python apart from Apache"),
        ),
        "cpu-bound" | "gil-contention" => Advice::first(
            act("use the prefork MPM (mod_wsgi-express: --server-mpm=prefork)")
                .with_value(Setting::named("--server-mpm"), "prefork")
                .more(Sizes::Processes)
                .or(act("use daemon mode with processes= up to the number of cores")
                    .with(daemon, Direction::Set)
                    .more(Sizes::Processes))
                .because("prefork has a process, and so an interpreter, for each request"),
        ),
        "slow-clients" => Advice::first(
            act("put a reverse proxy that buffers requests and responses (nginx does) before Apache")
                .arranging(Arrangement::BufferingProxy)
                .or(raise(&clients))
                .because("every slow client holds one of Apache's workers"),
        ),
        "idle-connections" => Advice::first(
            lower(&keep_alive_timeout(server))
                .or(act("put a reverse proxy in front"))
                .because("a connection kept alive holds a worker in the prefork and worker MPMs"),
        ),
        _ => return None,
    })
}

/// What is true in every mode.
fn shared(finding_id: &str, server: &Server) -> Option<Advice> {
    Some(match finding_id {
        "keep-alive-race" => Advice::first(keep_idle_longer(&keep_alive_timeout(server))).then(say(
            "in the prefork and worker MPMs an idle connection holds one of Apache's workers meanwhile",
        )),
        "cpu-throttled" => {
            Advice::first(raise_cpu_limit().or(act("run fewer processes in it").no_more(Sizes::Processes)))
        }
        _ => return None,
    })
}
