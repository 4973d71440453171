//! Who waits for the interpreter lock, and who has it: an endpoint, a thread.
//!
//! In: a side of a wait, a holder. Out: what each is called; null where that is not known.

use profiler_core::model::gil;
use serde::Serialize;

use super::non_empty;

view! {
    /// Who had the lock while a request waited for it.
    pub(crate) struct Holder<'a>(holder: &'a gil::Holder) with {
        let (endpoint, name) = match &holder.contender {
            gil::Contender::Endpoint(endpoint) => (Some(endpoint.as_str()), None),
            gil::Contender::Thread { comm, .. } => (None, non_empty(comm)),
            gil::Contender::Unknown => (None, None),
        };
    } {
        endpoint: Option<&'a str> = endpoint,
        tid: Option<u32> = known(holder.tid),
        name: Option<&'a str> = name,
        wait_ns: u64 = holder.wait_ns,
    }
}

/// A thread's number, if it is known.
pub(super) fn known(tid: u32) -> Option<u32> {
    (tid > 0).then_some(tid)
}

/// A side of a wait.
#[derive(Default, Serialize)]
pub(super) struct Contender<'a> {
    endpoint: Option<&'a str>,
    pid: Option<u32>,
    tid: Option<u32>,
    name: Option<&'a str>,
}

impl<'a> Contender<'a> {
    pub(super) fn new(contender: &'a gil::Contender) -> Self {
        match contender {
            gil::Contender::Endpoint(name) => Self { endpoint: Some(name), ..Self::default() },
            gil::Contender::Thread { tgid, tid, comm } => {
                Self { endpoint: None, pid: Some(*tgid), tid: Some(*tid), name: non_empty(comm) }
            }
            gil::Contender::Unknown => Self::default(),
        }
    }
}
