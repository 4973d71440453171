//! `wsgi-trace serve --all`: every server of this machine.
//!
//! In: options, a socket. Out: an agent for the node: which servers are wanted, what each is called, how it
//! is watched.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use profiler_core::fact::ListenerSeen;
use profiler_core::fact::container::Container;

use super::follow::follow;
use super::list::{Row, row};

use crate::agent::AgentError;
use crate::agent::follow::{Find, Say};
use crate::agent::http::{Door, Server};
use crate::agent::listen::{Access, Socket};
use crate::agent::node::answers::NodeAnswers;
use crate::agent::node::directory::Directory;
use crate::agent::node::{About, Node};
use crate::attach::{self, AttachError, Hooks};
use crate::cli::Serve;
use crate::cli::matches::{Key, fit};
use crate::fact::find::Found;
use crate::fact::process::user;
use crate::fact::{Proc, cgroup, server_tree};
use crate::report::escape::{Charset, line};
use crate::session::signals::Signals;

/// Columns of what comes from a server, in names and labels.
const MAX_LABEL: usize = 100;

/// Watches all servers until a signal comes.
///
/// # Errors
/// If nothing can be served.
pub(super) async fn watch(
    options: &Rc<Serve>,
    (socket, access): (Socket, Access),
    say: Say,
    signals: &mut Signals,
) -> Result<(), AgentError> {
    let directory = Arc::new(Directory::default());
    let answers = NodeAnswers::new(Arc::clone(&directory), options.window);
    let server = Server::start(socket, Door::new(access, answers))?;
    let supported = try_out();
    if let Err(error) = &supported {
        say(&format!("no server can be watched on this machine: {error}"));
    }
    directory.set_supported(supported.map_err(|error| error.to_string()));
    node(options, directory, say, Some(server)).run(signals).await
}

/// Whether this machine lets servers be watched.
///
/// # Errors
/// Why not.
pub(super) fn try_out() -> Result<(), AttachError> {
    attach::try_out(&attach::Settings { hooks: Hooks::Auto, ..attach::Settings::default() }).map(drop)
}

/// What watches all servers.
pub(super) fn node(options: &Rc<Serve>, directory: Arc<Directory>, say: Say, server: Option<Server>) -> Node {
    let programs = Rc::default();
    let (wanted, started, shared, said) =
        (Rc::clone(options), Rc::clone(options), Rc::clone(&programs), Rc::clone(&say));
    Node {
        about: Rc::new(move |found| about(&wanted, found)),
        start: Rc::new(move |found| {
            let pid = found.tree.root;
            let find: Find = Rc::new(move || server_tree(&Proc::default(), pid).map(|tree| (tree, pid)));
            let (said, name) = (Rc::clone(&said), found.recognised.server.name.clone());
            let say: Say = Rc::new(move |sentence| said(&format!("{name}, process {pid}: {sentence}")));
            follow(&started, (find, Some(pid)), Rc::clone(&shared), say)
        }),
        programs,
        changes: RefCell::default(),
        directory,
        say,
        server,
    }
}

/// What a server is called; `None`: it is not wanted.
fn about(options: &Serve, found: &Found) -> Option<About> {
    // Its mode is left out below: the kernel need not be asked for it.
    let row = row(found, false);
    fit(&options.matches, |key| values(key, found, &row)).then(|| {
        let mut about = serde_json::to_value(&row).unwrap_or_default();
        // In which mode it is watched is known, and need not be guessed.
        if let Some(fields) = about.as_object_mut() {
            fields.remove("mode");
        }
        About { name: name(found, &row), labels: labels(row.container.as_ref()), about }
    })
}

/// Its software with its first port; without one, with its application.
fn name(found: &Found, row: &Row) -> String {
    let ports = ports(found);
    let name = match (ports.first(), &row.application) {
        (Some(port), _) => format!("{}:{port}", row.server),
        (None, Some(application)) => format!("{} {application}", row.server),
        (None, None) => row.server.clone(),
    };
    shown(&name)
}

fn labels(container: Option<&Container>) -> Vec<(&'static str, String)> {
    let Some(container) = container else { return Vec::new() };
    let named = [
        ("namespace", container.k8s_namespace_name.clone()),
        ("pod", container.k8s_pod_name.clone()),
        ("container", container.k8s_container_name.clone().or_else(|| Some(container.short_id().to_owned()))),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name, shown(&value?)))).collect()
}

fn values(key: Key, found: &Found, row: &Row) -> Vec<String> {
    let (proc, root) = (Proc::default(), found.tree.root);
    let container = row.container.as_ref();
    let all: Vec<Option<String>> = match key {
        Key::Name => {
            let process = found.facts.processes.iter().find(|process| process.tgid == root);
            let comm = process.map(|process| process.comm.clone());
            vec![Some(row.server.clone()), row.application.clone(), comm]
        }
        Key::User => {
            let number = user(&proc, root);
            vec![number.map(|number| number.to_string()), number.and_then(user_name)]
        }
        Key::Cgroup => cgroup::all_of_process(&proc, root).into_iter().map(Some).collect(),
        Key::Container => vec![
            container.map(|container| container.id.clone()),
            container.map(|container| container.short_id().to_owned()),
            container.and_then(|container| container.k8s_container_name.clone()),
        ],
        Key::Pod => vec![container.and_then(|container| container.k8s_pod_name.clone())],
        Key::Namespace => vec![container.and_then(|container| container.k8s_namespace_name.clone())],
        Key::Port => ports(found).into_iter().map(|port| Some(port.to_string())).collect(),
    };
    all.into_iter().flatten().collect()
}

/// TCP ports of its listeners, ascending.
fn ports(found: &Found) -> Vec<u16> {
    let mut ports: Vec<u16> = found
        .facts
        .listeners
        .iter()
        .map(|ListenerSeen { port, .. }| *port)
        .filter(|port| *port > 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The name of a user in `/etc/passwd` of this machine.
fn user_name(number: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, of) = (fields.next()?, fields.nth(1)?);
        (of.parse() == Ok(number)).then(|| name.to_owned())
    })
}

fn shown(text: &str) -> String {
    line(text, MAX_LABEL, Charset::Unicode)
}
