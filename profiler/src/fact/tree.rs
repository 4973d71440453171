//! From any process of a server to all of it.
//!
//! In: a process, what `/proc` shows of all. Out: [`Tree`]: the topmost process that is the same server, and
//! all its descendants. Going up stops at shells, supervisors and inits, and wherever the parent runs
//! something else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use profiler_core::server::gunicorn::arguments;

use super::descriptor::{open_files, socket_inode};
use super::process::{Identity, identities, numbered_elsewhere, process_of_thread};
use super::socket::listening;
use super::{FactError, Proc, read};

/// Processes of one server.
const MAX_TREE: usize = 4_096;
/// Programs that start servers and are none, by executable, kernel name or script.
const NOT_SERVERS: &[&str] = &[
    "systemd",
    "init",
    "runsvdir",
    "runsv",
    "supervise",
    "s6-svscan",
    "s6-supervise",
    "supervisord",
    "circusd",
    "circus",
    "honcho",
    "foreman",
    "monit",
    "pm2",
    "tini",
    "dumb-init",
    "catatonit",
    "docker-init",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "conmon",
    "crun",
    "runc",
    "dockerd",
    "docker-proxy",
    "sh",
    "bash",
    "dash",
    "zsh",
    "fish",
    "ash",
    "busybox",
    "sudo",
    "su",
    "doas",
    "runuser",
    "setpriv",
    "gosu",
    "env",
    "timeout",
    "nohup",
    "setsid",
    "screen",
    "tmux",
    "sshd",
    "make",
    "pytest",
    "py.test",
];

/// A server's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Topmost process.
    pub root: u32,
    /// All processes, the root first, parents before children.
    pub tgids: Vec<u32>,
}

/// The whole server that a process (or thread) belongs to.
///
/// # Errors
/// When there is no such process.
pub fn process_tree(proc: &Proc, pid: u32) -> Result<Tree, FactError> {
    let tgid = process_of_thread(proc, pid)?;
    Forest::read(proc)?.tree(tgid)
}

/// The one server that a process named by a person belongs to, or, if it is an init, a shell or a supervisor,
/// the one that it started.
///
/// # Errors
/// When there is no such process, or it started several servers.
pub fn server_tree(proc: &Proc, pid: u32) -> Result<Tree, FactError> {
    let tgid = process_of_thread(proc, pid).map_err(|error| match error {
        FactError::NoSuchProcess { pid } => match numbered_elsewhere(proc, pid) {
            here if here.is_empty() => error,
            here => FactError::NumberedElsewhere { pid, here },
        },
        error => error,
    })?;
    let forest = Forest::read(proc)?;
    if forest.identities.get(&tgid).is_some_and(is_sandbox) {
        return Err(FactError::Sandbox { pid });
    }
    let tree = forest.tree(tgid)?;
    let started = forest.started_servers(&tree);
    match (started.first(), started.len()) {
        (Some(only), 1) if !forest.root_serves(&tree) => forest.tree(*only),
        (_, 0 | 1) => Ok(tree),
        _ => Err(FactError::Several { what: format!("process {pid}"), roots: started.into_iter().collect() }),
    }
}

/// All processes of the host, as one reading of `/proc` saw them.
#[derive(Debug)]
pub struct Forest<'a> {
    proc: &'a Proc,
    identities: HashMap<u32, Identity>,
    /// Sorted, so that trees come out the same every time.
    children: BTreeMap<u32, Vec<u32>>,
    /// Listening inodes by network namespace.
    listening: RefCell<HashMap<String, HashSet<u64>>>,
    /// Listening inodes by process, as far as they were asked for.
    held: RefCell<HashMap<u32, HashSet<u64>>>,
}

impl<'a> Forest<'a> {
    /// Reads all processes.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn read(proc: &'a Proc) -> Result<Self, FactError> {
        let identities = identities(proc)?;
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for identity in identities.values() {
            children.entry(identity.parent_tgid).or_default().push(identity.tgid);
        }
        children.values_mut().for_each(|children| children.sort_unstable());
        Ok(Self { proc, identities, children, listening: RefCell::default(), held: RefCell::default() })
    }

    /// All processes, in no order.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.values()
    }

    /// The whole server that a process belongs to.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn tree(&self, tgid: u32) -> Result<Tree, FactError> {
        let process = self.identities.get(&tgid).ok_or(FactError::NoSuchProcess { pid: tgid })?;
        let root = self.root(process);
        Ok(Tree { root, tgids: self.with_descendants(root) })
    }

    /// What a server has become. Where its topmost process has ended, it goes on in the largest of the trees
    /// that are left of it: gunicorn's new master after SIGUSR2 outlives the old one. So it does where
    /// that process is alone by now: it is ending, and others have its children already.
    ///
    /// # Errors
    /// When none of its processes is there.
    pub(super) fn again(&self, before: &Tree) -> Result<Tree, FactError> {
        let root = self.tree(before.root);
        if root.as_ref().is_ok_and(|tree| tree.tgids.len() > 1) {
            return root;
        }
        // Of trees of one size it is the first: that of the topmost process, where it is there.
        let left = before.tgids.iter().rev().filter_map(|tgid| self.tree(*tgid).ok());
        left.max_by_key(|tree| tree.tgids.len()).map_or(root, Ok)
    }

    /// A process and all beneath it, from the top.
    fn with_descendants(&self, top: u32) -> Vec<u32> {
        let mut tgids = Vec::new();
        let mut seen = HashSet::from([top]);
        let mut waiting = VecDeque::from([top]);
        while let Some(next) = waiting.pop_front() {
            tgids.push(next);
            for child in self.children.get(&next).into_iter().flatten() {
                if seen.len() < MAX_TREE && seen.insert(*child) {
                    waiting.push_back(*child);
                }
            }
        }
        tgids
    }

    /// Topmost processes of the servers in a tree that are not the tree itself. Beneath what only starts
    /// others, that is whatever listens; beneath anything else, what is certainly a server of its own.
    fn started_servers(&self, tree: &Tree) -> BTreeSet<u32> {
        let Some(root) = self.identities.get(&tree.root).filter(|root| !is_gunicorn(root)) else {
            return BTreeSet::new();
        };
        let only_starts = starts_servers(root) || self.supervises(root);
        let own = self.listening_inodes(root.tgid);
        let is_server = |process: &&Identity| {
            is_gunicorn(process)
                || (only_starts
                    && !starts_servers(process)
                    && !self.listening_inodes(process.tgid).is_subset(&own))
        };
        let beneath = tree.tgids.iter().filter_map(|tgid| self.identities.get(tgid)).filter(is_server);
        beneath.map(|process| self.root(process)).filter(|top| *top != tree.root).collect()
    }

    /// Whether the topmost process of a tree serves by itself, and does not only start others.
    fn root_serves(&self, tree: &Tree) -> bool {
        self.identities.get(&tree.root).is_some_and(|root| !starts_servers(root) && self.serves(root))
    }

    /// Whether a process only starts servers that run its own program, as uWSGI's emperor does: it listens to
    /// nothing, and they do.
    pub(super) fn supervises(&self, process: &Identity) -> bool {
        let children = self.children.get(&process.tgid).into_iter().flatten();
        children.filter_map(|tgid| self.identities.get(tgid)).any(|child| self.only_started(process, child))
    }

    fn only_started(&self, parent: &Identity, child: &Identity) -> bool {
        !is_gunicorn(parent)
            && parent.executable == child.executable
            && child.executable.as_deref().is_some_and(|executable| !is_interpreter(executable))
            && !self.serves(parent)
            && self.serves(child)
    }

    /// The topmost process of the server.
    fn root(&self, process: &Identity) -> u32 {
        let mut top = process;
        // A helper that an application started runs another program than the server: look for a server above
        // it. A process whose children listen is no helper, but their master: whatever listens above
        // it is something else.
        if !self.serves_or_leads(process)
            && let Some(server) = self.ancestors(process).find(|ancestor| self.serves(ancestor))
        {
            top = server;
        }
        while let Some(parent) = self.parent(top).filter(|parent| self.same_server(parent, top)) {
            top = parent;
        }
        top.tgid
    }

    /// Whether a process shows by itself that it serves.
    fn serves(&self, process: &Identity) -> bool {
        is_gunicorn(process) || !self.listening_inodes(process.tgid).is_empty()
    }

    /// Whether it does, or a process beneath it: each worker may have a listener of its own (`SO_REUSEPORT`).
    fn serves_or_leads(&self, process: &Identity) -> bool {
        let mut all =
            self.with_descendants(process.tgid).into_iter().filter_map(|tgid| self.identities.get(&tgid));
        all.any(|one| self.serves(one))
    }

    fn parent(&self, process: &Identity) -> Option<&Identity> {
        self.identities
            .get(&process.parent_tgid)
            .filter(|parent| parent.tgid != process.tgid && !starts_servers(parent))
    }

    /// Parents in the same session up to the first program that only starts others; bounded, as ids may be
    /// reused.
    fn ancestors<'b>(&'b self, process: &'b Identity) -> impl Iterator<Item = &'b Identity> {
        let parent_of = |process: &&Identity| self.parent(process).filter(|up| up.session == process.session);
        std::iter::successors(parent_of(&process), move |up| parent_of(up)).take(64)
    }

    fn same_server(&self, parent: &Identity, child: &Identity) -> bool {
        if parent.session != child.session {
            return false;
        }
        if self.shares_listener(parent.tgid, child.tgid) {
            return true;
        }
        let same_executable = match (&parent.executable, &child.executable) {
            (Some(parent), Some(child)) => parent == child,
            // Not to be seen without privileges: command lines have to do.
            _ => parent.command_line == child.command_line || is_title(child),
        };
        if !same_executable {
            return false;
        }
        if self.only_started(parent, child) {
            return false;
        }
        // Two Python programs share their interpreter; two gunicorns, or two processes of a C server, are one
        // server.
        (is_gunicorn(parent) && is_gunicorn(child))
            || child.executable.as_deref().is_some_and(|executable| !is_interpreter(executable))
    }

    fn shares_listener(&self, one: u32, other: u32) -> bool {
        !self.listening_inodes(one).is_disjoint(&self.listening_inodes(other))
    }

    /// Inodes of the listening sockets that a process holds (none where it may not be looked at).
    pub fn listening_inodes(&self, tgid: u32) -> HashSet<u64> {
        if let Some(known) = self.held.borrow().get(&tgid) {
            return known.clone();
        }
        let mut held: HashSet<u64> = open_files(self.proc, tgid)
            .unwrap_or_default()
            .iter()
            .filter_map(|(_, target)| socket_inode(target))
            .collect();
        if !held.is_empty() {
            // The tables are long on a busy host: one reading per network namespace.
            let namespace = read::link(&self.proc.of(tgid, "ns/net")).unwrap_or_default();
            let mut by_namespace = self.listening.borrow_mut();
            let known = by_namespace.entry(namespace).or_default();
            if known.is_empty() {
                known.extend(listening(self.proc, tgid, &|_, _| true).into_keys());
            }
            held.retain(|inode| known.contains(inode));
        }
        self.held.borrow_mut().insert(tgid, held.clone());
        held
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_interpreter(executable: &str) -> bool {
    let name = base_name(executable);
    name.starts_with("python") || name.starts_with("pypy")
}

/// gVisor's processes call themselves so (google/gvisor, runsc/sandbox/sandbox.go and
/// runsc/container/container.go).
fn is_sandbox(process: &Identity) -> bool {
    process
        .command_line
        .first()
        .is_some_and(|name| ["runsc-sandbox", "runsc-gofer"].contains(&base_name(name)))
}

fn is_title(process: &Identity) -> bool {
    process.command_line.first().is_some_and(|argument| argument.starts_with("gunicorn: "))
}

/// By command line or process title; what only its heartbeat file gives away shares its listener as well.
pub(super) fn is_gunicorn(process: &Identity) -> bool {
    is_title(process) || arguments::of_command_line(&process.command_line).is_some()
}

/// Shells, supervisors, inits: never part of a server.
pub(super) fn starts_servers(process: &Identity) -> bool {
    let executable = process.executable.as_deref().map(base_name);
    let script = process.command_line.iter().skip(1).find(|argument| !argument.starts_with('-'));
    let script = script.filter(|_| executable.is_none_or(is_interpreter)).map(|argument| base_name(argument));
    [executable, script, Some(process.comm.as_str())]
        .into_iter()
        .flatten()
        .any(|name| NOT_SERVERS.contains(&name))
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
