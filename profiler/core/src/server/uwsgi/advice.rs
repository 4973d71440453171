//! What to change in uWSGI for each finding, with the present value.
//!
//! In: id of a finding, the server. Out: one or two sentences. Options are named as on the command line.

use super::super::lock;
use super::super::setting::{more_cpu, option};
use super::super::site::Site;
use crate::model::Server;

pub(super) fn advice(finding_id: &str, server: &Server, site: &Site) -> Option<String> {
    let processes = option(server, "--processes", "processes");
    let threads = option(server, "--threads", "threads");
    let is_routed = server.settings.iter().any(|setting| setting.name == "http");
    let proxy = if is_routed {
        "Put nginx before uWSGI with --socket (uwsgi_pass): unlike the router of --http it takes requests in whole and responses \
         off at once"
    } else {
        "Put a reverse proxy that buffers requests and responses (nginx does by default) before uWSGI"
    };
    if finding_id.starts_with("slots-exhausted") {
        return exhausted(finding_id, server, site, (&processes, &threads));
    }
    let text = match finding_id {
        "slow-clients" => format!(
            "{proxy}: a worker waits for its client as long as --socket-timeout allows for each piece. Without one, raise \
             {threads}."
        ),
        "idle-connections" => format!(
            "{proxy}: with --http11-socket a finished connection holds a worker until {} has passed.",
            option(server, "--socket-timeout", "socket_timeout")
        ),
        "back-end" => format!(
            "The time is lost in a back end: speed up its answers, or ask it less often. Until then raise {threads}: a waiting \
             thread costs little."
        ),
        "cpu-bound" => format!(
            "Raise {processes} up to the number of cores; more threads do not help while Python code holds the GIL. With the \
             cores busy, only faster code or more machines help."
        ),
        "cpu-bound/turns" => {
            format!("Raise {processes} up to the number of cores: each has an interpreter of its own. More --threads only wait.")
        }
        "cpu-bound/cores" => format!(
            "More workers or threads would make it worse: give the host more cores, or lower {processes} towards their number."
        ),
        "gil-contention" => format!(
            "Raise {processes} up to the number of cores and lower {threads}: processes do not share the GIL, threads do."
        ),
        "cpu-throttled" => format!(
            "Raise the CPU limit of the server's cgroup (container). If that cannot be, lower {processes}."
        ),
        "short-behind-long" => format!(
            "Serve the long endpoints from a uWSGI of their own. If the long ones compute, raise {processes}; if they wait, \
             raise {threads}."
        ),
        "herd" => {
            "Use --thunder-lock: one worker then waits for the listener and a connection wakes one (--threads does the same \
             within a process)."
                .to_owned()
        }
        "keep-alive-race" if server.settings.iter().any(|setting| setting.name == "http_socket") => {
            "--http-socket closes every connection after its response and does not say so: a client that keeps connections sends its next \
             request into the close. Let the proxy before it keep none, or speak uwsgi with it (--socket, uwsgi_pass). --http11-socket keeps \
             connections, and each then holds a worker."
                .to_owned()
        }
        other => {
            let more_processes = format!("raise {processes}");
            let options =
                lock::Options { more_processes: &more_processes, threads: Some(&threads), switch_interval: None };
            return lock::advice(other, &options);
        }
    };
    Some(text)
}

/// Where slots run out, by what holds them.
fn exhausted(
    finding_id: &str,
    server: &Server,
    site: &Site,
    (processes, threads): (&str, &str),
) -> Option<String> {
    // Who keeps workers back has fewer slots than processes, as long as it does.
    let all_run = server.number("processes").is_some_and(|all| site.workers >= all);
    let kept_back = server.number("cheaper").filter(|fewest| *fewest > 0 && !all_run);
    if let (Some(fewest), "slots-exhausted" | "slots-exhausted/waiting" | "slots-exhausted/computing") =
        (kept_back, finding_id)
    {
        return Some(format!(
            "Raise --cheaper (now {fewest}), the number of workers that uWSGI always keeps, or --cheaper-step: it ran fewer than \
             {processes} allows. Where requests wait rather than compute, {threads} at less memory."
        ));
    }
    Some(match finding_id {
        "slots-exhausted" => format!("Raise {processes}; where requests wait rather than compute, {threads} at less memory."),
        "slots-exhausted/waiting" => {
            format!("The requests wait rather than compute: raise {threads}, a waiting thread costs little.")
        }
        "slots-exhausted/computing" => format!(
            "Raise {processes} up to the number of cores, or make the code faster; more threads do not help while Python \
             holds the GIL."
        ),
        "slots-exhausted/cpu-short" => format!(
            "More workers or threads would not help: the CPU is what is short. {}",
            more_cpu(server, processes, "processes")
        ),
        "slots-exhausted/clients" => {
            "More of them would only be held as well: first do what slow-clients advises, a reverse proxy that buffers.".to_owned()
        }
        "slots-exhausted/connections" => {
            "More of them would only be held as well: first do what idle-connections advises, a reverse proxy that keeps such \
             connections away."
                .to_owned()
        }
        _ => return None,
    })
}
