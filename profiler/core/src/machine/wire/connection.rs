//! Client connections: who accepted them, what goes through them, which requests are on them.
//!
//! In: accepts, seeds, closes. Out: [`Connection`]s by number, in a bounded table.

use std::collections::VecDeque;

use crate::event::{Connection as Opened, Tid};
use crate::machine::wire::http1::{Inbound, Outbound};
use crate::machine::wire::origin::{Origin, Side};
use crate::machine::wire::request::{Active, LastChunks, RequestKey};
use crate::machine::wire::signs::Signs;
use crate::model::lasting::Became;

/// Connections followed at once; one more is counted and not followed.
const MAX_CONNECTIONS: usize = 65_536;

/// One client connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Dense number, in the order in which connections were first seen.
    pub id: u64,
    /// Process.
    pub tgid: Tid,
    /// Descriptor there.
    pub fd: i32,
    /// How it came about.
    pub origin: Origin,
    /// Exit of the last read that moved bytes.
    pub last_read_ns: u64,
    /// When a thread that is no slot last took it off an epoll instance: where the loop hands it over.
    pub dispatched_ns: u64,
    /// An event loop waits until the client takes more.
    pub awaits_writable: bool,
    /// Framing of what the client sends.
    pub inbound: Inbound,
    /// Framing of what it gets.
    pub outbound: Outbound,
    /// Requests begun and not finished, oldest first.
    pub requests: VecDeque<Box<Active>>,
    /// Requests begun so far.
    pub begun: u32,
    /// Requests finished so far.
    pub finished: u32,
    /// Further descriptors of it.
    pub copies: u32,
    /// The server has ended its direction.
    pub shut: bool,
    /// Signs of its end.
    pub(in crate::machine) signs: Signs,
}

impl Connection {
    /// Whether the connection carries one request, in a protocol of the server's own.
    pub fn is_private(&self) -> bool {
        self.origin.side.is_private()
    }

    /// Whether a read here is a read for a request, not a drain after the response.
    pub(in crate::machine) fn expects_request(&self) -> bool {
        !self.shut && self.requests.front().is_none_or(|active| !active.response.has_begun)
    }

    /// The thread works on the oldest request, and has not begun to answer it.
    pub(in crate::machine) fn works_unanswered(&self, tid: Tid) -> bool {
        self.requests.front().is_some_and(|front| !front.response.has_begun && front.owner == Some(tid))
    }

    /// What the connection has become, while it is that.
    pub(in crate::machine) fn lasting(&self) -> Option<Became> {
        self.requests.front().and_then(|front| front.request.lasting())
    }

    /// The thread does not serve what the connection has become: what it moves there is another's.
    pub(in crate::machine) fn lasts_for_another(&self, tid: Tid) -> bool {
        let lasting = self.requests.front().filter(|front| front.request.lasting().is_some());
        lasting.is_some_and(|front| front.owner.is_some_and(|owner| owner != tid))
    }

    /// The server ends a connection for whose end the front end waits: its oldest request's response ends
    /// with it. Returns whether the thread has worked on that request up to here.
    pub(in crate::machine) fn works_to_the_end(&mut self, tid: Tid) -> bool {
        if self.lasting().is_some() {
            return self.requests.front().is_some_and(|front| front.owner == Some(tid));
        }
        let is_open = matches!(self.origin.side, Side::Inner { .. }) && self.outbound.until_turn();
        let front = self.requests.front_mut().filter(|front| is_open && front.response.has_begun);
        front.is_some_and(|front| {
            front.response.ends_with_connection = true;
            front.owner == Some(tid)
        })
    }

    /// Whether a response that a loop has left in the middle surely continues. Either it ends with its
    /// connection, or it is sent in chunks and did continue after a pause. For chunks, the loop was never
    /// seen to join the last one with other bytes.
    pub(in crate::machine) fn surely_continues(&self, active: &Active) -> bool {
        let outbound = &self.outbound;
        let is_told = || {
            outbound.may_have_more()
                && active.response.has_continued
                && active.response.last_chunks != LastChunks::Joined
        };
        active.response.may_have_ended
            && !outbound.is_encrypted()
            && (outbound.ends_with_connection() || is_told())
    }

    /// Whether a response in chunks that a loop has left in the middle lacks its end, as the loop writes last
    /// chunks by themselves.
    pub(in crate::machine) fn lacks_its_end(&self) -> bool {
        let outbound = &self.outbound;
        let is_told = |active: &Active| {
            active.response.may_have_ended && active.response.last_chunks == LastChunks::Apart
        };
        outbound.may_have_more()
            && !outbound.ends_with_connection()
            && !outbound.is_encrypted()
            && self.requests.front().map(Box::as_ref).is_some_and(is_told)
    }
}

/// All open client connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    table: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Connections seen so far; the next one's number.
    pub seen: u64,
    /// Connections seen that were gone before the window began.
    gone_before: u64,
    /// Connections of the window between a front end of the target and the server behind it: no client's.
    pub inner: u64,
    /// Connections that found no place.
    pub evicted: u64,
}

impl Connections {
    /// Enters a connection; `None` if the table is full (counted).
    pub fn open(&mut self, opened: &Opened, time_ns: u64) -> Option<u32> {
        let id = self.seen;
        self.seen = self.seen.saturating_add(1);
        let connection = Connection {
            id,
            tgid: opened.tgid,
            fd: opened.fd,
            origin: Origin { accepted_ns: (!opened.seeded).then_some(time_ns), ..Origin::default() },
            last_read_ns: 0,
            dispatched_ns: 0,
            awaits_writable: false,
            inbound: if opened.seeded { Inbound::uncertain() } else { Inbound::default() },
            outbound: Outbound::default(),
            requests: VecDeque::new(),
            begun: 0,
            finished: 0,
            copies: 0,
            shut: false,
            signs: Signs::default(),
        };
        if let Some(index) = self.free.pop()
            && let Some(free) = self.table.get_mut(index as usize)
        {
            *free = Some(connection);
            return Some(index);
        }
        if self.table.len() >= MAX_CONNECTIONS {
            self.evicted = self.evicted.saturating_add(1);
            return None;
        }
        let index = u32::try_from(self.table.len()).ok()?;
        self.table.push(Some(connection));
        Some(index)
    }

    /// Counts a connection that is followed elsewhere (light mode). Returns its dense number.
    pub const fn count_one(&mut self) -> u64 {
        let id = self.seen;
        self.seen = self.seen.saturating_add(1);
        id
    }

    /// Connections seen in the window: those that were open when it began, and those that came.
    pub const fn seen_in_window(&self) -> u64 {
        self.seen.saturating_sub(self.gone_before).saturating_sub(self.inner)
    }

    /// Clients' connections that are open.
    pub fn clients_open(&self) -> u64 {
        let is_client_s = |key: &&Connection| !matches!(key.origin.side, Side::Inner { .. });
        self.table.iter().flatten().filter(is_client_s).count() as u64
    }

    /// The next window begins, with so many connections open that are followed elsewhere.
    pub fn roll(&mut self, elsewhere: u64) {
        let open = u64::try_from(self.table.len().saturating_sub(self.free.len())).unwrap_or(u64::MAX);
        let open = open.saturating_add(elsewhere);
        self.gone_before = self.seen.saturating_sub(open);
        let is_inner = |key: &&Connection| matches!(key.origin.side, Side::Inner { .. });
        self.inner = self.table.iter().flatten().filter(is_inner).count() as u64;
    }

    /// Connections from a front end that have a request under way, each with that.
    pub fn asked_by_front_end(&self) -> impl Iterator<Item = (&Connection, &Active)> {
        let inner = self.table.iter().flatten().filter(|one| matches!(one.origin.side, Side::Inner { .. }));
        inner.filter_map(|connection| Some((connection, connection.requests.front()?.as_ref())))
    }

    /// A connection by number.
    pub fn get(&self, index: u32) -> Option<&Connection> {
        self.table.get(index as usize)?.as_ref()
    }

    /// The request that a connection is about: its oldest.
    pub fn front(&self, index: u32) -> Option<&Active> {
        self.get(index)?.requests.front().map(Box::as_ref)
    }

    /// The request that a connection is about, to change it.
    pub fn front_mut(&mut self, index: u32) -> Option<&mut Active> {
        self.get_mut(index)?.requests.front_mut().map(Box::as_mut)
    }

    /// The request of this id, if it is the one that its connection is about.
    pub fn active(&self, (index, id): RequestKey) -> Option<&Active> {
        self.front(index).filter(|active| active.request.id == id)
    }

    /// The request of this id, to change it, if it is the one that its connection is about.
    pub fn active_mut(&mut self, (index, id): RequestKey) -> Option<&mut Active> {
        self.front_mut(index).filter(|active| active.request.id == id)
    }

    /// Method and path of a request that is not finished.
    pub fn named(&self, index: u32, id: u64) -> Option<(String, String)> {
        let all = self.get(index)?.requests.iter().map(|active| &active.request);
        let request = all.into_iter().find(|request| request.id == id)?;
        Some((request.http.method.clone(), request.http.path.clone()))
    }

    /// When a request was read that is not finished.
    pub(in crate::machine) fn service_start_ns(&self, key: RequestKey) -> Option<u64> {
        self.active(key)?.request.times.service_start_ns
    }

    /// Whether a request is not finished.
    pub(in crate::machine) fn is_live(&self, key: RequestKey) -> bool {
        self.active(key).is_some()
    }

    /// Whether a request is not over, and its task not known.
    pub(in crate::machine) fn is_open(&self, key: RequestKey) -> bool {
        self.active(key).is_some_and(|active| active.task.is_none())
    }

    /// A connection by number.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.table.get_mut(index as usize)?.as_mut()
    }

    /// Forgets a connection. Returns its dense number.
    pub fn close(&mut self, index: u32) -> Option<u64> {
        let entry = self.table.get_mut(index as usize)?;
        let id = entry.as_ref()?.id;
        *entry = None;
        self.free.push(index);
        Some(id)
    }

    /// Numbers of all open connections.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.table).filter(|(_, entry)| entry.is_some()).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests;
