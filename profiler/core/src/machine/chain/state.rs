//! The state of this stage.
//!
//! In: pieces of threads' time, requests that are over. Out: tables, each bounded, and [`Chains`] at the end
//! of a window.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::bounded::BoundedMap;
use crate::event::Tid;
use crate::machine::chain::attendance::Attendance;
use crate::machine::chain::follow::Known;
use crate::machine::chain::history::Histories;
use crate::machine::chain::settle::{Settling, settle};
use crate::machine::chain::sums::Sums;
use crate::machine::time::capacity::Span;
use crate::model::chain::Chains;
use crate::model::gil_contender::Contender;
use crate::model::path_shape::path_shape;
use crate::model::request::Request;

/// Requests that wait to be settled. Of more, the oldest are settled with what is known.
const MAX_WAITING: usize = 16_384;
/// Requests that are over, and whose endpoint is remembered. With one more, all but the newest are forgotten.
const MAX_REMEMBERED: usize = 32_768;
/// Endpoints that have a name.
const MAX_ENDPOINTS: usize = 1024;
/// Connections of back ends of which it is remembered who reads them.
const MAX_CONNECTIONS: usize = 16_384;
/// A request is settled when this has passed since its end: whoever ended its waits has told by then, most
/// likely.
const SETTLED_AFTER_NS: u64 = 3_000_000_000;

/// When a request waited to be served, and its listener.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Service {
    /// When it waited; empty: known by its stretches alone.
    pub spans: Vec<Span>,
    /// Inode of its listener; 0: not known.
    pub inode: u64,
}

/// The endpoints met, by number.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<String>,
    numbers: FxHashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        if self.names.is_empty() {
            self.names.push(String::new());
        }
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        if self.names.len() >= MAX_ENDPOINTS {
            return self.number_of_others();
        }
        let number = u32::try_from(self.names.len()).unwrap_or(0);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// All that have no room share a name.
    fn number_of_others(&mut self) -> u32 {
        let number = u32::try_from(self.names.len()).unwrap_or(0);
        let known = self.numbers.entry("(other)".to_owned()).or_insert(number);
        if *known == number {
            self.names.push("(other)".to_owned());
        }
        *known
    }
}

/// Everything that chains are followed with.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Chain {
    /// What threads did.
    pub histories: Histories,
    /// Who accepts where.
    pub attendance: Attendance,
    /// Who reads each connection to a back end: the first process, and whether another does too.
    connections: BoundedMap<u64, (Tid, bool), MAX_CONNECTIONS>,
    /// Requests that are over on their connection, and not yet complete.
    services: BoundedMap<u64, Service, MAX_WAITING>,
    names: Names,
    endpoints: Endpoints,
    rolled_ns: u64,
    waiting: VecDeque<Settling>,
    sums: Sums,
}

/// Endpoints of requests that are over, by number plus 1: of this window, and of the one before.
#[derive(Clone, Debug, Default)]
struct Endpoints {
    newest: FxHashMap<u64, u32>,
    older: FxHashMap<u64, u32>,
}

impl Endpoints {
    fn remember(&mut self, request: u64, endpoint: u32) {
        if self.newest.len() >= MAX_REMEMBERED {
            self.age();
        }
        self.newest.insert(request.saturating_add(1), endpoint);
    }

    fn age(&mut self) {
        self.older = std::mem::take(&mut self.newest);
    }

    fn of(&self, request: u64) -> u32 {
        self.newest.get(&request).or_else(|| self.older.get(&request)).copied().unwrap_or(0)
    }
}

impl Chain {
    /// A process reads a connection to a back end.
    pub(in crate::machine) fn reads(&mut self, connection: u64, tgid: Tid) {
        if let Some((first, is_shared)) = self.connections.get_or_insert_with(connection, || (tgid, false)) {
            *is_shared |= *first != tgid;
        }
    }

    /// A request is over on its connection: when it waited to be served.
    pub(in crate::machine) fn served(&mut self, request: u64, service: Service) {
        self.services.insert(request, service);
    }

    /// A request is complete.
    pub(in crate::machine) fn complete(&mut self, request: &Request) {
        let service = self.services.remove(&request.id).unwrap_or_default();
        let endpoint = self.names.number(endpoint_name(&request.http.method, &request.http.path));
        self.endpoints.remember(request.id, endpoint);
        for stretch in &request.stretches {
            let interval = (stretch.start_ns, stretch.end_ns);
            self.histories.claim(stretch.tid, interval, request.id.saturating_add(1));
        }
        let holders = request.gil.holders.iter().map(|holder| {
            let endpoint = match &holder.contender {
                Contender::Endpoint(name) => Some(self.names.number(name.clone())),
                Contender::Thread { .. } => Some(0),
                Contender::Unknown => None,
            };
            (endpoint, holder.wait_ns)
        });
        let settling = Settling {
            id: request.id,
            endpoint,
            tgid: request.tgid,
            tid: request.tid,
            start_ns: request.times.start_ns,
            end_ns: request.times.end_ns,
            phases: request.phases,
            holders: holders.collect(),
            stretches: request.stretches.clone(),
            spans: service.spans,
            inode: service.inode,
            back_ends: request.round_trips.ports().map(|to| (to.port, to.waited_ns)).collect(),
        };
        let now_ns = settling.end_ns;
        self.waiting.push_back(settling);
        self.settle_some(now_ns);
    }

    /// Settles requests that have been over for long enough, one or two for each that comes.
    fn settle_some(&mut self, now_ns: u64) {
        for _ in 0..2 {
            let is_full = self.waiting.len() > MAX_WAITING;
            let is_due =
                self.waiting.front().is_some_and(|one| one.end_ns.saturating_add(SETTLED_AFTER_NS) <= now_ns);
            if !is_full && !is_due {
                return;
            }
            let Some(mut request) = self.waiting.pop_front() else { return };
            if !self.settle(&mut request, !is_full) {
                // Some thread has been silent since. Its call ends later, or the window does.
                self.waiting.push_back(request);
                return;
            }
        }
    }

    /// Settles a request. Returns false if more may be known of it later, and `may_wait`.
    fn settle(&mut self, request: &mut Settling, may_wait: bool) -> bool {
        let endpoints = &self.endpoints;
        let connections = &self.connections;
        let known = Known {
            histories: &self.histories,
            attendance: &self.attendance,
            endpoint_of: &|request| endpoints.of(request),
            is_shared: &|connection| connections.get(&connection).is_some_and(|(_, is_shared)| *is_shared),
        };
        let settled = settle(known, request);
        if settled.is_incomplete && may_wait {
            return false;
        }
        self.sums.add(request, settled);
        true
    }

    /// The window has ended: all requests are settled.
    pub(in crate::machine) fn finish(mut self, name_of: &dyn Fn(Tid) -> String) -> Chains {
        while let Some(mut request) = self.waiting.pop_front() {
            self.settle(&mut request, false);
        }
        let endpoints = self.endpoints;
        self.sums.finish(self.names.names, &|request| endpoints.of(request), name_of)
    }

    /// The next window begins.
    pub(in crate::machine) fn roll(&mut self, time_ns: u64) {
        self.waiting.clear();
        self.sums = Sums::default();
        // Requests that are open may have waited for what ended in the window before.
        self.histories.forget_ended(self.rolled_ns);
        self.rolled_ns = time_ns;
        self.endpoints.age();
        let histories = &self.histories;
        self.attendance.retain(|tid| histories.get(tid).is_some());
        self.connections.clear();
    }

    /// What found no place.
    pub(in crate::machine) fn evicted(&self) -> u64 {
        self.histories.evicted()
            + self.attendance.evicted()
            + self.connections.evicted()
            + self.services.evicted()
            + self.sums.evicted()
    }
}

/// Method and path shape, as contenders for the interpreter lock are named.
fn endpoint_name(method: &str, path: &str) -> String {
    if method.is_empty() { String::new() } else { format!("{method} {}", path_shape(path)) }
}
