//! Processes of the target that come near their limit of open files.
//!
//! In: the target's processes. Out: facts where something has changed. A look is one `stat` a process: since
//! Linux 6.2 the size of `/proc/PID/fd` is the number of descriptors. Before, they are counted once a second.
//! A process that is far from its limit is looked at once a second, too.

use std::collections::BTreeMap;

use profiler_core::fact::Fact;
use profiler_core::fact::open_files::OpenFiles as Reading;

use crate::fact::Proc;
use crate::fact::descriptor::open_count;
use crate::fact::process::open_files_limit;

/// Processes looked at.
const MAX_PROCESSES: usize = 1024;

/// A process is far from its limit with fewer descriptors than this part of it.
const FAR: u64 = 4;

/// What was read last.
#[derive(Default)]
pub(super) struct OpenFiles {
    last: BTreeMap<u32, Reading>,
}

impl OpenFiles {
    /// Readings of those near their limit, where they have changed. `may_count`: by counting, where that is
    /// the only way.
    pub(super) fn changed(&mut self, proc: &Proc, tgids: &[u32], may_count: bool) -> Vec<Fact> {
        self.last.retain(|tgid, _| tgids.contains(tgid));
        let mut facts = Vec::new();
        for &tgid in tgids.iter().take(MAX_PROCESSES) {
            let is_far = |last: &Reading| last.open.saturating_mul(FAR) < last.limit;
            if !may_count && self.last.get(&tgid).is_some_and(is_far) {
                continue;
            }
            let Some(open) = open_count(proc, tgid, may_count) else { continue };
            if self.last.get(&tgid).is_some_and(|last| last.open == open) {
                continue;
            }
            let Some(limit) = open_files_limit(proc, tgid) else { continue };
            let reading = Reading { tgid, open, limit };
            self.last.insert(tgid, reading);
            // At three quarters and beyond; below it nobody wants to know.
            if open.saturating_mul(4) >= limit.saturating_mul(3) {
                facts.push(Fact::OpenFiles(reading));
            }
        }
        facts
    }
}
