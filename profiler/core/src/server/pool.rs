//! What servers with one process and a pool of threads share: their role, their slots, and what to turn.
//!
//! In: a server with `threads`, how its options are named. Out: slots, refinement, advice.

use super::lock;
use super::setting::{option, put_seen};
use super::{Observed, Role};
use crate::fact::ProcessSeen;
use crate::model::Server;

/// How a pool server names what can be turned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// Name in sentences.
    pub(super) server: &'static str,
    /// The option that sets the number of threads.
    pub(super) threads: &'static str,
    /// A slow client holds a thread: while it sends, while it takes the response, before its first byte.
    pub(super) clients_hold_threads: bool,
}

/// The process that shows what it is serves; others were started by it.
pub(super) fn roles(processes: &[ProcessSeen], is_server: impl Fn(&ProcessSeen) -> bool) -> Vec<(u32, Role)> {
    let servers: Vec<u32> = processes.iter().filter(|one| is_server(one)).map(|one| one.tgid).collect();
    let role = |process: &ProcessSeen| {
        let is_top = servers.contains(&process.tgid) && !servers.contains(&process.parent_tgid);
        if is_top { Role::Worker } else { Role::Unknown }
    };
    processes.iter().map(|process| (process.tgid, role(process))).collect()
}

/// Threads of the pool.
pub(super) fn slots(server: &Server) -> Option<u32> {
    u32::try_from(server.number("threads")?).ok().filter(|slots| *slots > 0)
}

/// All threads of the pool are there from the start: fewer that served say nothing, more do.
pub(super) fn refine(server: &Server, observed: &Observed) -> Server {
    let mut server = server.clone();
    let seen = observed.serving_threads;
    put_seen(&mut server, "threads", seen, |known| known < u64::from(seen));
    server
}

impl Pool {
    /// What to change for a finding.
    pub(super) fn advice(&self, finding_id: &str, server: &Server) -> Option<String> {
        let Self { server: name, threads, clients_hold_threads } = *self;
        let threads = option(server, threads, "threads");
        let another = format!("run a second {name} beside it, behind a proxy that shares the requests out");
        let proxy = format!(
            "Put a reverse proxy that buffers requests and responses (nginx does by default) before {name}"
        );
        let text = match finding_id {
            "slots-exhausted" => format!("Raise {threads} where requests wait; where they compute, {another}."),
            "slots-exhausted/waiting" => {
                format!("The requests wait rather than compute: raise {threads}, a waiting thread costs little.")
            }
            "slots-exhausted/computing" | "cpu-bound/turns" => format!(
                "Only one thread of a process runs Python at a time: {another}, or make the code faster. More \
                 threads do not help."
            ),
            "slots-exhausted/cpu-short" | "cpu-bound/cores" => {
                "More threads or processes would not help: the CPU is what is short. Give the server more of it, or make the \
                 code faster."
                    .to_owned()
            }
            "slots-exhausted/clients" => {
                "More threads would only be held as well: first do what slow-clients advises, a reverse proxy that buffers."
                    .to_owned()
            }
            "slots-exhausted/connections" => {
                "More threads would only be held as well: first do what idle-connections advises, a reverse proxy that keeps \
                 such connections away."
                    .to_owned()
            }
            "slow-clients" if clients_hold_threads => {
                format!("{proxy}: each slow client holds a thread for as long as it takes. Without one, raise {threads}.")
            }
            "slow-clients" => format!(
                "{name} itself takes requests in and sends responses out in its main thread, so slow clients hold none of \
                 the pool. The time is the clients' own. {proxy} where it matters all the same."
            ),
            "idle-connections" if clients_hold_threads => format!(
                "Put a reverse proxy before {name} that opens a connection only when it has a request to send. A connection \
                 without data holds a thread until its timeout. Without such a proxy, raise {threads}."
            ),
            "idle-connections" => format!("Idle connections hold no thread of {name}."),
            "back-end" => format!(
                "The time is lost in a back end: speed up its answers, or ask it less often. Until then raise {threads}: a \
                 waiting thread costs little."
            ),
            "cpu-bound" => format!(
                "Make the code of the endpoint named faster, or {another}: threads share one interpreter."
            ),
            "gil-contention" => format!(
                "Lower {threads} and {another}: processes do not share the GIL, threads do. Move long computations out of \
                 the process."
            ),
            "cpu-throttled" => "Raise the CPU limit of the server's cgroup (container).".to_owned(),
            "short-behind-long" => format!(
                "Serve the long endpoints from a {name} of their own. If they wait rather than compute, raise {threads}."
            ),
            other => {
                let options =
                    lock::Options { more_processes: &another, threads: Some(&threads), switch_interval: None };
                return lock::advice(other, &options);
            }
        };
        Some(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::server::ServerKind;
    use crate::server::site::Site;

    /// A process that runs this command line.
    pub(in crate::server) fn process(tgid: u32, parent_tgid: u32, line: &str) -> ProcessSeen {
        ProcessSeen {
            tgid,
            parent_tgid,
            executable: "/usr/bin/python3.11".to_owned(),
            command_line: line.split(' ').map(str::to_owned).collect(),
            ..ProcessSeen::default()
        }
    }

    /// Every finding that asks for something has advice in whole sentences, and health has none.
    pub(in crate::server) fn advises_on_every_finding(kind: &dyn ServerKind, server: &Server) {
        for id in [
            "slots-exhausted",
            "slots-exhausted/waiting",
            "slots-exhausted/computing",
            "slots-exhausted/cpu-short",
            "slots-exhausted/clients",
            "slots-exhausted/connections",
            "slow-clients",
            "idle-connections",
            "back-end",
            "cpu-bound",
            "cpu-bound/turns",
            "cpu-bound/cores",
            "gil-contention",
            "gil-starvation",
            "gil-not-released",
            "gil-convoy",
            "gil-threads",
            "cpu-throttled",
            "short-behind-long",
        ] {
            let advice = kind.advice(id, server, &Site::default()).unwrap_or_default();
            assert!(advice.ends_with('.') && advice.starts_with(char::is_uppercase), "{id}: {advice}");
        }
        assert_eq!(kind.advice("healthy", server, &Site::default()), None);
    }

    #[test]
    fn what_the_server_started_is_not_the_server() {
        let all = [process(1, 0, "a"), process(2, 1, "a"), process(3, 1, "b")];
        let roles = roles(&all, |process| process.command_line == ["a"]);
        assert_eq!(roles, [(1, Role::Worker), (2, Role::Unknown), (3, Role::Unknown)]);
    }
}
