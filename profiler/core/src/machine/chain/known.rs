//! What a walk along a chain looks at.
//!
//! In: the tables of the stage. Out: [`Known`], which lends them.

use std::rc::Rc;

use crate::event::Tid;
use crate::fact::asleep::{ObjectSeen, OtherProcess};
use crate::machine::chain::attendance::Attendance;
use crate::machine::chain::cpus::Cpus;
use crate::machine::chain::history::Histories;
use crate::machine::chain::looks::{AsleepLook, AsleepLooks};
use crate::machine::chain::releases::Releases;
use crate::machine::chain::settling::Settling;
use crate::model::lasting::Became;

/// What is known of threads, for one walk.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub histories: &'a Histories,
    pub attendance: &'a Attendance,
    pub looks: &'a AsleepLooks,
    pub cpus: &'a Cpus,
    pub releases: &'a Releases,
    /// The endpoint of a request, by its number plus 1.
    pub endpoint_of: &'a dyn Fn(u64) -> u32,
    /// What the connection of a request has become by a moment, by the request's number plus 1; and the
    /// endpoint.
    pub lasting: &'a dyn Fn(u64, u64) -> Option<(Became, u32)>,
    /// Whether several processes read this connection.
    pub is_shared: &'a dyn Fn(u64) -> bool,
    /// Whether a process hands its requests to a pool of threads.
    pub hands_on: &'a dyn Fn(Tid) -> bool,
    /// Requests that came over a connection, by what distinguishes it at the client's end.
    pub over: &'a dyn Fn(u64) -> &'a [Rc<Settling>],
}

impl<'a> Known<'a> {
    /// Whether a process is one of the target's.
    pub(super) fn has_process(&self, tgid: Tid) -> bool {
        !self.histories.of_process(tgid).is_empty()
    }

    /// Threads that could serve a connection to the target itself, as a look saw it: those of the process
    /// that has accepted it, or who accepts there. `None`: it leads elsewhere.
    pub(super) fn served_by_itself(self, look: &AsleepLook) -> Option<&'a [Tid]> {
        let others = look.accepted_by();
        let ours = others.iter().map(|other| other.tgid).find(|tgid| self.has_process(*tgid));
        match ours {
            Some(tgid) => Some(self.histories.of_process(tgid)),
            None if look.own_listener == 0 || !others.is_empty() => None,
            None => Some(self.attendance.acceptors(look.own_listener)),
        }
    }

    /// The same of connections of a process to a port that were looked at about this time, if all of these
    /// lead to the target itself.
    pub(super) fn serves_itself_about(self, tgid: Tid, port: u16, at_ns: u64) -> Option<&'a [Tid]> {
        let tids = self.histories.of_process(tgid);
        let mut looks =
            self.looks.connections_about(tids, port, at_ns).map(|look| self.served_by_itself(look));
        let first = looks.next()??;
        looks.all(|there| there.is_some()).then_some(first)
    }

    /// Whether what was seen is a lock on a file that processes of the target had, and nobody else.
    pub(super) fn is_held_by_target(&self, seen: Option<u32>) -> bool {
        let ours = |holder: &OtherProcess| self.has_process(holder.tgid);
        match seen.and_then(|number| self.looks.object(number)) {
            Some(ObjectSeen::FileLock { holders, .. }) => !holders.is_empty() && holders.iter().all(ours),
            _ => false,
        }
    }

    /// Whether a look at a thread of a process saw it wait for what only that process itself can end. A pipe
    /// of which nobody else is seen is its own.
    pub(super) fn ends_inside(&self, tgid: Tid, look: &AsleepLook) -> bool {
        let others = self.looks.others(look);
        match &look.seen.object {
            Some(ObjectSeen::Pipe { path, .. }) => {
                others.iter().any(|other| other.tgid == tgid)
                    && others.iter().all(|other| self.has_process(other.tgid))
                    || others.is_empty() && path.is_empty()
            }
            Some(ObjectSeen::FileLock { holders, .. }) => {
                !holders.is_empty() && holders.iter().all(|holder| holder.tgid == tgid)
            }
            Some(ObjectSeen::Anonymous { .. }) => true,
            _ => false,
        }
    }
}
