//! Jobs whose result the loop has before a note of the thread is seen.
//!
//! In: a request that resumes, the thread that was woken for it. Out: what is seen of the thread until now,
//! as part of the request.
//!
//! There are two reasons for a missing note. The interpreter lock went to the loop before the thread could
//! write it. Or another thread's note was pending: then libuv writes none (`uv_async_send`), as under uvloop.

use crate::event::Tid;
use crate::machine::runtime::event_loop::Looks;
use crate::machine::runtime::state::RuntimeContext;
use crate::machine::wire::request::{HandedTo, RequestKey};

/// The loop resumes a request whose thread has handed back its result, and no note of the thread is seen.
/// What is seen of the thread until now was for that request. `first_run_ns`: when the request ran first, at
/// the earliest.
pub(in crate::machine) fn take_back(
    state: &mut RuntimeContext<'_>,
    tgid: Tid,
    key: RequestKey,
    (handed_to, first_run_ns): (HandedTo, Option<u64>),
    looks: &Looks,
) {
    let Some(thread) = state.runtime.threads.get_mut(handed_to.tid) else { return };
    let Some(active) = state.wire.connections.active_mut(key) else { return };
    let do_tell = state.runtime.pools.tasks_tell(tgid);
    thread.pooled.handed.wait_for_turn(active, first_run_ns, handed_to.begin_ns);
    thread.pooled.handed.pass_before(active, handed_to.begin_ns, do_tell, looks);
    active.pooled = true;
    active.take_pieces(&mut thread.pending, tgid, handed_to.tid);
    thread.pooled.works_for = Some(key);
    thread.pooled.woken_for = None;
    if let Some(pool) = state.runtime.pools.get_mut(tgid) {
        pool.open.remove(&handed_to.tid);
        pool.at_work.retain(|(tid, ..)| *tid != handed_to.tid);
        pool.working.retain(|(tid, _)| *tid != handed_to.tid);
        pool.working.push((handed_to.tid, key));
    }
}
