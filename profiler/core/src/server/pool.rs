//! What servers with one process and a pool of threads share: their role, their slots, and what to turn.
//!
//! In: a server with `threads`, how its options are named. Out: slots, refinement, advice.

use rustc_hash::FxHashSet;

use super::advice::common::raise_cpu_limit;
use super::advice::{Advice, Scope, Setting, Sizes, act, raise, say};
use super::setting::put_seen;
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
    /// Where that option is set.
    pub(super) scope: Scope,
    /// A slow client holds a thread: while it sends, while it takes the response, before its first byte.
    pub(super) clients_hold_threads: bool,
}

/// The process that shows what it is serves; others were started by it.
pub(super) fn roles(processes: &[ProcessSeen], is_server: impl Fn(&ProcessSeen) -> bool) -> Vec<(u32, Role)> {
    let servers: FxHashSet<u32> = processes.iter().filter(|one| is_server(one)).map(|one| one.tgid).collect();
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
    /// The setting of the number of threads.
    pub(super) fn thread_setting(&self, server: &Server) -> Setting {
        Setting::of(server, self.threads, "threads").sizing(Sizes::Threads).at(self.scope)
    }

    /// What to change for a finding.
    pub(super) fn advice(&self, finding_id: &str, server: &Server) -> Option<Advice> {
        let Self { server: name, clients_hold_threads, .. } = *self;
        let threads = self.thread_setting(server);
        let beside = format!("run a second {name} beside it, behind a proxy that shares the requests out");
        let another = act(beside.as_str()).more(Sizes::Processes);
        Some(match finding_id {
            "slow-clients" => self.slow_clients(&threads),
            "more-slots" => Advice::first(
                raise(&threads)
                    .because("requests wait rather than compute, and a waiting thread costs little"),
            ),
            "idle-connections" if clients_hold_threads => Advice::first(act(format!(
                "put a reverse proxy before {name} that opens a connection only when it has a request to send"
            )))
            .then(say("a connection without data holds a thread until its timeout"))
            .then(raise(&threads).when("Without such a proxy")),
            "idle-connections" => Advice::first(say(format!("idle connections hold no thread of {name}"))),
            "cpu-bound" => Advice::first(
                act("make the code of the endpoint named faster")
                    .or(another)
                    .because("threads share one interpreter"),
            ),
            "gil-contention" => Advice::first(another.because("processes do not share the GIL, threads do"))
                .then(act("move long computations out of the process")),
            "cpu-throttled" => Advice::first(raise_cpu_limit()),
            _ => return None,
        })
    }

    fn slow_clients(&self, threads: &Setting) -> Advice {
        let name = self.server;
        let proxy = act(format!(
            "put a reverse proxy that buffers requests and responses (nginx does by default) before {name}"
        ));
        if self.clients_hold_threads {
            return Advice::first(proxy.because("each slow client holds a thread for as long as it takes"))
                .then(raise(threads).when("Without one"));
        }
        Advice::first(say(format!(
            "{name} itself takes requests in and sends responses out in its main thread, so slow clients hold none of the pool"
        )))
        .then(say("the time is the clients' own"))
        .then(proxy.when("Where that time matters all the same"))
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

    /// Where a server loses nothing, there is nothing to change.
    const MAY_ASK_NOTHING: [&str; 2] = ["slow-clients", "idle-connections"];

    /// Every finding that asks for something has advice in whole sentences that begins with what to do, and
    /// health has none.
    pub(in crate::server) fn advises_on_every_finding(kind: &dyn ServerKind, server: &Server) {
        for id in ["slow-clients", "idle-connections", "cpu-bound", "gil-contention", "cpu-throttled"] {
            let advice = kind.advice(id, server, &Site::default()).unwrap_or_default();
            let (text, first) = (advice.to_string(), advice.imperative());
            assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{id}: {text}");
            let begins_with_it = !first.is_empty() && text.starts_with(&first);
            assert!(begins_with_it || MAY_ASK_NOTHING.contains(&id), "{id}: {text}");
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
