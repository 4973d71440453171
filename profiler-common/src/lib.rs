//! Records that cross the line between the kernel programs and user space, one file per kind.
//!
//! In: nothing. Out: `repr(C)` layouts made of integers and byte arrays only, shared by `profiler-ebpf`
//! (which writes them) and `profiler-core` (which decodes them). There is one definition of each; the tests
//! at the bottom of each file pin size and offsets, so that a change of layout shows in review.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod account;
pub mod call_kind;
pub mod gap_sleep;
pub mod gil;
pub mod limits;
pub mod listener;
pub mod loss;
pub mod preemption;
pub mod queue;
pub mod record;
pub mod ring;
pub mod stack;
pub mod system_call;
pub mod timers;
pub mod waiting;
