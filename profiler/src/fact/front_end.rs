//! What stands before a server on the same host: found by its connections, or by being the only proxy there
//! is.
//!
//! In: a server's tree, the process that was named or none. Out: the front end's tree, and by what it was
//! found; [`Watched`], both of them. nginx, Apache and the like are known by name; anything else has to be
//! named by its PID.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;

use profiler_core::server::recognise;

use super::descriptor::{open_files, socket_inode};
use super::process::{Identity, process_seen};
use super::socket::{Socket, sockets};
use super::tree::{Forest, Tree, server_tree};
use super::{FactError, Proc, ServerFacts, server_facts};

/// Programs that pass requests on, by executable or kernel name.
const PROXIES: &[&str] = &[
    "nginx", "apache2", "httpd", "haproxy", "caddy", "lighttpd", "angie", "envoy", "traefik", "varnishd",
    "h2o",
];
/// How often it is looked for a connection: without kept connections there is one only while a request runs.
const LOOKS: u32 = 20;
/// Time between two looks.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// What is traced: a server, and what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The server.
    pub server: Tree,
    /// What stands before it, if that is traced too.
    pub front_end: Option<Tree>,
}

impl Watched {
    /// All processes, the server's first.
    pub fn tgids(&self) -> Vec<u32> {
        let in_front = self.front_end.iter().flat_map(|front_end| &front_end.tgids);
        self.server.tgids.iter().chain(in_front).copied().collect()
    }

    /// What `/proc` says of these processes, each with its place before or in the server.
    pub fn facts(&self, proc: &Proc, tgids: &[u32]) -> ServerFacts {
        let mut facts = server_facts(proc, tgids);
        if let Some(front_end) = &self.front_end {
            for process in &mut facts.processes {
                process.front_end = front_end.tgids.contains(&process.tgid);
            }
        }
        facts
    }

    /// What is watched, with what the server has forked since the last look, each after its parent: where the
    /// server's topmost process ends before the next look, it goes on in one of them.
    pub fn with_newborn(&self, newborn: &[(u32, u32)]) -> Self {
        let mut all = self.clone();
        for (parent, child) in newborn {
            let tree = match &mut all.front_end {
                Some(front_end) if front_end.tgids.contains(parent) => front_end,
                _ => &mut all.server,
            };
            if !tree.tgids.contains(child) {
                tree.tgids.push(*child);
            }
        }
        all
    }

    /// What is watched, with the processes that there are now; a front end that has gone is left as it was.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn again(&self, proc: &Proc) -> Result<Self, FactError> {
        let forest = Forest::read(proc)?;
        let server = forest.again(&self.server)?;
        let front_end = self.front_end.clone();
        let front_end = front_end.map(|before| forest.tree(before.root).unwrap_or(before));
        Ok(Self { server, front_end })
    }
}

/// A front end that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontEndFound {
    /// Its processes.
    pub tree: Tree,
    /// What it is called.
    pub name: String,
    /// By what it was found, as a clause.
    pub by: &'static str,
}

/// What stands before `server`: what `pid` belongs to, or what is found.
///
/// # Errors
/// When there is no such process, it is the server's own, nothing is found, or more than one fits.
pub fn find_front_end(proc: &Proc, server: &Tree, pid: Option<u32>) -> Result<FrontEndFound, FactError> {
    if let Some(pid) = pid {
        let tree = server_tree(proc, pid)?;
        if tree.tgids.iter().any(|tgid| server.tgids.contains(tgid)) {
            return Err(FactError::NotInFront { pid });
        }
        return Ok(FrontEndFound { name: name_of(proc, &tree), tree, by: "named" });
    }
    let forest = Forest::read(proc)?;
    let mut candidates: BTreeMap<u32, Tree> = BTreeMap::new();
    for identity in forest.identities().filter(|identity| is_proxy(identity)) {
        if let Ok(tree) = forest.tree(identity.tgid)
            && !tree.tgids.iter().any(|tgid| server.tgids.contains(tgid))
            && tree.tgids.iter().any(|tgid| !forest.listening_inodes(*tgid).is_empty())
        {
            candidates.insert(tree.root, tree);
        }
    }
    let connected = connected(proc, server, &candidates);
    let only_passes_on = |tree: &&Tree| !is_server(proc, tree);
    let (fitting, by): (Vec<&Tree>, _) = if connected.is_empty() {
        (candidates.values().filter(only_passes_on).collect(), "the only proxy on this host")
    } else {
        let fits = |root: &u32| candidates.get(root);
        (connected.iter().filter_map(fits).collect(), "connected to the server")
    };
    match fitting.as_slice() {
        [only] => Ok(FrontEndFound { tree: (*only).clone(), name: name_of(proc, only), by }),
        [] => Err(FactError::NoFrontEnd),
        several => Err(FactError::SeveralFrontEnds { roots: several.iter().map(|tree| tree.root).collect() }),
    }
}

fn is_proxy(identity: &Identity) -> bool {
    let executable = identity.executable.as_deref().and_then(|path| path.rsplit('/').next());
    [executable, Some(identity.comm.as_str())].into_iter().flatten().any(|name| PROXIES.contains(&name))
}

/// Whether a tree runs Python behind its own listeners: Apache with mod_wsgi is a server.
fn is_server(proc: &Proc, tree: &Tree) -> bool {
    let seen = tree.tgids.iter().filter_map(|tgid| {
        let files = open_files(proc, *tgid).unwrap_or_default();
        process_seen(proc, *tgid, &files).ok()
    });
    recognise(&seen.collect::<Vec<_>>(), &[]).server.name != "unknown"
}

fn name_of(proc: &Proc, tree: &Tree) -> String {
    super::process::identity(proc, tree.root).map(|identity| identity.comm).unwrap_or_default()
}

/// Which of the candidates hold the other end of one of the server's connections over TCP. Of UNIX sockets
/// these tables do not tell the peer.
fn connected(proc: &Proc, server: &Tree, candidates: &BTreeMap<u32, Tree>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    if candidates.is_empty() {
        return found;
    }
    let ports: HashSet<u16> =
        server_facts(proc, &server.tgids).listeners.iter().map(|seen| seen.port).collect();
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(LOOK_EVERY);
        }
        let peers = peers(proc, server.root, &ports);
        for (root, tree) in candidates {
            let reaches = |tgid: &u32| reaches(proc, *tgid, &peers);
            if !peers.is_empty() && tree.tgids.iter().any(reaches) {
                found.insert(*root);
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}

/// Addresses from which somebody is connected to one of these ports, in the server's namespace.
fn peers(proc: &Proc, tgid: u32, ports: &HashSet<u16>) -> HashSet<SocketAddr> {
    let at_port = |_: u64, socket: &Socket| match socket {
        Socket::Tcp { local, .. } => ports.contains(&local.port()) && !socket.is_listening(),
        Socket::Unix { .. } => false,
    };
    let remote = |socket: Socket| match socket {
        Socket::Tcp { remote, .. } => Some(plain(remote)),
        Socket::Unix { .. } => None,
    };
    sockets(proc, tgid, &at_port).into_values().filter_map(remote).collect()
}

/// Whether a process holds a socket whose own address is one of these.
fn reaches(proc: &Proc, tgid: u32, peers: &HashSet<SocketAddr>) -> bool {
    let files = open_files(proc, tgid).unwrap_or_default();
    let inodes: HashSet<u64> = files.iter().filter_map(|(_, target)| socket_inode(target)).collect();
    let is_one = |inode: u64, socket: &Socket| match socket {
        Socket::Tcp { local, .. } => inodes.contains(&inode) && peers.contains(&plain(*local)),
        Socket::Unix { .. } => false,
    };
    !sockets(proc, tgid, &is_one).is_empty()
}

/// An IPv4 address in its IPv6 form is the same address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_the_server_is_not_taken_for_what_stands_before_it() {
        let proc = Proc::default();
        let own = std::process::id();
        let server = super::super::process_tree(&proc, own).expect("our own tree");
        let answer = find_front_end(&proc, &server, Some(own));
        assert!(matches!(answer, Err(FactError::NotInFront { pid }) if pid == own), "{answer:?}");
    }

    #[test]
    fn who_holds_the_other_end_of_a_connection_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let proc = Proc::default();
        let own = std::process::id();
        let ports = HashSet::from([address.port()]);
        assert!(!reaches(&proc, own, &peers(&proc, own, &ports)));
        let client = std::net::TcpStream::connect(address).expect("connect");
        let accepted = listener.accept().expect("accept");
        assert!(reaches(&proc, own, &peers(&proc, own, &ports)));
        drop((client, accepted));
    }
}
