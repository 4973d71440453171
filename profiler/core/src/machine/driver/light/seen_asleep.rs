//! Light mode: threads that sleep as the window ends, in a sleep that no record has told of. A look does.
//!
//! In: what a thread's account says as the window ends, and the last look at it. Out: its sleep.

use crate::event::{Slept, SleptOn};
use crate::fact::OpenSlice;
use crate::fact::asleep::ObjectSeen;
use crate::machine::chain::looks::{AsleepLook, port_of};
use crate::machine::chain::state::Chain;
use crate::machine::world::state::World;

/// The sleep that a thread was in when it was last looked at, if it goes on. `None`: it has ended, or the
/// thread was not looked at.
pub(super) fn seen_asleep(world: &World, chain: &Chain, open: &OpenSlice, end_ns: u64) -> Option<Slept> {
    let look = chain.looks.last(open.tid).filter(|look| look.seen.tgid == open.tgid)?;
    let since_ns = look.seen.since_ns;
    // A sleep that has ended has a record, and all that came after it lies in the account.
    let asleep_ns = end_ns.checked_sub(since_ns).filter(|asleep_ns| *asleep_ns <= open.gap.blocked_ns)?;
    let has_ended = chain.histories.get(open.tid).is_some_and(|history| history.end_ns() > since_ns);
    if open.system_call.is_some() || has_ended || asleep_ns == 0 {
        return None;
    }
    let asleep = as_slept(world, look, end_ns)?;
    Some(Slept { cpu_ns: open.gap.cpu_ns, sequence: open.sequence, ..asleep })
}

/// The sleep that a look saw, up to `end_ns`. `None`: it is in no call.
pub(in crate::machine::driver) fn as_slept(world: &World, look: &AsleepLook, end_ns: u64) -> Option<Slept> {
    let system_call = i32::try_from(look.seen.system_call?).ok()?;
    let [argument, ..] = look.seen.arguments;
    Some(Slept {
        tgid: look.seen.tgid,
        tid: look.seen.tid,
        start_ns: look.seen.since_ns,
        woken_ns: end_ns,
        cpu_ns: 0,
        system_call,
        on: slept_on(world, look),
        argument,
        events: 0,
        sequence: 0,
        client: 0,
        is_shut: false,
        woken_by: 0,
        lock: None,
    })
}

fn slept_on(world: &World, look: &AsleepLook) -> SleptOn {
    match &look.seen.object {
        Some(ObjectSeen::Tcp { local, peer, .. }) => {
            if port_of(local).is_some_and(|port| world.processes.listener_at(port).is_some()) {
                SleptOn::Client
            } else {
                SleptOn::Socket { port: port_of(peer).unwrap_or(0) }
            }
        }
        Some(ObjectSeen::Unix { .. }) => SleptOn::Socket { port: 0 },
        Some(ObjectSeen::Pipe { .. }) => SleptOn::Pipe,
        Some(ObjectSeen::File(_) | ObjectSeen::FileLock { .. }) => SleptOn::File,
        Some(ObjectSeen::Anonymous { .. }) => SleptOn::Anonymous,
        Some(ObjectSeen::Device { .. }) => SleptOn::Other,
        Some(ObjectSeen::Child(_) | ObjectSeen::By(_)) | None => SleptOn::Nothing,
    }
}
