//! Ways in to a server: its port, its name, the list of all.
//!
//! In: `/proc`. Out: [`Tree`]s and [`Found`] servers.

use std::collections::{BTreeMap, BTreeSet};

use profiler_core::fact::ProcessSeen;
use profiler_core::server::{Recognised, recognise};

use super::descriptor::open_files;
use super::process::{Identity, process_seen};
use super::socket::{Socket, listening};
use super::tree::{Forest, Tree, starts_servers};
use super::{FactError, Proc, ServerFacts, server_facts};

/// A running server.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its processes.
    pub tree: Tree,
    /// What is known of them.
    pub facts: ServerFacts,
    /// What they are, with what their descriptors show.
    pub recognised: Recognised,
}

impl Found {
    fn read(proc: &Proc, tree: Tree) -> Self {
        let facts = server_facts(proc, &tree.tgids);
        let mut recognised = recognise(&facts.processes, &facts.listeners);
        let observed = facts.observed(&recognised.roles);
        recognised.server = recognised.kind.refine(&recognised.server, &observed);
        Self { tree, facts, recognised }
    }

    fn is_known(&self) -> bool {
        self.recognised.server.name != "unknown"
    }
}

/// The server that listens on a TCP port, in any network namespace.
///
/// # Errors
/// When nothing listens there, when it may not be looked at, or when several servers do.
pub fn find_by_port(proc: &Proc, port: u16) -> Result<Tree, FactError> {
    let forest = Forest::read(proc)?;
    let mut namespaces = BTreeSet::new();
    let mut inodes = BTreeSet::new();
    for identity in forest.identities() {
        let namespace = super::read::link(&proc.of(identity.tgid, "ns/net"));
        // Where namespaces cannot be distinguished, this process's own table has to do.
        let Ok(namespace) = namespace else { continue };
        if namespaces.insert(namespace) {
            inodes.extend(listening_on(proc, identity.tgid, port));
        }
    }
    inodes.extend(listening_on(proc, std::process::id(), port));
    let holders = forest.identities().filter(|identity| {
        !inodes.is_empty()
            && !starts_servers(identity)
            && forest.listening_inodes(identity.tgid).iter().any(|inode| inodes.contains(inode))
    });
    let roots: BTreeSet<u32> =
        holders.filter_map(|identity| forest.tree(identity.tgid).ok()).map(|tree| tree.root).collect();
    if roots.is_empty() {
        return Err(FactError::NothingOnPort { port, hidden: !inodes.is_empty() });
    }
    only(proc, &forest, &roots, &format!("port {port}"))
}

fn listening_on(proc: &Proc, pid: u32, port: u16) -> Vec<u64> {
    let on_port =
        |_: u64, socket: &Socket| matches!(socket, Socket::Tcp { local, .. } if local.port() == port);
    listening(proc, pid, &on_port).into_keys().collect()
}

/// The only tree, or the only one that is a known kind of server (a proxy may listen on the same port
/// elsewhere).
fn only(proc: &Proc, forest: &Forest<'_>, roots: &BTreeSet<u32>, what: &str) -> Result<Tree, FactError> {
    let mut trees: Vec<Tree> = roots.iter().filter_map(|root| forest.tree(*root).ok()).collect();
    if trees.len() > 1 {
        let known: Vec<Tree> =
            trees.iter().filter(|tree| Found::read(proc, (*tree).clone()).is_known()).cloned().collect();
        if !known.is_empty() {
            trees = known;
        }
    }
    match (trees.pop(), trees.is_empty()) {
        (Some(tree), true) => Ok(tree),
        _ => Err(FactError::Several { what: what.to_owned(), roots: roots.iter().copied().collect() }),
    }
}

/// The server with this name: the kind of server, its application (`app:app`), or the command of its topmost
/// process.
///
/// # Errors
/// When there is none, or more than one.
pub fn find_by_name(proc: &Proc, name: &str) -> Result<Tree, FactError> {
    let forest = Forest::read(proc)?;
    let own = std::process::id();
    let mut roots: BTreeSet<u32> = servers(proc, &forest)
        .iter()
        .filter(|found| is_called(found, name))
        .map(|found| found.tree.root)
        .collect();
    if roots.is_empty() {
        let called = |identity: &&Identity| {
            identity.tgid != own
                && !starts_servers(identity)
                && commands(&identity.comm, &identity.command_line).any(|command| command == name)
                && !forest.listening_inodes(identity.tgid).is_empty()
        };
        let found = forest.identities().filter(called).filter_map(|identity| forest.tree(identity.tgid).ok());
        roots = found.map(|tree| tree.root).collect();
    }
    if roots.is_empty() {
        return Err(FactError::NoServerNamed { name: name.to_owned() });
    }
    only(proc, &forest, &roots, &format!("the name {name:?}"))
}

fn is_called(found: &Found, name: &str) -> bool {
    let server = &found.recognised.server;
    let root = found.facts.processes.iter().find(|process| process.tgid == found.tree.root);
    server.name == name
        || server
            .settings
            .iter()
            .any(|setting| matches!(setting.name.as_str(), "wsgi_app" | "proc_name") && setting.value == name)
        || root.is_some_and(|root| commands(&root.comm, &root.command_line).any(|command| command == name))
}

/// Names that a command goes by: kernel name, program, script.
fn commands<'a>(comm: &'a str, command_line: &'a [String]) -> impl Iterator<Item = &'a str> {
    let arguments =
        command_line.iter().take(2).map(|argument| argument.rsplit('/').next().unwrap_or(argument));
    std::iter::once(comm).chain(arguments)
}

/// All running WSGI servers of known kinds, by process id of their topmost process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn list_servers(proc: &Proc) -> Result<Vec<Found>, FactError> {
    KnownServers::default().list(proc)
}

/// Servers that were found before. Those that listen, and have the same processes as then, are not read
/// again: that takes some milliseconds each.
#[derive(Debug, Default)]
pub struct KnownServers(BTreeMap<u32, (Vec<Identity>, Found)>);

impl KnownServers {
    /// As [`list_servers`].
    ///
    /// # Errors
    /// As [`list_servers`].
    pub fn list(&mut self, proc: &Proc) -> Result<Vec<Found>, FactError> {
        let forest = Forest::read(proc)?;
        let mut known = std::mem::take(&mut self.0);
        let mut all = Vec::new();
        for tree in trees(proc, &forest) {
            let is_in = |identity: &&Identity| tree.tgids.contains(&identity.tgid);
            let mut identities: Vec<Identity> = forest.identities().filter(is_in).cloned().collect();
            identities.sort_unstable_by_key(|identity| identity.tgid);
            let as_before = known.remove(&tree.root).filter(|(before, _)| *before == identities);
            let found = as_before.map_or_else(|| Found::read(proc, tree), |(_, found)| found);
            if found.is_known() {
                if !found.facts.listeners.is_empty() {
                    self.0.insert(found.tree.root, (identities, found.clone()));
                }
                all.push(found);
            }
        }
        Ok(all)
    }
}

fn servers(proc: &Proc, forest: &Forest<'_>) -> Vec<Found> {
    trees(proc, forest).into_iter().map(|tree| Found::read(proc, tree)).filter(Found::is_known).collect()
}

/// Processes that belong together, each with one that may be a server.
fn trees(proc: &Proc, forest: &Forest<'_>) -> Vec<Tree> {
    let mut roots = BTreeSet::new();
    let candidates = forest.identities().filter(|identity| may_be_server(proc, forest, identity));
    for identity in candidates.filter(|identity| !forest.supervises(identity)) {
        if let Ok(tree) = forest.tree(identity.tgid) {
            roots.insert(tree.root);
        }
    }
    roots.iter().filter_map(|root| forest.tree(*root).ok()).collect()
}

/// Whether a process by itself is of a known kind, by its command line, or, for Python programs, by its open
/// files. One that listens may be one by what it runs.
fn may_be_server(proc: &Proc, forest: &Forest<'_>, identity: &Identity) -> bool {
    if is_known_by_name(identity) {
        return true;
    }
    if !is_python(identity) {
        return false;
    }
    if !forest.listening_inodes(identity.tgid).is_empty() {
        return true;
    }
    let files = open_files(proc, identity.tgid).unwrap_or_default();
    process_seen(proc, identity.tgid, &files)
        .is_ok_and(|seen| recognise(&[seen], &[]).server.name != "unknown")
}

/// Whether a process that was born a while ago may be a server by now: at little cost, sooner yes than no.
pub fn may_come_to_serve(proc: &Proc, tgid: u32) -> bool {
    let Ok(identity) = super::process::identity(proc, tgid) else { return false };
    is_python(&identity) || is_known_by_name(&identity)
}

fn is_known_by_name(identity: &Identity) -> bool {
    let bare = ProcessSeen {
        tgid: identity.tgid,
        comm: identity.comm.clone(),
        command_line: identity.command_line.clone(),
        ..ProcessSeen::default()
    };
    recognise(&[bare], &[]).server.name != "unknown"
}

fn is_python(identity: &Identity) -> bool {
    let executable =
        identity.executable.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    executable.starts_with("python") || executable.starts_with("pypy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_which_nothing_listens_is_said_to_be_empty() {
        // Port 1 is tcpmux, which nobody runs.
        let answer = find_by_port(&Proc::default(), 1);
        assert!(matches!(answer, Err(FactError::NothingOnPort { port: 1, hidden: false })), "{answer:?}");
    }

    #[test]
    fn the_process_that_listens_on_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let tree = find_by_port(&Proc::default(), port).expect("found");
        assert!(tree.tgids.contains(&std::process::id()), "{tree:?}");
    }

    #[test]
    fn a_name_that_nothing_has_is_an_error_with_a_next_step() {
        let answer = find_by_name(&Proc::default(), "no server has this name");
        let message = answer.expect_err("nothing").to_string();
        assert!(message.contains("wsgi-trace list"), "{message}");
    }
}
