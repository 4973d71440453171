//! Who waits for each listener, and how evenly its connections went to those who do.
//!
//! In: the listeners of a snapshot. Out: an entry each; nothing where nobody was seen to wait.

use profiler_core::model::{Listener, Snapshot};

use super::block::Blocks;
use crate::report::unit;

pub(super) fn entries(body: &mut Blocks<'_>, snapshot: &Snapshot) {
    let shown = snapshot.sockets.listeners.iter().filter(|listener| !listener.waiters.is_empty());
    for (number, listener) in shown.enumerate() {
        if number == 0 {
            body.gap();
        }
        body.entry(&listener.seen.address, words(listener));
    }
}

/// `8 threads of 8 processes wait in poll or select; connections by process: most 15, fewest 9`.
fn words(listener: &Listener) -> String {
    let ways: Vec<String> = listener
        .waiters
        .iter()
        .map(|waiters| {
            let threads = unit::counted(u64::from(waiters.threads), "thread");
            let processes = unit::counted(u64::from(waiters.processes), "process");
            let verb = if waiters.threads == 1 { "waits" } else { "wait" };
            format!("{threads} of {processes} {verb} {}", waiters.how.words())
        })
        .collect();
    let mut words = ways.join("; ");
    if listener.siblings > 0 {
        let others = unit::counted(u64::from(listener.siblings), "other listener");
        words.push_str(&format!("; one queue of a group: {others} on this address"));
    }
    if let [first, second, rest @ ..] = listener.accepted_by.as_slice() {
        let counts = || [first, second].into_iter().chain(rest).map(|(_, accepted)| *accepted);
        let most = unit::count(counts().max().unwrap_or(0));
        let fewest = unit::count(counts().min().unwrap_or(0));
        words.push_str(&format!("; accepted by one process: {fewest} to {most} connections"));
    }
    words
}
