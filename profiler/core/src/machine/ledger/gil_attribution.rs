//! Because of whom threads and requests waited for the interpreter lock, by what each thread was serving just
//! then.
//!
//! In: parts of waits, each with the thread that held the lock when it began. Out: shares of the thread that
//! waited, settled on what it serves; the holders of a request.

use crate::event::{Slice, Tid};
use crate::machine::lock::gil::{Locks, Part};
use crate::machine::lock::gil_held::{Held, Share, add_share};
use crate::machine::lock::gil_holder::{HeldBy, Holders};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::threads::Threads;
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;
use crate::model::gil::{Contender, Holder};
use crate::model::gil_waits::{GilWait, GilWaits, HeldAt, Sites};
use crate::model::path_shape::path_shape;
use crate::model::request::Request;

/// The stages that know who waited for a lock, who had it, and what these are to others.
#[derive(Debug)]
pub struct GilContext<'a> {
    /// What there is.
    pub world: &'a World,
    /// What goes over connections.
    pub wire: &'a Wire,
    /// Live threads.
    pub threads: &'a mut Threads,
    /// Interpreter locks, and who waited for them.
    pub locks: &'a mut Locks,
    /// The timeline wants thread slices.
    pub wants_slices: bool,
}

/// Because of whom a thread slept for the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitHolders {
    /// Who had it.
    pub by: Holders,
    /// Where both were, for the timeline.
    pub sites: Option<Box<Sites>>,
}

/// The request that a thread serves, where it serves one at a time.
fn served<'a>(wire: &'a Wire, thread: &Thread) -> Option<&'a Request> {
    let (number, id) = thread.serving.filter(|_| !thread.signs.takes_turns)?;
    if let Some(socket) = thread.job.light_socket {
        return wire.light.request(socket, id);
    }
    let connection = wire.connections.get(number)?;
    connection.requests.iter().map(|active| active.request.as_ref()).find(|request| request.id == id)
}

/// What a thread is to others: the endpoint that it serves, or itself.
fn contender(wire: &Wire, thread: &Thread, tid: Tid) -> Contender {
    let tgid = thread.tgid;
    match served(wire, thread) {
        Some(request) if request.http.method.is_empty() => Contender::Endpoint(String::new()),
        Some(request) => {
            let mut endpoint = path_shape(&request.http.path);
            endpoint.insert(0, ' ');
            endpoint.insert_str(0, &request.http.method);
            Contender::Endpoint(endpoint)
        }
        None => Contender::Thread { tgid, tid, comm: String::new() },
    }
}

/// Number of what a thread is to others, remembered as long as it serves the same request.
fn number_of(context: &mut GilContext<'_>, thread: &mut Thread, tid: Tid) -> u32 {
    if let Some((serving, number)) = thread.gil.contender
        && thread.serving == Some(serving)
    {
        context.locks.edges.use_again(number);
        return number;
    }
    let contender = contender(context.wire, thread, tid);
    let is_named = !matches!(&contender, Contender::Endpoint(name) if name.is_empty());
    let number = context.locks.edges.number(contender);
    thread.gil.contender = thread.serving.filter(|_| is_named).map(|serving| (serving, number));
    number
}

/// A slice of a thread is about to be processed, and may end the request that the thread serves. Others may
/// wait for the lock that this thread holds. So it is noted what the thread is to them: the endpoint that it
/// serves until now. Where nobody waits, this costs nothing.
pub fn note(context: &mut GilContext<'_>, thread: &mut Thread, tid: Tid) {
    if thread.serving.is_some() && context.locks.is_contended(thread.tgid) {
        number_of(context, thread, tid);
    }
}

/// The slice has been processed. It may have ended what the thread served `before`.
pub fn turned(thread: &mut Thread, before: Option<(u32, u64)>, exit_ns: u64) {
    if before.is_some()
        && thread.serving != before
        && let Some((serving, number)) = thread.gil.contender
        && Some(serving) == before
    {
        thread.gil.party_before = Some((number, exit_ns));
    }
}

/// Which part of a thread's slice was a wait for the interpreter lock, and who had the lock. What the thread
/// waited before belongs to what it serves.
#[inline]
pub fn follow(
    context: &mut GilContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    window_start_ns: u64,
) -> (Part, WaitHolders) {
    if thread.gil.at_lock.passes(slice) {
        if thread.serving.is_some() {
            settle(context, thread, slice.tid);
        }
        return (Part::None, WaitHolders::default());
    }
    follow_wait(context, thread, slice, window_start_ns)
}

#[inline(never)]
fn follow_wait(
    context: &mut GilContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    window_start_ns: u64,
) -> (Part, WaitHolders) {
    let (part, because) = part_of(context, thread, slice, window_start_ns);
    if because.is_none() && thread.serving.is_some() {
        settle(context, thread, slice.tid);
    }
    (part, because.unwrap_or_default())
}

/// Follows the slice that the window's end finds open: an attempt to take the lock ends with it, for what its
/// thread serves now.
pub fn last(
    context: &mut GilContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    window_start_ns: u64,
) -> (Part, WaitHolders) {
    let (part, because) = part_of(context, thread, slice, window_start_ns);
    let tid = slice.tid;
    if let Some(wait) = context.locks.end(tid, thread.gil.at_lock.episode.take(), window_start_ns) {
        thread.pending.has_waited(*wait);
    }
    settle(context, thread, tid);
    (part, because.unwrap_or_default())
}

fn part_of(
    context: &mut GilContext<'_>,
    thread: &mut Thread,
    slice: &Slice,
    window_start_ns: u64,
) -> (Part, Option<WaitHolders>) {
    let followed = context.locks.follow(&mut thread.gil.at_lock, slice, window_start_ns);
    continued(thread, followed.tail_ns);
    if let Some(wait) = followed.ended {
        thread.pending.has_waited(*wait);
    }
    let wait_ns = followed.part.wait_ns(slice, window_start_ns);
    (followed.part, wait_ns.map(|wait_ns| held(context, thread, slice, wait_ns)))
}

/// A slice is the next part of a thread's waiting, `wait_ns` long. Returns who had the lock. For the timeline
/// it also returns where both were.
pub fn held(context: &mut GilContext<'_>, thread: &mut Thread, slice: &Slice, wait_ns: u64) -> WaitHolders {
    let first = holder(context, thread, slice, slice.lock.holder_tid);
    let then = passed_on(context, thread, slice);
    let later_ns = then.map_or(0, |(since_ns, _)| slice.exit_ns.saturating_sub(since_ns).min(wait_ns));
    let first_ns = wait_ns.saturating_sub(later_ns);
    let sites = context.locks.samples.waited(slice, first_ns, first, context.wants_slices);
    let not_honoured_ns = thread.gil.at_lock.episode.map_or(0, |episode| episode.not_honoured_ns());
    let not_honoured_ns = not_honoured_ns.min(first_ns);
    add_share(&mut thread.gil.held, Share { by: first, wait_ns: first_ns, waits: 1, not_honoured_ns });
    if let Some((_, by)) = then {
        context.locks.samples.waited_unseen(slice.tid, by, later_ns);
        add_share(&mut thread.gil.held, Share { by, wait_ns: later_ns, waits: 1, not_honoured_ns: 0 });
    }
    let by = Holders { first, then };
    thread.gil.held_by = by.last();
    WaitHolders { by, sites }
}

/// The lock passed to another thread while this one slept for it. Returns when the other one was woken to
/// take it, and who that is. `None`: the lock did not pass on, or the thread that had it at the end had not
/// slept for it.
fn passed_on(context: &mut GilContext<'_>, thread: &Thread, slice: &Slice) -> Option<(u64, HeldBy)> {
    let last = slice.lock.last_holder_tid;
    if last == slice.lock.holder_tid || last == slice.tid {
        return None;
    }
    let since_ns = context.locks.took_in(last, slice).filter(|since_ns| *since_ns < slice.exit_ns)?;
    Some((since_ns, holder(context, thread, slice, last)))
}

/// A thread continues to wait by a further sleep (`slice`). Whoever has the lock as this sleep begins already
/// had it as the sleep before ended.
///
/// The sleep before lasted from `start_ns` to `until_ns`. `by` is who had the lock in it, as far as was
/// known: at its end the thread that woke this one, even if a third had taken the lock meanwhile. Returns who
/// had it by the law of [`held`], and moves the waiting time from the one to the other. `None`: nothing
/// changes.
pub fn looked_again(
    context: &mut GilContext<'_>,
    thread: &mut Thread,
    (slice, window_start_ns): (&Slice, u64),
    ((start_ns, until_ns), by): ((u64, u64), Holders),
) -> Option<Holders> {
    let found = slice.lock.holder_tid;
    if found == 0 || found == slice.tid || found == by.last().tid {
        return None;
    }
    let before = Slice { enter_ns: start_ns, ..*slice };
    let since_ns = context.locks.took_until(found, &before, until_ns).filter(|_| found != by.first.tid);
    let mut held = thread.gil.held.clone();
    if let Some((since_ns, woke)) = by.then {
        let wait_ns = until_ns.saturating_sub(since_ns.max(window_start_ns));
        pass(&mut held, (woke, 1), Share { by: by.first, wait_ns, ..Share::default() })?;
    }
    let mut then = None;
    if let Some(since_ns) = since_ns {
        let last = holder(context, thread, &Slice { enter_ns: since_ns, ..before }, found);
        let wait_ns = until_ns.saturating_sub(since_ns.max(window_start_ns));
        pass(&mut held, (by.first, 0), Share { by: last, wait_ns, waits: 1, not_honoured_ns: 0 })?;
        then = Some((since_ns, last));
    }
    held.retain(|share| share.wait_ns > 0 || share.waits > 0);
    thread.gil.held = held;
    (then != by.then).then_some(Holders { then, ..by })
}

/// Passes a part of a thread's shares on, with so many stretches of the one that had it. `None`: that one has
/// not so much.
fn pass(shares: &mut Vec<Share>, (from, waits): (HeldBy, u64), to: Share) -> Option<()> {
    let share = shares.iter_mut().find(|share| share.by == from && share.wait_ns >= to.wait_ns)?;
    share.wait_ns -= to.wait_ns;
    share.waits = share.waits.saturating_sub(waits);
    share.not_honoured_ns = share.not_honoured_ns.min(share.wait_ns);
    add_share(shares, to);
    Some(())
}

/// The last part continued for `tail_ns` after its sleep.
pub fn continued(thread: &mut Thread, tail_ns: u64) {
    if tail_ns > 0 {
        let by = thread.gil.held_by;
        add_share(&mut thread.gil.held, Share { by, wait_ns: tail_ns, waits: 0, not_honoured_ns: 0 });
    }
}

/// The thread `tid`, which had the lock while a thread's call waited for it.
fn holder(context: &mut GilContext<'_>, thread: &Thread, slice: &Slice, tid: Tid) -> HeldBy {
    // A thread that finds itself as the last holder had released the lock. Who took it since is not known.
    if tid == 0 || tid == slice.tid {
        return HeldBy::UNKNOWN;
    }
    if context.threads.get(tid).is_some_and(|other| other.tgid != thread.tgid) {
        // The number belongs to another process: what the interpreter says of the thread is wrong.
        return HeldBy::UNKNOWN;
    }
    if let Some(mut other) = context.threads.take(tid) {
        let before = other.gil.party_before.filter(|(_, until_ns)| *until_ns > slice.enter_ns);
        let contender = match before {
            Some((number, _)) => number,
            None => number_of(context, &mut other, tid),
        };
        context.threads.put(tid, other);
        return HeldBy { contender, tid };
    }
    if tid != thread.tgid && context.world.processes.is_seen(tid) {
        return HeldBy::UNKNOWN;
    }
    // The holder has not made a call yet, or has ended.
    let contender = Contender::Thread { tgid: thread.tgid, tid, comm: String::new() };
    HeldBy { contender: context.locks.edges.number(contender), tid }
}

/// What the thread waited belongs to what it serves now.
#[inline]
pub fn settle(context: &mut GilContext<'_>, thread: &mut Thread, tid: Tid) {
    // Most have not waited.
    let stood = context.locks.samples.blocks.has_ended(tid);
    if stood || !thread.gil.held.is_empty() {
        settle_all(context, thread, tid, stood);
    }
}

/// Attributes all that the thread waited to what it serves now. `stood`: where its code was meanwhile is
/// known.
fn settle_all(context: &mut GilContext<'_>, thread: &mut Thread, tid: Tid, stood: bool) {
    let waiter = number_of(context, thread, tid);
    if stood {
        context.locks.samples.blocks.settle(tid, waiter);
    }
    for share in std::mem::take(&mut thread.gil.held) {
        context.locks.edges.add(waiter, (thread.tgid, tid), &share);
    }
}

/// Who had the lock while a request waited for it, longest first.
pub fn holders(world: &World, locks: &Locks, held: &Held) -> Vec<Holder> {
    let name = |tid| world.processes.names.get(&tid).cloned().unwrap_or_default();
    let mut holders: Vec<Holder> = held
        .iter()
        .map(|(by, wait_ns)| Holder {
            contender: locks.edges.contender(by.contender, name),
            tid: by.tid,
            wait_ns,
        })
        .filter(|holder| holder.contender != Contender::Unknown)
        .collect();
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.wait_ns), holder.tid));
    holders
}

/// The waits of a request for the lock, one by one. `None`: there are none, or nobody asked.
pub fn listed_waits(world: &World, locks: &Locks, held: &Held) -> Option<Box<GilWaits>> {
    if held.waits.is_empty() {
        return None;
    }
    let name = |tid| world.processes.names.get(&tid).cloned().unwrap_or_default();
    let samples = &locks.samples;
    let listed = held.waits.longest().map(|wait| {
        let contender = locks.edges.contender(wait.by.contender, name);
        let is_known = contender != Contender::Unknown;
        let (tid, wait_ns) = if is_known { (wait.by.tid, wait.held_ns) } else { (0, wait.length_ns()) };
        let found = wait.found.as_ref().filter(|_| is_known);
        let held_at =
            found.and_then(|(stack, wait_ns)| Some(HeldAt { site: samples.site(stack)?, wait_ns: *wait_ns }));
        GilWait {
            start_ns: wait.start_ns,
            wait_ns: wait.length_ns(),
            holder: Holder { contender, tid, wait_ns },
            held_at,
            stood_at: wait.stood.as_ref().and_then(|stack| samples.site(stack)),
        }
    });
    let (others, others_ns) = held.waits.others();
    Some(Box::new(GilWaits { listed: listed.collect(), others, others_ns }))
}
