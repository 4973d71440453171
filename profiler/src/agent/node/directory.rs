//! The servers of a node that are watched now.
//!
//! In: servers as they are found and lost. Out: each with its answers; who was left out, and why. Written by
//! the thread of the sessions, read by the one that serves. Who is left out is remembered up to a bound, and
//! counted beyond it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::agent::http::Answers;
use crate::agent::metrics::node::Counts;

/// Servers that are named as left out.
const MAX_SKIPPED: usize = 64;

/// One server.
pub struct Entry {
    /// The topmost process.
    pub pid: u32,
    /// What it is called on this node: no two servers of one container share a name.
    pub name: String,
    /// Labels of its metrics.
    pub labels: Vec<(&'static str, String)>,
    /// Answers about it.
    pub answers: Answers,
    now: Mutex<Now>,
}

/// What a server was at the last look.
#[derive(Debug)]
struct Now {
    about: serde_json::Value,
    processes: Vec<u32>,
}

impl Entry {
    /// A server with these processes; `about`: as `list` has it.
    pub fn new(
        (pid, name): (u32, String),
        labels: Vec<(&'static str, String)>,
        (about, processes): (serde_json::Value, Vec<u32>),
        answers: Answers,
    ) -> Self {
        Self { pid, name, labels, answers, now: Mutex::new(Now { about, processes }) }
    }

    /// As `list` had it at the last look.
    pub fn about(&self) -> serde_json::Value {
        self.now().about.clone()
    }

    /// What a look saw, if that is this server: it has one of its processes still.
    fn seen(&self, about: &serde_json::Value, processes: &[u32]) {
        let mut now = self.now();
        if processes.iter().any(|tgid| now.processes.contains(tgid)) {
            *now = Now { about: about.clone(), processes: processes.to_vec() };
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Whoever panicked while it held the lock had only replaced a value.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that is not watched.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// The topmost process.
    pub pid: u32,
    /// What it is called. Hostile input.
    pub server: String,
    /// Why it is not.
    pub reason: String,
}

/// All of them.
#[derive(Default)]
pub struct Directory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u32, Arc<Entry>>,
    skipped: BTreeMap<u32, Skipped>,
    counts: Counts,
}

impl Directory {
    /// A server is watched from now on.
    pub fn add(&self, entry: Entry) {
        let mut inner = self.lock();
        inner.skipped.remove(&entry.pid);
        inner.entries.insert(entry.pid, Arc::new(entry));
    }

    /// A server has ended: its series end with it.
    pub fn remove(&self, pid: u32) -> Option<Arc<Entry>> {
        self.lock().entries.remove(&pid)
    }

    /// A server cannot be watched.
    pub fn skip(&self, skipped: Skipped) {
        let mut inner = self.lock();
        inner.counts.skipped = inner.counts.skipped.saturating_add(1);
        if inner.skipped.len() < MAX_SKIPPED || inner.skipped.contains_key(&skipped.pid) {
            inner.skipped.insert(skipped.pid, skipped);
        }
    }

    /// All processes were looked through; these servers are there.
    pub fn looked(&self, pids: &[u32]) {
        let mut inner = self.lock();
        inner.counts.looks = inner.counts.looks.saturating_add(1);
        inner.skipped.retain(|pid, _| pids.contains(pid));
    }

    /// A look saw a server with these processes.
    pub fn seen(&self, about: &serde_json::Value, processes: &[u32]) {
        for entry in self.all() {
            entry.seen(about, processes);
        }
    }

    /// Whether this machine lets servers be watched, or why not.
    pub fn set_supported(&self, supported: Result<(), String>) {
        self.lock().counts.supported = Some(supported);
    }

    /// One server.
    pub fn get(&self, pid: u32) -> Option<Arc<Entry>> {
        self.lock().entries.get(&pid).cloned()
    }

    /// All servers, by process.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().entries.values().cloned().collect()
    }

    /// Who is left out, by process.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.lock().skipped.values().cloned().collect()
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let inner = self.lock();
        Counts { watched: inner.entries.len(), ..inner.counts.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while it held the lock had only changed a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
