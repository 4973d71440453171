//! The programs, one file per attach family.
//!
//! In: hooks. Out: accounts and records. What system calls mean for connections is in `client` and
//! `back_end`.

mod arrival;
mod back_end;
mod client;
mod clock;
mod evidence;
mod gil;
mod iterate;
mod lifecycle;
mod light;
mod light_head;
mod queue;
mod sched;
mod sleep;
mod socket;
mod system_call;
mod tls;
mod waiting;
