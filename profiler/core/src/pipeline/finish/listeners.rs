//! The listeners of a target, at the end of a window.
//!
//! In: what was seen of them and counted. Out: rows of the snapshot.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::Tid;
use crate::fact::holders::ForeignHolders;
use crate::machine::driver::state::State;
use crate::machine::world::listener::Listeners;
use crate::model::{Listener, Process};
use crate::server::Role;

/// The families of those that take requests: what no worker holds is not for them, as the control socket of
/// gunicorn 27.
pub(super) fn families_for_requests<'a>(listeners: &'a [Listener], processes: &[Process]) -> Vec<&'a str> {
    let works = |process: &&Process| process.role == Role::Worker.name();
    let workers: FxHashSet<Tid> = processes.iter().filter(works).map(|process| process.tgid).collect();
    let serves =
        |one: &&Listener| workers.is_empty() || one.holders.iter().any(|tgid| workers.contains(tgid));
    listeners.iter().filter(serves).map(|listener| listener.seen.family.as_str()).collect()
}

/// One row for each, with what its holders counted.
pub(super) fn told(state: &State, counted: &Listeners) -> Vec<Listener> {
    let mut list: Vec<Listener> = Vec::new();
    // Where the first one stands: there may be as many listeners as processes.
    let mut of_inode: FxHashMap<u64, usize> = FxHashMap::default();
    let mut of_address: FxHashMap<&str, usize> = FxHashMap::default();
    for seen in &state.world.processes.listeners {
        let [accepted, empty, failed] =
            state.world.accepts.get(&(seen.tgid, seen.fd)).copied().unwrap_or_default();
        let known = match seen.inode {
            0 => of_address.get(seen.address.as_str()).copied(),
            inode => of_inode.get(&inode).copied(),
        };
        let number = known.unwrap_or(list.len());
        if known.is_none() {
            // The hook that sees arrivals also sees announcements to UNIX listeners.
            let is_seen = state.world.arrival_measured || seen.family != "unix";
            let wakes = counted.wakes(seen.inode).filter(|_| is_seen);
            list.push(Listener { seen: seen.clone(), wakes, is_closed: true, ..Listener::default() });
            of_inode.entry(seen.inode).or_insert(number);
            of_address.entry(&seen.address).or_insert(number);
        }
        let Some(place) = list.get_mut(number) else { continue };
        place.is_closed &= seen.fd < 0;
        let is_held = seen.fd >= 0 && !state.world.processes.ended.contains_key(&seen.tgid);
        if is_held && !place.holders.contains(&seen.tgid) {
            place.holders.push(seen.tgid);
        }
        place.accepted += accepted;
        match place.accepted_by.iter_mut().find(|(tgid, _)| *tgid == seen.tgid) {
            Some((_, count)) => *count += accepted,
            None => place.accepted_by.push((seen.tgid, accepted)),
        }
        place.accepts_empty += empty;
        place.accepts_failed += failed;
        let empty = counted.empty_returns(seen.tgid, seen.fd);
        place.empty_returns = place.empty_returns.saturating_add(empty.count);
        place.empty_returns_cpu_ns = place.empty_returns_cpu_ns.saturating_add(empty.cpu_ns);
        if let Some(waits) = counted.accept_wait(seen.tgid, seen.fd) {
            place.accept_wait.merge(waits);
        }
    }
    // A listener of which nothing is known and from which nothing came is not reported.
    list.retain(|listener| !listener.seen.family.is_empty() || listener.accepted > 0);
    list
}

/// In light mode neither calls nor what arrivals wake is seen: what the kernel says of the queue is left.
pub(super) fn leave_queue_alone(listener: &mut Listener) {
    *listener = Listener {
        seen: std::mem::take(&mut listener.seen),
        holders: std::mem::take(&mut listener.holders),
        foreign: std::mem::take(&mut listener.foreign),
        is_closed: listener.is_closed,
        queue: listener.queue.take(),
        is_queue_alone: true,
        ..Listener::default()
    };
}

/// Who holds it beside the target. A process that was born into the target since then does not count.
pub(super) fn held_by_others(
    listener: &Listener,
    state: &State,
    foreign: &ForeignHolders,
) -> Vec<(Tid, String)> {
    let of_it = foreign.holders.iter().filter(|holder| holder.inode == listener.seen.inode);
    let is_own = |tgid: Tid| state.world.processes.is_seen(tgid);
    of_it.filter(|holder| !is_own(holder.tgid)).map(|holder| (holder.tgid, holder.comm.clone())).collect()
}

/// Counts, for each open listener, the other open ones with the same address.
pub(super) fn count_siblings(listeners: &mut [Listener]) {
    let open = listeners.iter().filter(|listener| !listener.is_closed);
    let mut counts: FxHashMap<String, u32> = FxHashMap::default();
    for listener in open {
        let count = counts.entry(listener.seen.address.clone()).or_default();
        *count = count.saturating_add(1);
    }
    for listener in listeners.iter_mut().filter(|listener| !listener.is_closed) {
        let same = counts.get(&listener.seen.address).copied().unwrap_or(0);
        listener.siblings = same.saturating_sub(1);
    }
}
