//! Light mode: connections that become something else, and the threads that they keep.
//!
//! In: messages on such connections, their ends. Out: the request, which is over with the head that says so;
//! from there on the connection, under the same number, until it ends.

use crate::event::{Light, LightWhat, Tid};
use crate::machine::driver::light::message::{Message, cover};
use crate::machine::driver::state::State;
use crate::machine::lock::gil_held::Held;
use crate::machine::runtime::thread::Lasted;
use crate::machine::wire::light_socket::{LightRequest, Socket};
use crate::model::lasting::Became;
use crate::model::request::{Http, OnGil, Request, Seen, Times};
use crate::model::round_trips::RoundTrips;
use crate::phase::Phases;
use crate::timeline::Entry;

impl State {
    /// The head of an answer may have said that the connection becomes something else.
    pub(super) fn light_becomes(&mut self, socket: &mut Socket, time_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let Some(active) = socket.active.as_mut() else { return };
        if active.request.http.became.is_none() || active.request.seen.lasts {
            return;
        }
        let lasting = lasting(active, time_ns);
        let mut over = std::mem::replace(active, lasting);
        self.chain.lasts(&active.request);
        // What follows belongs to the number that is known everywhere; what is over gets another.
        over.request.id = self.wire.request_count;
        self.wire.request_count = self.wire.request_count.saturating_add(1);
        socket.life.signs.answers(&over.request);
        self.end_light(over, time_ns, sink);
    }

    /// Bytes were moved on a connection that has become something else. Returns whether the thread serves
    /// that; `None`: they may be of a request.
    pub(super) fn light_lasting(
        &mut self,
        socket: &mut Socket,
        message: &Message<'_>,
        sink: &mut dyn FnMut(Entry),
    ) -> Option<bool> {
        let Message { light, captured, done, time_ns } = *message;
        let Some(active) = &mut socket.active else {
            // What comes after the last chunk of a stream is still of that.
            let goes_on = light.what == LightWhat::Sent && socket.outbound.lasting().is_some();
            return goes_on.then_some(false);
        };
        let became = active.request.lasting()?;
        let is_own = active.owner == light.tid;
        let http = &mut active.request.http;
        match (light.what, became) {
            (LightWhat::Sent, _) => http.bytes_out = http.bytes_out.saturating_add(light.bytes),
            (_, Became::Upgraded) => http.bytes_in = http.bytes_in.saturating_add(light.bytes),
            // Its client may ask for something else.
            (_, Became::Stream) => return None,
        }
        if std::mem::take(&mut active.left_ns) > 0
            && let Some(thread) = self.runtime.threads.get_mut(active.owner)
        {
            // It was not over.
            thread.signs.takes_turns |= is_own;
        }
        if is_own {
            cover(active, done, time_ns);
        }
        if became == Became::Stream {
            let same_turn = light.account.blocked_ns == 0;
            let _ = socket.sends(light.bytes, captured, same_turn);
            if socket.outbound.at_last_chunk()
                && let Some(over) = socket.active.take()
            {
                self.light_lasted(over, time_ns, sink);
            }
        }
        Some(is_own)
    }

    /// A connection is no longer what it had become, since `at_ns` at the latest.
    pub(super) fn light_lasted(&mut self, mut over: LightRequest, at_ns: u64, sink: &mut dyn FnMut(Entry)) {
        let at_ns = self.light_left(&over).unwrap_or(at_ns);
        self.light_releases(over.owner, over.request.id, over.request.lasting(), at_ns);
        over.is_responding = true;
        over.request.times.end_ns = at_ns;
        self.end_light(over, at_ns, sink);
    }

    /// When a stream was over, as its thread has turned to something else since, and never came back to it.
    pub(super) fn light_left(&self, active: &LightRequest) -> Option<u64> {
        let owner = self.runtime.threads.get(active.owner);
        let may_come_back = owner.is_some_and(|thread| thread.signs.takes_turns);
        (active.left_ns > 0 && !may_come_back).then_some(active.left_ns)
    }

    /// A thread does not serve what a connection had become any more.
    fn light_releases(&mut self, owner: Tid, request: u64, became: Option<Became>, at_ns: u64) {
        if let (Some(became), Some(thread)) = (became, self.runtime.threads.get_mut(owner))
            && thread.serving.is_some_and(|(_, id)| id == request)
        {
            (thread.serving, thread.job.light_socket) = (None, None);
            thread.job.lasted = Some(Lasted { became, request, until_ns: at_ns });
        }
    }

    /// A thread moves bytes elsewhere than on the connection that it served, which had become something
    /// else. A stream was over with what it sent last, unless more comes: then its thread serves several by
    /// turns. Who serves an upgraded one is not known any more.
    pub(super) fn light_turns_away(&mut self, light: &Light) {
        let Some((socket, id)) = self.light_served(light.tid).filter(|(socket, _)| *socket != light.socket)
        else {
            return;
        };
        let Some(active) = self.wire.light.open.get_mut(&socket).map(|socket| &mut socket.active) else {
            return;
        };
        let is_it = |active: &&mut LightRequest| active.request.id == id && active.owner == light.tid;
        let became = active.as_mut().filter(is_it).and_then(|active| active.request.lasting());
        match became {
            Some(Became::Stream) => {
                if let Some(active) = active {
                    active.left_ns = active.covered_ns;
                    let at_ns = active.left_ns;
                    self.light_releases(light.tid, id, became, at_ns);
                }
            }
            Some(Became::Upgraded) => {
                if let Some(active) = active {
                    active.owner = 0;
                }
            }
            None => {}
        }
    }

    /// The socket of the request that a thread serves, and its number.
    fn light_served(&self, tid: Tid) -> Option<(u64, u64)> {
        let thread = self.runtime.threads.get(tid)?;
        Some((thread.job.light_socket?, thread.serving?.1))
    }
}

/// What goes on under the number of a request from `time_ns` on.
fn lasting(active: &LightRequest, time_ns: u64) -> LightRequest {
    let request = &active.request;
    LightRequest {
        request: Box::new(Request {
            phases: Phases::default(),
            stretches: Vec::new(),
            round_trips: RoundTrips::default(),
            times: Times {
                start_ns: time_ns,
                end_ns: time_ns,
                first_write_ns: Some(time_ns),
                ..Times::default()
            },
            http: Http { bytes_in: 0, bytes_out: 0, ..request.http.clone() },
            gil: OnGil::default(),
            seen: Seen { lasts: true, ..Seen::default() },
            ..request.as_ref().clone()
        }),
        covered_ns: time_ns,
        is_responding: false,
        is_answered: false,
        held: Held::default(),
        last: None,
        ..active.clone()
    }
}

#[cfg(test)]
mod tests;
