//! Whose processes stand at the other end of what threads sleep on.
//!
//! In: [`Look`]s of one round. Out: the same with the processes. One look through `/proc` serves all of
//! them.

use std::collections::BTreeSet;

use profiler_core::fact::asleep::{ObjectSeen, OtherProcess};

use super::locks::FileNumber;
use super::others::Holder;
use super::{Look, Looks, Reader};

/// Processes named of one object.
const MAX_NAMED: usize = 16;

/// Which of those that have a file open are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Who can read from it.
    Readers,
    /// Who can write to it.
    Writers,
    /// Who holds a lock on it by an open file: another than that of this descriptor of the one that waits.
    Lockers {
        /// The descriptor.
        fd: u32,
    },
    /// Everyone.
    Any,
}

/// What the other end is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// What links of descriptors say.
    pub(super) link: String,
    /// Which of them.
    pub(super) which: Which,
    /// The very file, where another may have the same path elsewhere.
    pub(super) file: Option<FileNumber>,
}

impl Ends {
    /// Those of a link that says it all.
    pub(super) fn of(link: &str, which: Which) -> Self {
        Self { link: link.to_owned(), which, file: None }
    }
}

impl Look {
    /// Whether its processes are still to be found.
    pub const fn is_open(&self) -> bool {
        self.ends.is_some()
    }

    /// Takes away which processes were found.
    pub fn forget_others(&mut self) {
        put(&mut self.seen.object, Vec::new());
    }
}

impl Reader {
    /// Finds the processes of these looks, as far as that may be done now. Says which looks have more for
    /// it; they are true as of now.
    pub fn find_others(&mut self, looks: &mut [Look]) -> Vec<bool> {
        let mut unknown = BTreeSet::new();
        for ends in looks.iter().filter_map(|look| look.ends.as_ref()) {
            if self.others.known(&self.proc, &ends.link).is_none() {
                unknown.insert(ends.link.clone());
            }
        }
        let only = (self.looks == Looks::Own).then_some(self.target.as_slice());
        let pause = self.others.pause();
        self.others.look(&self.proc, &unknown, only);
        let mut has_more = Vec::with_capacity(looks.len());
        for look in looks {
            let Some(ends) = look.ends.take() else {
                has_more.push(false);
                continue;
            };
            let found = self.at(&ends, look.seen.tgid);
            if found.is_empty() && unknown.contains(&ends.link) {
                look.again = look.again.or(pause);
            }
            has_more.push(!found.is_empty());
            put(&mut look.seen.object, found);
        }
        has_more
    }

    /// Who is there.
    fn at(&mut self, ends: &Ends, sleeper: u32) -> Vec<OtherProcess> {
        let holders = self.others.known(&self.proc, &ends.link).unwrap_or_default();
        let mut tgids = Vec::new();
        for holder in holders {
            if tgids.len() < MAX_NAMED
                && !tgids.contains(&holder.tgid)
                && self.is_meant(ends, holder, sleeper)
            {
                tgids.push(holder.tgid);
            }
        }
        tgids.into_iter().filter_map(|tgid| self.process(tgid)).collect()
    }

    /// Whether a holder is one of those that are meant.
    fn is_meant(&mut self, ends: &Ends, Holder { tgid, fd }: Holder, sleeper: u32) -> bool {
        if ends.which == Which::Any && ends.file.is_none() {
            return true;
        }
        let Some(open) = self.open(tgid, fd).filter(|open| open.link == ends.link) else { return false };
        let (reads, writes) = open.info.directions();
        let is_the_end = match ends.which {
            Which::Readers => reads,
            Which::Writers => writes,
            Which::Lockers { fd: waits } => {
                // Locks of a process keep its own threads from nothing.
                (tgid != sleeper || fd != waits)
                    && open.info.locks.iter().any(|kind| tgid != sleeper || kind != "POSIX")
            }
            Which::Any => true,
        };
        is_the_end && ends.file.is_none_or(|file| open.number() == Some(file))
    }
}

/// Puts processes where they belong.
fn put(object: &mut Option<ObjectSeen>, found: Vec<OtherProcess>) {
    match object {
        Some(
            ObjectSeen::Pipe { others, .. }
            | ObjectSeen::Unix { others, .. }
            | ObjectSeen::Tcp { others, .. },
        ) => *others = found,
        Some(ObjectSeen::FileLock { holders, .. }) => *holders = found,
        _ => {}
    }
}
