//! Connections to back ends, from their connect to the first answer; and what was done with back ends for
//! nobody who is known.
//!
//! In: calls on their descriptors. Out: state for each descriptor, sums of the window.

use profiler_common::record::slice::FLAG_BACK_END;

use crate::event::{Call, Slice, Tid};
use crate::fact::DescriptorClass;
use crate::machine::world::begun::{Begun, Shown};
use crate::machine::world::descriptor::Descriptors;
use crate::model::round_trips::{RoundTrips, ToPort};

/// A call that moved bytes of a back end's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The peer's port (0: a UNIX socket, or not known).
    pub port: u16,
    /// The call read an answer: something was sent before.
    pub is_answer: bool,
    /// The kernel side marks it as a stream.
    pub is_marked: bool,
    /// What it shows of a connection that has not answered before.
    pub shown: Option<Shown>,
}

/// The peer's port of a back end's socket (0: not known); `None`: it is something else.
pub const fn port_of(class: DescriptorClass) -> Option<u16> {
    match class {
        DescriptorClass::Backend { port } => Some(port),
        DescriptorClass::Socket => Some(0),
        _ => None,
    }
}

impl Descriptors {
    /// A connect succeeded or is under way, by a thread that serves this request. One that asks how an
    /// earlier connect went begins nothing.
    pub fn begin(&mut self, tgid: Tid, fd: i32, by: Option<(u32, u64)>) {
        if let Some(descriptor) = self.get_mut(tgid, fd)
            && descriptor.begun.is_none_or(|begun| begun.is_used())
        {
            descriptor.begun = Some(Begun::new(by));
        }
    }

    /// A call waited for a back end's socket. Returns the peer's port (0: not known); `None`: it is not known
    /// for which socket.
    pub fn waited(&mut self, slice: &Slice, wait_ns: u64) -> Option<u16> {
        let fd = match slice.call {
            Call::Read { fd, .. }
            | Call::Write { fd }
            | Call::Connect { fd, .. }
            | Call::Poll { only_fd: Some(fd), .. } => fd,
            Call::EpollWait { epoll_fd, .. } => match self.get(slice.tgid, epoll_fd)?.interest.as_slice() {
                [only] => *only,
                _ => return None,
            },
            _ => return None,
        };
        let descriptor = self.get_mut(slice.tgid, fd)?;
        let port = match slice.call {
            // Until the call is followed, its descriptor is a mere socket.
            Call::Connect { port, .. } => port,
            _ => port_of(descriptor.class)?,
        };
        if let Some(begun) = &mut descriptor.begun {
            begun.waits(wait_ns);
        }
        Some(port)
    }

    /// A call moved bytes. Returns what it shows, if it was on a back end's socket.
    pub fn moved(&mut self, slice: &Slice) -> Option<Moved> {
        let (Call::Read { fd, .. } | Call::Write { fd }) = slice.call else { return None };
        let descriptor = self.get_mut(slice.tgid, fd).filter(|_| slice.result > 0)?;
        let port = port_of(descriptor.class)?;
        let was_asked = std::mem::replace(&mut descriptor.is_asked, matches!(slice.call, Call::Write { .. }));
        let is_answer = was_asked && !descriptor.is_asked;
        let is_marked = slice.flags & FLAG_BACK_END != 0;
        let shown = descriptor.begun.as_mut().map(|begun| begun.moves(slice.result, is_answer));
        // The back end has answered, or the socket is no stream.
        if shown.is_some_and(|shown| shown.first_answer_ns.is_some() || shown.is_first && !is_marked) {
            descriptor.begun = None;
        }
        Some(Moved { port, is_answer, is_marked, shown })
    }
}

/// What threads did with back ends that counts for no request, as far as requests may have waited for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnattributedTrips {
    /// By threads of which it is not known for which request: event loops, their pools, threads in the
    /// background.
    known: RoundTrips,
    /// Sockets that were connected and used, and that the kernel side did not mark as streams.
    unmarked: u64,
    /// The kernel side marks streams: one was seen. This stays from window to window.
    marks_streams: bool,
}

impl UnattributedTrips {
    /// A thread waited, or used a connection for the first time.
    pub fn add(&mut self, more: &ToPort) {
        self.known.add(more);
    }

    /// The first bytes of a connected socket moved.
    pub const fn uses(&mut self, is_marked: bool) {
        self.marks_streams |= is_marked;
        if !is_marked {
            self.unmarked = self.unmarked.saturating_add(1);
        }
    }

    /// All round trips. Where the kernel side marks streams, a socket without the mark is none.
    pub fn told(&self) -> RoundTrips {
        let mut all = self.known.clone();
        if !self.marks_streams && self.unmarked > 0 {
            all.add(&ToPort { connections: self.unmarked, ..ToPort::default() });
        }
        all
    }

    /// The next window begins.
    pub fn roll(&mut self) {
        *self = Self { marks_streams: self.marks_streams, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_without_the_mark_may_be_connections_only_where_none_has_it() {
        let mut all = UnattributedTrips::default();
        all.uses(false);
        assert_eq!(all.told().to(0).connections, 1);
        all.uses(true);
        assert_eq!(all.told().to(0).connections, 0);
        all.add(&ToPort { port: 53, waited_ns: 5, ..ToPort::default() });
        assert_eq!(all.told().to(53).waited_ns, 5);
        all.roll();
        all.uses(false);
        assert_eq!(all.told(), RoundTrips::default(), "it still marks them");
    }
}
