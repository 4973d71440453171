//! Watches all servers of a node: finds them as they come, forgets them as they end.
//!
//! In: how to follow a server, which are wanted. Out: a directory of servers. All sessions are on one thread
//! and read one set of programs for each mode.

pub mod answers;
pub mod directory;
mod finder;
mod page;
pub mod row;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::directory::{Directory, Entry, Skipped};
use self::finder::Finder;
use super::AgentError;
use super::change::Changes;
use super::follow::{Follow, Say};
use super::heap::give_memory_back;
use super::http::{Answers, Server};
use crate::fact::Proc;
use crate::fact::find::Found;
use crate::fact::process::is_running;
use crate::session::SessionError;
use crate::session::pace::pause_after;
use crate::session::shared::Programs;
use crate::session::signals::Signals;

/// How often it is asked for new servers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Servers that are watched at once.
const MAX_SERVERS: usize = 1_000;

/// What is known of a server before it is watched.
pub struct About {
    /// What its series and its line are called.
    pub name: String,
    /// Labels of its metrics, without its name.
    pub labels: Vec<(&'static str, String)>,
    /// As `list` has it.
    pub about: serde_json::Value,
}

/// Says what a server is called; `None`: it is not wanted.
pub type Name = Rc<dyn Fn(&Found) -> Option<About>>;

/// Makes what watches one server, and what answers about it.
pub type Start = Rc<dyn Fn(&Found) -> (Follow, Answers)>;

/// What to watch and how.
pub struct Node {
    /// What a server is called; `None`: it is not wanted.
    pub about: Name,
    /// Watches one.
    pub start: Start,
    /// Programs of all sessions.
    pub programs: Rc<Programs>,
    /// Windows of each server before its last change, by its name and labels: it may come back as another
    /// process.
    pub changes: RefCell<BTreeMap<String, Rc<RefCell<Changes>>>>,
    /// Where all is shown.
    pub directory: Arc<Directory>,
    /// Says what changes.
    pub say: Say,
    /// Who serves, until a signal comes.
    pub server: Option<Server>,
}

/// How watching a server ended.
type Ended = (u32, Result<(), AgentError>);

impl Node {
    /// Watches until a signal comes.
    ///
    /// # Errors
    /// None of a server: what cannot be watched is left out, and said.
    pub async fn run(self, signals: &mut Signals) -> Result<(), AgentError> {
        LocalSet::new().run_until(self.watch(signals)).await
    }

    async fn watch(self, signals: &mut Signals) -> Result<(), AgentError> {
        let mut finder = Finder::default();
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut looks = interval(LOOK_EVERY);
        let mut drains = interval(pause_after(0));
        for timer in [&mut looks, &mut drains] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = drains.tick() => {
                    let begun = Instant::now();
                    let found = self.programs.hand_out();
                    drains.reset_at(begun + pause_after(found));
                }
                _ = looks.tick() => if let Some(found) = finder.look() {
                    self.take(&found, &mut running);
                },
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    if self.ended(ended.ok()) {
                        finder.again();
                    }
                }
                () = signals.any() => break,
            }
        }
        if let Some(server) = self.server {
            server.stop();
        }
        // Each has heard the signal, too.
        while running.join_next().await.is_some() {}
        Ok(())
    }

    /// Begins to watch those that are wanted and not watched yet.
    fn take(&self, found: &[Found], running: &mut JoinSet<Ended>) {
        self.directory.looked(&found.iter().map(|found| found.tree.root).collect::<Vec<_>>());
        let mut watched: BTreeSet<u32> = self.programs.processes();
        watched.extend(self.directory.all().iter().map(|entry| entry.pid));
        for found in found {
            let pid = found.tree.root;
            let Some(about) = (self.about)(found) else { continue };
            // A server that has another topmost process now is still the one that is watched.
            if found.tree.tgids.iter().any(|tgid| watched.contains(tgid)) {
                self.directory.seen(&about.about, &found.tree.tgids);
                continue;
            }
            if self.directory.all().len() >= MAX_SERVERS {
                let reason = format!("{MAX_SERVERS} servers are watched already");
                self.directory.skip(Skipped { pid, server: about.name, reason });
                continue;
            }
            let (mut follow, answers) = (self.start)(found);
            follow.changes = self.changes_of(&about);
            self.directory.add(self.entry(found, about, answers));
            running.spawn_local(async move {
                let watched = async {
                    let mut signals = Signals::new()?.and_set_aside()?;
                    follow.run(&mut signals).await
                };
                (pid, watched.await)
            });
        }
    }

    /// What was of a server of this name before; of several at once, each has its own.
    fn changes_of(&self, about: &About) -> Rc<RefCell<Changes>> {
        let mut all = self.changes.borrow_mut();
        if all.len() >= MAX_SERVERS {
            all.retain(|_, changes| Rc::strong_count(changes) > 1);
        }
        let known = all.entry(format!("{} {:?}", about.name, about.labels)).or_default();
        if Rc::strong_count(known) > 1 { Rc::default() } else { Rc::clone(known) }
    }

    /// A name is given once in a container; another server of the same name there has its process behind it.
    fn entry(&self, found: &Found, about: About, answers: Answers) -> Entry {
        let pid = found.tree.root;
        let About { mut name, mut labels, about } = about;
        let has_it =
            |entry: &Arc<Entry>| entry.name == name && entry.labels.get(1..) == Some(labels.as_slice());
        if self.directory.all().iter().any(has_it) {
            name = format!("{name} #{pid}");
        }
        labels.insert(0, ("server", name.clone()));
        Entry::new((pid, name), labels, (about, found.tree.tgids.clone()), answers)
    }

    /// A server is not watched any more. Whether it may be back soon.
    fn ended(&self, ended: Option<Ended>) -> bool {
        let Some((pid, outcome)) = ended else { return false };
        let Some(entry) = self.directory.remove(pid) else { return false };
        give_memory_back();
        match outcome {
            Ok(()) | Err(AgentError::TargetGone { .. }) => true,
            Err(_) if !is_running(&Proc::default(), pid) => true,
            Err(error) => {
                let reason = error.to_string();
                (self.say)(&format!("{} (process {pid}) is left out: {reason}", entry.name));
                if let AgentError::Session(SessionError::Attach(_)) = error {
                    self.directory.set_supported(Err(reason.clone()));
                }
                self.directory.skip(Skipped { pid, server: entry.name.clone(), reason });
                false
            }
        }
    }
}
