//! Who waits for the interpreter lock, and who has it: an endpoint, a thread.
//!
//! In: a side of a wait, a holder. Out: what each is called; null where that is not known.

use profiler_core::model::gil;
use serde::Serialize;

use super::non_empty;

view! {
    /// Who had the interpreter lock while a request waited for it; all null: not known.
    pub(crate) struct GilHolder<'a>(holder: &'a gil::Holder) with {
        let (endpoint, name) = match &holder.contender {
            gil::Contender::Endpoint(endpoint) => (Some(endpoint.as_str()), None),
            gil::Contender::Thread { comm, .. } => (None, non_empty(comm)),
            gil::Contender::Unknown => (None, None),
        };
    } {
        /// Endpoint that the holder served just then; null: none, or not known.
        endpoint: Option<&'a str> = endpoint,
        /// Thread that had the lock; null: not known.
        tid: Option<u32> = known(holder.tid),
        /// Name of a thread that served no request; null otherwise.
        name: Option<&'a str> = name,
        /// Time waited because of it, in ns.
        wait_ns: u64 = holder.wait_ns,
    }
}

/// A thread's number, if it is known.
pub(super) fn known(tid: u32) -> Option<u32> {
    (tid > 0).then_some(tid)
}

/// One side of a wait for the interpreter lock; all null: it could not be told.
#[derive(Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Contender<'a> {
    /// Method and path shape of the requests that the thread served meanwhile (empty: no head was read);
    /// null: it served none.
    endpoint: Option<&'a str>,
    /// Process of a thread that served no request; null otherwise.
    pid: Option<u32>,
    /// That thread; null otherwise.
    tid: Option<u32>,
    /// Its name; null: not known, or there is none.
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
