//! Which waits are looked at for where in Python they were.
//!
//! In: calls that have ended, how long their threads slept in them. Out: samples ([`crate::stack`]). A wait
//! of the step that user space sets, or longer, is looked at always. Of shorter ones those are drawn in which
//! a point of their common time lies: there is one in each step, anywhere in it, and it stands for a whole
//! step. So sums are right on average, of many short waits as of few long ones.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_get_prandom_u32};
use profiler_common::account::ThreadAccount;
use profiler_common::call_kind::Kind;
use profiler_common::record::slice::FLAG_CLIENT;
use profiler_common::stack::{DRAWN, DRAWN_TWICE};

use crate::account::Account;
use crate::maps::WAIT_STEP;
use crate::stack::{self, About, OF_HOOKS};

/// What is looked at of a call that ends, if anything is. Not waits for work or for a lock, of which each
/// request has several, nor those for clients.
#[inline(always)]
pub fn choose(
    account: &ThreadAccount,
    (number, kind): (u32, Kind),
    flags: u32,
    now_ns: u64,
) -> Option<About> {
    let slept_ns = account.blocked_ns;
    if slept_ns == 0
        || flags & FLAG_CLIENT != 0
        || matches!(kind, Kind::Futex | Kind::EpollWait | Kind::Accept)
    {
        return None;
    }
    let step_ns = WAIT_STEP.get(0).map_or(0, |step_ns| *step_ns);
    if step_ns == 0 {
        return None;
    }
    let about = About {
        tgid: account.tgid,
        tid: account.tid,
        time_ns: now_ns,
        slept_ns,
        system_call: number,
        drawn_ns: 0,
        flags: 0,
    };
    if slept_ns >= step_ns {
        return Some(about);
    }
    let flags = draw(slept_ns, step_ns)?;
    Some(About { slept_ns: step_ns, drawn_ns: slept_ns as u32, flags, ..about })
}

/// Whether a point lies in this sleep, which is shorter than a step, or two: the flags of its sample.
#[inline(always)]
fn draw(slept_ns: u64, step_ns: u64) -> Option<u32> {
    let scratch = stack::scratch(OF_HOOKS)?;
    // SAFETY: the look-up succeeded; hooks run one at a time.
    unsafe {
        let point_ns = (*scratch).point.wrapping_mul(step_ns) >> 32;
        let begin_ns = (*scratch).at_ns;
        let end_ns = begin_ns.wrapping_add(slept_ns);
        let mut points = u32::from(begin_ns <= point_ns && point_ns < end_ns);
        (*scratch).at_ns = end_ns;
        if end_ns >= step_ns {
            // The next step begins in this sleep.
            let point = u64::from(bpf_get_prandom_u32());
            let end_ns = end_ns.wrapping_sub(step_ns);
            points = points.wrapping_add(u32::from(point.wrapping_mul(step_ns) >> 32 < end_ns));
            (*scratch).point = point;
            // A step that became shorter begins again.
            (*scratch).at_ns = if end_ns < step_ns { end_ns } else { 0 };
        }
        match points {
            0 => None,
            1 => Some(DRAWN),
            _ => Some(DRAWN | DRAWN_TWICE),
        }
    }
}

/// Looks at where the thread of `account` is, which runs here.
#[inline(always)]
pub fn look(account: Account, about: About) {
    // SAFETY: the helper has no preconditions; hooks that write run one at a time.
    unsafe { stack::sample(OF_HOOKS, about, bpf_get_current_task_btf(), Some(account)) };
}
