//! A number that changes whenever a kernel record is laid out differently.
//!
//! In: the layouts of `profiler-common`. Out: [`LAYOUT_HASH`], computed when the program is built, and
//! whether a recording with another number can be read.

use std::mem::offset_of;

use profiler_common::record::connection::ConnectionRecord;
use profiler_common::record::evidence::EvidenceRecord;
use profiler_common::record::frames::{Frame, FramesRecord};
use profiler_common::record::head::HeadRecord;
use profiler_common::record::lifecycle::LifecycleRecord;
use profiler_common::record::light::{LightEndRecord, LightRecord};
use profiler_common::record::plaintext::PlaintextRecord;
use profiler_common::record::sleep::SleepRecord;
use profiler_common::record::slice::{SliceRecord, Undecided};
use profiler_common::record::taken::{Stint, TakenRecord};
use profiler_common::record::task::TaskRecord;
use profiler_common::record::timer::TimerRecord;
use profiler_common::record::wake::WakeRecord;
use profiler_common::record::{
    KIND_CONNECTION, KIND_EVIDENCE, KIND_FRAMES, KIND_HEAD, KIND_LIFECYCLE, KIND_LIGHT, KIND_LIGHT_END,
    KIND_PLAINTEXT, KIND_SLEEP, KIND_SLICE, KIND_TAKEN, KIND_TASK, KIND_TIMER, KIND_WAITER_FRAMES, KIND_WAKE,
    RecordHeader,
};

/// Kind, size and offsets, in the order of declaration; a missing field is an error of the compiler. Behind a
/// field of several words, where in it the further ones begin.
macro_rules! layout {
    ($kind:expr, $record:ident { $($field:ident $([$($word:literal),+])?),* $(,)? }) => {{
        // Names every field: a new one that is missing here does not compile.
        const fn _complete(record: &$record) {
            let $record { $($field: _),* } = record;
        }
        &[
            $kind as usize,
            size_of::<$record>(),
            $(offset_of!($record, $field) $($(, offset_of!($record, $field) + $word)+)?),*
        ]
    }};
}

/// How many of the layouts the oldest recordings have that can be read: later ones came behind them, as kinds
/// of their own.
const OLDEST: usize = 16;

const LAYOUTS: &[&[usize]] = &[
    layout!(0, RecordHeader { kind, length_bytes, cpu, time_ns, tgid, tid }),
    layout!(
        KIND_SLICE,
        SliceRecord {
            header,
            enter_ns,
            detail,
            result,
            call_cpu_ns,
            call_run_queue_ns,
            call_blocked_ns,
            gap_cpu_ns,
            gap_run_queue_ns,
            gap_blocked_ns,
            gap_fault_ns,
            folded_ns,
            sequence,
            folded_calls,
            call_switches,
            gap_switches,
            waker_tid,
            gap_blocked_call,
            take_tail_ns,
            system_call,
            flags,
        }
    ),
    layout!(KIND_SLICE, Undecided { call_ns, gap_ns }),
    layout!(
        KIND_HEAD,
        HeadRecord { header, fd, direction, sequence, offset_bytes, captured_bytes, reserved }
    ),
    layout!(KIND_LIFECYCLE, LifecycleRecord { header, what, other_tgid, other_tid, reserved, detail, comm }),
    layout!(
        KIND_CONNECTION,
        ConnectionRecord {
            header,
            socket,
            established_ns,
            generation,
            fd,
            listener_fd,
            origin,
            family,
            local_port,
            peer_port,
            delayed_ms,
        }
    ),
    layout!(
        KIND_WAKE,
        WakeRecord {
            header,
            listener_inode,
            announced_ns,
            woken_ns,
            established_ns,
            cpu_ns,
            run_queue_ns,
            switches,
            outcome,
            system_call,
            argument,
            peer_port,
            reserved,
            result,
        }
    ),
    layout!(
        KIND_EVIDENCE,
        EvidenceRecord {
            header,
            socket,
            established_ns,
            what,
            generation,
            stage,
            state,
            unread_bytes,
            unacknowledged_bytes,
            local_port,
            peer_port,
            detail[4, 8],
            sender_comm,
        }
    ),
    layout!(0, Frame { code, instruction }),
    layout!(KIND_FRAMES, FramesRecord { header, count, flags, frames }),
    layout!(KIND_WAITER_FRAMES, FramesRecord { header, count, flags, frames }),
    layout!(
        KIND_LIGHT,
        LightRecord {
            header,
            socket,
            bytes,
            arrival_ns,
            since_ns,
            cpu_ns,
            run_queue_ns,
            blocked_ns,
            generation,
            what,
            sequence,
            switches,
            flags,
            family,
            local_port,
        }
    ),
    layout!(
        KIND_LIGHT_END,
        LightEndRecord {
            header,
            socket,
            established_ns,
            generation,
            flags,
            error,
            family,
            local_port,
            peer_port,
        }
    ),
    layout!(KIND_TASK, TaskRecord { header, task }),
    layout!(KIND_SLEEP, SleepRecord { header, start_ns, woken_ns, cpu_ns, detail, system_call, sequence }),
    layout!(KIND_PLAINTEXT, PlaintextRecord { header, session, direction, captured_bytes, moved_bytes }),
    layout!(KIND_TAKEN, TakenRecord { header, since_ns, flags, count }),
    layout!(0, Stint { from_ns, until_ns, ran_ns, tgid, tid, flags, reserved, comm }),
    layout!(KIND_TIMER, TimerRecord { header, task, due_ns }),
];

/// FNV-1a (64 bit) over `LAYOUTS`.
pub const LAYOUT_HASH: u64 = hash(LAYOUTS);

/// Whether a recording with this number holds only records that are laid out as they are now.
pub(super) fn is_known(layout_hash: u64) -> bool {
    (OLDEST..=LAYOUTS.len()).any(|count| LAYOUTS.get(..count).is_some_and(|known| hash(known) == layout_hash))
}

const fn hash(layouts: &[&[usize]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut layouts = layouts;
    while let [layout, others @ ..] = layouts {
        let mut numbers = *layout;
        while let [number, after @ ..] = numbers {
            hash = (hash ^ *number as u64).wrapping_mul(0x0000_0100_0000_01b3);
            numbers = after;
        }
        // Tells "one longer record" from "two shorter ones".
        hash = (hash ^ u64::MAX).wrapping_mul(0x0000_0100_0000_01b3);
        layouts = others;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_without_the_kinds_that_came_later_can_be_read_and_no_others() {
        assert!(is_known(LAYOUT_HASH) && is_known(hash(&LAYOUTS[..OLDEST])));
        assert!(!is_known(hash(&LAYOUTS[..OLDEST - 1])) && !is_known(LAYOUT_HASH ^ 1));
    }

    #[test]
    fn every_change_of_a_number_changes_the_hash() {
        assert_ne!(hash(&[&[1, 24, 0, 8]]), hash(&[&[1, 24, 8, 0]]));
        assert_ne!(hash(&[&[1, 24, 0, 8]]), hash(&[&[1, 32, 0, 8]]));
        assert_ne!(hash(&[&[1, 2], &[3]]), hash(&[&[1, 2, 3]]));
    }
}
