//! gevent in a program of its own (`gevent.pywsgi`): one process, one thread that serves all requests, and
//! threads of gevent's pool for look-ups of names.
//!
//! In: facts of its process. Out: its role, what its log measures, advice. Read off and run with 26.9.0.

use rustc_hash::FxHashSet;

use super::advice::{Advice, Scope, Setting, Sizes, act};
use super::backlog::Backlog;
use super::loops::{self, Loops};
use super::site::Site;
use super::{LogEnd, LogInterval, LogStart, Observed, Recognised, Role, ServerKind, unknown};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::Server;

/// A program on gevent that no other kind recognises: what shows it is what it maps.
#[derive(Debug)]
pub struct Gevent;

impl ServerKind for Gevent {
    fn name(&self) -> &'static str {
        "gevent"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["gevent"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        let holders: FxHashSet<u32> = listeners.iter().map(|seen| seen.tgid).collect();
        let serves = |process: &&ProcessSeen| process.maps_gevent() && holders.contains(&process.tgid);
        let process = processes.iter().find(serves)?;
        let server = Server {
            name: self.name().to_owned(),
            // What is read is the version of a server that the command line names.
            version: None,
            worker_class: "gevent".to_owned(),
            python_version: process.python_version.clone(),
            settings: unknown::bind_setting(listeners).into_iter().collect(),
        };
        Some(Recognised { kind: &Gevent, server, roles: self.roles(processes) })
    }

    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        loops::roles(processes, ProcessSeen::maps_gevent)
    }

    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    fn backlog(&self, _is_unix: bool) -> Option<Backlog> {
        Some(Backlog::cut("backlog of WSGIServer", "backlog").at(Scope::Program))
    }

    fn advice(&self, finding_id: &str, _server: &Server, _site: &Site) -> Option<Advice> {
        let pool = Setting::named("maxsize of gevent.get_hub().threadpool")
            .at(Scope::Program)
            .sizing(Sizes::Threads);
        let loops = Loops {
            server: "gevent",
            more_processes: act("run more processes (gunicorn --worker-class gevent --workers N does)")
                .more(Sizes::Processes),
            more_threads: vec![loops::more_threads(&pool, "10 unless set")],
            unblock: "make it cooperate: patch before it is imported (monkey.patch_all first of all), use a driver written in \
                      Python, or gevent's thread pool (gevent.get_hub().threadpool)",
            offload: "call gevent.sleep(0) within the computation, or move it to another process",
            offload_because: "",
        };
        loops.advice(finding_id)
    }

    /// The last field of a line of `pywsgi`: `time_start` is taken when the head is parsed, `time_finish`
    /// when the iterable is closed.
    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        Some(LogInterval { from: LogStart::HeadParsed, to: LogEnd::ResponseWritten })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::{advises_on_every_finding, process};
    use super::*;

    #[test]
    fn a_program_that_maps_gevent_and_listens_is_known() {
        let mut serves = process(7, 1, "python serve.py 8000");
        serves.mapped_files.push("_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so".to_owned());
        let listener =
            ListenerSeen { tgid: 7, address: "127.0.0.1:8000".to_owned(), ..ListenerSeen::default() };
        let found = Gevent.recognise(&[serves.clone()], std::slice::from_ref(&listener)).expect("gevent");
        assert_eq!(found.role(7), Role::Worker);
        assert_eq!(Gevent.configured_slots(&found.server), None);
        advises_on_every_finding(&Gevent, &found.server);
        assert!(Gevent.recognise(&[serves], &[]).is_none(), "it does not listen");
        assert!(Gevent.recognise(&[process(7, 1, "python serve.py")], &[listener]).is_none());
    }
}
