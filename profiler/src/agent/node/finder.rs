//! Finds servers as they come, without reading all of `/proc` again and again.
//!
//! In: `/proc`. Out: the servers of this node, whenever there may be new ones. All processes are looked
//! through once a minute. In between only those are looked at that were born since: the kernel says which
//! number it gave last. If one of them may be a server, all are looked through a bit earlier.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::fact::Proc;
use crate::fact::find::{Found, KnownServers, may_come_to_serve};
use crate::fact::process::{is_process, last_number};

/// How often all processes are looked through.
const ALL_EVERY: Duration = Duration::from_secs(60);
/// How soon after such a look the next may come, for a server that was just started.
const NOT_SOONER: Duration = Duration::from_secs(5);
/// When after its birth a process is looked at: it may first import, and listen later.
const AGES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(12), Duration::from_secs(40)];
/// Processes that are waited for.
const MAX_YOUNG: usize = 4096;

/// What is remembered from look to look.
pub(super) struct Finder {
    proc: Proc,
    known: KnownServers,
    looked: Option<Instant>,
    /// The last number that was given to a process or thread.
    last_number: Option<u32>,
    /// Newborn processes, and what comes next for each.
    young: VecDeque<(Instant, usize, u32)>,
    is_wanted: bool,
}

impl Default for Finder {
    fn default() -> Self {
        let proc = Proc::default();
        let (known, young) = (KnownServers::default(), VecDeque::new());
        Self { proc, known, looked: None, last_number: None, young, is_wanted: true }
    }
}

impl Finder {
    /// The servers of this node, if there may be others than before. To be asked once a second.
    pub(super) fn look(&mut self) -> Option<Vec<Found>> {
        let now = Instant::now();
        self.note_born(now);
        self.is_wanted |= self.has_grown(now);
        let since = self.looked.map(|looked| now.saturating_duration_since(looked));
        let is_due = match since {
            None => true,
            Some(since) => since >= ALL_EVERY || (self.is_wanted && since >= NOT_SOONER),
        };
        if !is_due {
            return None;
        }
        (self.looked, self.is_wanted) = (Some(now), false);
        self.known.list(&self.proc).ok()
    }

    /// A server is to be looked for again soon.
    pub(super) const fn again(&mut self) {
        self.is_wanted = true;
    }

    /// Numbers are given in ascending order, and begin again at the top (`pid_max`): then the next look at
    /// all finds what is new.
    fn note_born(&mut self, now: Instant) {
        let Some(last) = last_number(&self.proc) else { return };
        let before = self.last_number.replace(last).unwrap_or(last);
        for number in (before.saturating_add(1)..=last).take(MAX_YOUNG.saturating_sub(self.young.len())) {
            self.young.push_back((now, 0, number));
        }
    }

    /// Whether one of the newborn may be a server by now.
    fn has_grown(&mut self, now: Instant) -> bool {
        let mut has = false;
        for _ in 0..self.young.len() {
            let Some((born, next, number)) = self.young.pop_front() else { break };
            match AGES.get(next) {
                Some(age) if now.saturating_duration_since(born) < *age => {
                    self.young.push_back((born, next, number));
                }
                // Threads are numbered as well, and most processes are gone by then.
                Some(_) if is_process(&self.proc, number) => {
                    has |= may_come_to_serve(&self.proc, number);
                    self.young.push_back((born, next.saturating_add(1), number));
                }
                _ => {}
            }
        }
        has
    }
}
