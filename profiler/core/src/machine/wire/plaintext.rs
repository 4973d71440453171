//! Which request on an encrypted connection it is that the server's OpenSSL has the plaintext of.
//!
//! In: reads of whole records, by threads; the first bytes of messages, by thread and OpenSSL's object. Out:
//! requests that have method and path, and a status. Where requests begin and end the headers of records say,
//! as without: this only names them. A connection is joined with its object by its first request: the thread
//! has read one alone that could be meant. What is not certain stays without a name.

use rustc_hash::FxHashMap;

use crate::event::{Plaintext, Tid};
use crate::machine::wire::connection::{Connection, Connections};
use crate::machine::wire::http1::{RequestHead, status_of};
use crate::machine::wire::request::Active;
use crate::machine::world::living::Living;
use crate::model::request::Framing;
use crate::model::request_start::RequestStart;

/// Connections that are joined with their objects at once.
const MAX_SESSIONS: usize = 65_536;
/// Threads whose reads are remembered at once.
const MAX_READERS: usize = 16_384;
/// Connections that are remembered of each. With more than one that could be meant none is.
const MAX_READ: usize = 16;

/// A connection: its number in the table, and the dense one, which no other has after it.
type Known = (u32, u64);

/// What is known of OpenSSL's objects.
#[derive(Clone, Debug, Default)]
pub struct Plaintexts {
    /// Probes are placed: what is read from here on comes with its plaintext.
    pub placed: bool,
    /// Connections by process and OpenSSL's object.
    sessions: FxHashMap<(Tid, u64), Known>,
    /// Connections not joined yet, by the thread that has read a request there.
    readers: FxHashMap<Tid, Vec<Known>>,
}

impl Plaintexts {
    /// A thread has read from a client's connection.
    pub(in crate::machine) fn read(&mut self, connections: &Connections, tid: Tid, number: u32) {
        if !self.placed {
            return;
        }
        let Some(known) = to_be_joined(connections, number) else { return };
        if self.readers.len() >= MAX_READERS && !self.readers.contains_key(&tid) {
            self.readers.retain(|_, read| {
                read.retain(|known| is_to_be_joined(connections, *known));
                !read.is_empty()
            });
            if self.readers.len() >= MAX_READERS {
                return;
            }
        }
        let read = self.readers.entry(tid).or_default();
        if read.contains(&known) {
            return;
        }
        read.retain(|known| is_to_be_joined(connections, *known));
        if read.len() < MAX_READ {
            read.push(known);
        }
    }

    /// What a client asks, or is answered.
    pub fn take(
        &mut self,
        connections: &mut Connections,
        plaintext: &Plaintext,
        wall_clock_offset_ns: Option<i64>,
    ) {
        let session = (plaintext.tgid, plaintext.session);
        let joined = self.sessions.get(&session).copied().filter(|known| is_same(connections, *known));
        if !plaintext.inbound {
            if let Some((number, _)) = joined {
                answer(connections, number, &plaintext.bytes);
            }
            return;
        }
        let asked = joined.filter(|(number, _)| connections.get(*number).is_some_and(is_asked));
        let number = match asked {
            Some((number, _)) => Some(number),
            // The session has left another connection before that is closed, or these bytes are the rest of a
            // request.
            None if joined.is_some() && RequestHead::of_bytes(&plaintext.bytes).is_none() => None,
            None => self.join(connections, plaintext.tid, session),
        };
        let Some(number) = number else { return };
        if let Some(active) = connections.get_mut(number).and_then(nameable) {
            name(active, &plaintext.bytes, wall_clock_offset_ns);
        }
    }

    /// The one connection that is meant by the object, and that no other object is.
    fn join(&mut self, connections: &mut Connections, tid: Tid, session: (Tid, u64)) -> Option<u32> {
        let read = self.readers.get_mut(&tid)?;
        read.retain(|known| is_to_be_joined(connections, *known));
        let [known] = read.as_slice() else { return None };
        let known = *known;
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.retain(|_, known| is_same(connections, *known));
        }
        let connection = connections.get_mut(known.0).filter(|connection| connection.tgid == session.0)?;
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        connection.inbound.join(session.1);
        self.sessions.insert(session, known);
        self.readers.remove(&tid);
        Some(known.0)
    }

    /// Forgets what has ended.
    pub(in crate::machine) fn retain(&mut self, connections: &Connections, living: &Living) {
        self.sessions.retain(|_, known| is_same(connections, *known));
        self.readers.retain(|tid, _| living.thread(*tid));
    }
}

fn is_same(connections: &Connections, (number, id): Known) -> bool {
    connections.get(number).is_some_and(|connection| connection.id == id)
}

/// The connection, if its newest request is whole as far as its first record, has no answer, and could be the
/// first that OpenSSL's object shows.
fn to_be_joined(connections: &Connections, number: u32) -> Option<Known> {
    let connection = connections.get(number)?;
    let is_open = !connection.inbound.is_joined() && connection.inbound.head_complete();
    (is_open && is_asked(connection)).then_some((number, connection.id))
}

fn is_to_be_joined(connections: &Connections, known: Known) -> bool {
    to_be_joined(connections, known.0) == Some(known)
}

/// Whether an encrypted request is under way that has no answer.
fn is_asked(connection: &Connection) -> bool {
    let Some(newest) = connection.requests.back() else { return false };
    let is_encrypted = matches!(newest.request.http.framing, Framing::NotHttp | Framing::Encrypted);
    connection.inbound.is_encrypted() && is_encrypted && !newest.response.has_begun
}

/// Its newest request, if it has neither a name nor an answer.
fn nameable(connection: &mut Connection) -> Option<&mut Active> {
    let newest = connection.requests.back_mut()?;
    let is_open = !newest.response.has_begun && newest.request.http.framing == Framing::NotHttp;
    is_open.then_some(newest)
}

/// Says what a request asks, if these bytes begin with its first line.
fn name(active: &mut Active, bytes: &[u8], wall_clock_offset_ns: Option<i64>) {
    let Some(head) = RequestHead::of_bytes(bytes) else { return };
    let http = &mut active.request.http;
    http.framing = Framing::Encrypted;
    (http.method, http.path, http.trace_context) = (head.method, head.path, head.trace_context);
    http.request_start =
        RequestStart::new(head.request_start, active.request.times.start_ns, wall_clock_offset_ns);
}

/// Says with which status the oldest request of a connection is answered, if it has a name and nothing of its
/// answer was written yet.
fn answer(connections: &mut Connections, number: u32, bytes: &[u8]) {
    let Some(oldest) = connections.front_mut(number) else { return };
    let is_begun = oldest.response.has_begun;
    let http = &mut oldest.request.http;
    if !is_begun
        && http.framing == Framing::Encrypted
        && http.status == 0
        && let Some(status) = status_of(bytes)
    {
        http.status = status;
    }
}
