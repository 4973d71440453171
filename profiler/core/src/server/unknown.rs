//! The fallback: a server that no other kind recognises. It still has slices, requests, slots and findings.
//!
//! In: its processes. Out: a [`Server`] without settings, advice without names of settings.

use rustc_hash::FxHashSet;

use super::advice::common::raise_cpu_limit;
use super::advice::{Advice, Sizes, act};
use super::site::Site;
use super::{LogInterval, Observed, Recognised, Role, ServerKind};
use crate::fact::{ListenerSeen, ProcessSeen};
use crate::model::{Origin, Server, Setting};

/// A server that is not known.
#[derive(Debug)]
pub struct Unknown;

impl ServerKind for Unknown {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["wsgiref", "socketserver", "tornado", "bjoern", "meinheld", "eventlet"]
    }

    fn recognise(&self, processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Option<Recognised> {
        Some(as_unknown(processes, listeners))
    }

    /// Who serves is not known before it does.
    fn roles(&self, processes: &[ProcessSeen]) -> Vec<(u32, Role)> {
        processes.iter().map(|process| (process.tgid, Role::Unknown)).collect()
    }

    fn configured_slots(&self, _server: &Server) -> Option<u32> {
        None
    }

    fn refine(&self, server: &Server, _observed: &Observed) -> Server {
        server.clone()
    }

    fn advice(&self, finding_id: &str, _server: &Server, _site: &Site) -> Option<Advice> {
        Some(match finding_id {
            "more-slots" => Advice::first(
                act("raise the number of worker processes or threads of this server")
                    .more(Sizes::Processes)
                    .more(Sizes::Threads)
                    .or(act("shorten what holds them")),
            ),
            "slow-clients" | "idle-connections" => Advice::first(act(
                "put a reverse proxy that buffers requests and responses (nginx does) before this server",
            )),
            "cpu-bound" => Advice::first(
                act("profile the application's Python code")
                    .or(act("give the server more cores and more processes").more(Sizes::Processes)),
            ),
            "cpu-throttled" => Advice::first(
                raise_cpu_limit().or(act("run fewer processes in it").no_more(Sizes::Processes)),
            ),
            _ => return None,
        })
    }

    fn log_interval(&self, _server: &Server) -> Option<LogInterval> {
        None
    }
}

/// These processes as a server of unknown kind.
pub(super) fn as_unknown(processes: &[ProcessSeen], listeners: &[ListenerSeen]) -> Recognised {
    let server = Server {
        name: "unknown".to_owned(),
        version: None,
        worker_class: "unknown".to_owned(),
        python_version: processes.iter().find_map(|process| process.python_version.clone()),
        settings: bind_setting(listeners).into_iter().collect(),
    };
    Recognised { kind: &Unknown, server, roles: Unknown.roles(processes) }
}

/// The addresses that the server listens on, as a setting named `bind`.
pub(super) fn bind_setting(listeners: &[ListenerSeen]) -> Option<Setting> {
    let mut known = FxHashSet::default();
    let addresses = listeners.iter().map(|listener| listener.address.as_str());
    let addresses: Vec<&str> = addresses.filter(|address| known.insert(*address)).collect();
    (!addresses.is_empty()).then(|| Setting {
        name: "bind".to_owned(),
        value: addresses.join(", "),
        origin: Origin::Inferred,
    })
}
