//! What to change in mod_wsgi for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: one or two sentences. Options are named as `WSGIDaemonProcess` and
//! Apache have them, with mod_wsgi-express's beside them.

use super::DAEMON;
use crate::model::Server;
use crate::server::lock;
use crate::server::setting::more_cpu;

pub(super) fn advice(finding_id: &str, server: &Server) -> Option<String> {
    let text =
        if server.worker_class == DAEMON { daemon(finding_id, server) } else { embedded(finding_id, server) };
    text.or_else(|| shared(finding_id))
}

/// What `WSGIDaemonProcess` calls it, with its present value and mod_wsgi-express's option.
fn option(server: &Server, name: &str, setting: &str) -> String {
    let now = server.number(setting).map_or_else(String::new, |value| format!("now {value}; "));
    format!("{name}= ({now}mod_wsgi-express: --{name})")
}

fn daemon(finding_id: &str, server: &Server) -> Option<String> {
    let processes = option(server, "processes", "processes");
    let threads = option(server, "threads", "threads");
    let queue = option(server, "queue-timeout", "queue_timeout");
    Some(match finding_id {
        "slots-exhausted" => format!(
            "Raise {threads} where requests wait (back end, sleep, slow clients), {processes} where they compute. \
             {queue} bounds how long a request waits for a daemon thread before the client gets a 504."
        ),
        "slots-exhausted/waiting" => {
            format!("The requests wait rather than compute: raise {threads}, a waiting thread costs little.")
        }
        "slots-exhausted/computing" => format!(
            "Raise {processes} up to the number of cores, or make the code faster; more threads do not help while \
             Python holds the GIL."
        ),
        "slots-exhausted/cpu-short" => format!(
            "More processes or threads would not help: the CPU is what is short. {}",
            more_cpu(server, &processes, "processes")
        ),
        "slots-exhausted/one-worker" => format!(
            "All daemon processes accept from one socket, and one of them took more than it could serve: use fewer \
             processes with more threads, or raise {threads}."
        ),
        "slow-clients" => format!(
            "A slow client holds a daemon thread and one of Apache's as well, as Apache passes bodies on as they come. \
             Put a reverse proxy that buffers requests and responses (nginx does) before Apache, or raise {threads}."
        ),
        "idle-connections" => {
            "Idle connections hold no daemon thread; where they use up Apache's own threads, lower KeepAliveTimeout \
             (mod_wsgi-express: --keep-alive-timeout) or raise MaxRequestWorkers (--max-clients)."
                .to_owned()
        }
        "cpu-bound" | "cpu-bound/turns" => format!(
            "Raise {processes} up to the number of cores: each has an interpreter of its own. More threads only wait for \
             the same interpreter."
        ),
        "cpu-bound/cores" => format!(
            "More processes or threads would make it worse: give the host more cores, or lower {processes} towards their \
             number."
        ),
        "gil-contention" => format!(
            "Raise {processes} up to the number of cores and lower {threads}: processes do not share the GIL, threads do. \
             A shorter switch-interval= only makes them take turns more often."
        ),
        "cpu-throttled" => format!(
            "Raise the CPU limit of the server's cgroup (container). If that cannot be, lower {processes}: fewer processes \
             use up the quota more slowly."
        ),
        "short-behind-long" => format!(
            "Serve the long endpoints from a daemon process group of their own (WSGIProcessGroup for their path). If they \
             compute, raise {processes}; if they wait, raise {threads}."
        ),
        "back-end" => format!(
            "The time is lost in a back end: speed up its answers, or ask it less often. Until then raise {threads}: a \
             waiting thread costs little."
        ),
        other => {
            let more_processes = format!("raise {processes}");
            let options = lock::Options {
                more_processes: &more_processes,
                threads: Some(&threads),
                switch_interval: Some("switch-interval= (mod_wsgi-express: --switch-interval)"),
            };
            return lock::advice(other, &options);
        }
    })
}

fn embedded(finding_id: &str, server: &Server) -> Option<String> {
    // In embedded mode mod_wsgi-express makes Apache's limit of them.
    let clients = server.number("max_request_workers").map_or_else(
        || "MaxRequestWorkers (mod_wsgi-express: --processes or --threads)".to_owned(),
        |limit| {
            format!(
                "MaxRequestWorkers (now {limit}; mod_wsgi-express: --processes or --threads, their product)"
            )
        },
    );
    Some(match finding_id {
        "slots-exhausted" | "slots-exhausted/waiting" => {
            format!("Raise {clients}, or run the application in daemon mode (WSGIDaemonProcess; mod_wsgi-express without --embedded-mode), which sizes Python apart from Apache.")
        }
        "slots-exhausted/computing" | "cpu-bound" | "cpu-bound/turns" | "gil-contention" | "gil-starvation"
        | "gil-convoy" | "gil-threads" => {
            "Use the prefork MPM (a process, and so an interpreter, for each request; mod_wsgi-express: --server-mpm=prefork), or \
             daemon mode with processes= up to the number of cores."
                .to_owned()
        }
        "slow-clients" => format!(
            "Every slow client holds one of Apache's workers: put a reverse proxy that buffers requests and responses \
             (nginx does) before it, or raise {clients}."
        ),
        "idle-connections" => {
            "A connection kept alive holds a worker in the prefork and worker MPMs: lower KeepAliveTimeout \
             (mod_wsgi-express: --keep-alive-timeout), or put a reverse proxy in front."
                .to_owned()
        }
        "short-behind-long" => {
            "Serve the long endpoints from a daemon process group of their own (WSGIProcessGroup for their path).".to_owned()
        }
        _ => return None,
    })
}

/// What is true in every mode.
fn shared(finding_id: &str) -> Option<String> {
    let text = match finding_id {
        "slots-exhausted/clients" => {
            "More of them would only be held as well: first do what slow-clients advises, a reverse proxy that buffers."
        }
        "slots-exhausted/connections" => {
            "More of them would only be held as well: first do what idle-connections advises."
        }
        "back-end" => {
            "The time is lost in a back end: speed up its answers, or ask it less often. A timeout on its calls bounds the harm."
        }
        "cpu-throttled" => {
            "Raise the CPU limit of the server's cgroup (container), or run fewer processes in it."
        }
        _ => return None,
    };
    Some(text.to_owned())
}
