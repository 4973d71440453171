//! Real servers of every kind, serving the demo application: one [`Recipe`] each, in a file of its own.
//!
//! In: a recipe (how to start the server, what its log measures). Out: a [`Server`] that is ready, its PIDs,
//! its address and its log; ended when dropped, with all its children.

pub mod access_log;
pub mod apache;
pub mod asking;
pub mod asks_itself;
pub mod cheroot;
pub mod composed;
pub mod container;
pub mod daphne;
pub mod fastapi;
pub mod few_files;
pub mod further;
pub mod gevent;
pub mod granian;
pub mod gunicorn_asgi;
pub mod hypercorn;
pub mod in_script;
pub mod lasting;
pub mod line;
pub mod listeners;
pub mod mod_wsgi;
pub mod nginx;
pub mod own_loop;
pub mod parts;
pub mod place;
pub mod stack;
pub mod tls;
pub mod twisted;
pub mod uvicorn;
pub mod uwsgi;
pub mod waiters;
pub mod waitress;
pub mod wsgiref;

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::address::Address;
use crate::backend::Backend;
use crate::child::{Child, until};
use crate::stores::Stores;
use crate::trace::TracedRequest;
use crate::witness::{self, Witness};
pub use line::{Line, Log};
pub use place::{Listen, Place};

/// Long enough for a busy machine; nothing waits that long when all is well.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What a server's clients may do, where they are to get an answer to everything.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// Requests of one connection.
    pub keep_alive: &'static str,
    /// Kinds of requests, as `clients/load.py --kinds` takes them.
    pub kinds: &'static str,
}

/// How to start one kind of server, and what to expect of it.
pub trait Recipe {
    /// Name of the server in reports.
    fn name(&self) -> &'static str;

    /// How it is set up, for messages: `waitress, 4 threads`.
    fn about(&self) -> String;

    /// What to start, in this order; the first is the WSGI server. The environment that all get is added to
    /// each.
    ///
    /// # Errors
    ///
    /// Where a file that it needs cannot be written.
    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>>;

    /// The server that this one is about, where it only changes how that is started or stands before it: what
    /// it does not say otherwise is as there.
    fn inner(&self) -> Option<&dyn Recipe> {
        None
    }

    /// A file of its directory that names its PID, where it is not the process that is started.
    fn pid_file(&self) -> Option<&'static str> {
        self.inner().and_then(Recipe::pid_file)
    }

    /// Whether it must be asked to end where nobody wants its last words: what it has from the kernel
    /// outlives it otherwise, or a process of its own is in another group.
    fn must_be_asked_to_end(&self) -> bool {
        self.inner().is_some_and(Recipe::must_be_asked_to_end)
    }

    /// Processes that load the application before the server is ready.
    fn loads(&self) -> usize {
        self.inner().map_or(1, Recipe::loads)
    }

    /// Event loops, each in a process of its own, that share its connections; 1 where none are shared.
    fn loops(&self) -> usize {
        if self.slots().is_none() { self.loads() } else { 1 }
    }

    /// Requests that it serves at once by its settings; `None`: no limit that a setting makes.
    fn slots(&self) -> Option<u64>;

    /// Where it listens.
    fn listen(&self) -> Listen {
        self.inner().map_or(Listen::Ipv4, Recipe::listen)
    }

    /// The witness of its requests: its own log where that has their times, else the application's.
    fn log(&self) -> Log {
        self.inner().map_or(line::APPLICATION, Recipe::log)
    }

    /// The part of a request, by our account, that its log's time covers.
    fn logged_ns(&self, request: &TracedRequest) -> Option<u64> {
        self.inner().map_or(request.service_ns, |inner| inner.logged_ns(request))
    }

    /// Whether a client gets what the log says also where the application raises an exception.
    fn answers_exceptions(&self) -> bool {
        self.inner().is_none_or(Recipe::answers_exceptions)
    }

    /// Whether what stands before it is traced too.
    fn traces_front_end(&self) -> bool {
        self.inner().is_none_or(Recipe::traces_front_end)
    }

    /// Whether its application asks a PostgreSQL and a Redis.
    fn has_stores(&self) -> bool {
        self.inner().is_some_and(Recipe::has_stores)
    }

    /// Whether another request may take the interpreter between its log's clock and ours: threads share the
    /// GIL, an event loop its thread.
    fn shares_gil(&self) -> bool {
        self.inner().is_none_or(Recipe::shares_gil)
    }

    /// Whether the application is `demo_app`, and one thread does all the work of a request: then its clocks
    /// are its requests'.
    fn knows_its_work(&self) -> bool {
        self.inner().is_none_or(Recipe::knows_its_work)
    }

    /// How far apart the readings of its log's clock are, in ns.
    fn log_resolution_ns(&self) -> u64 {
        self.inner().map_or(0, Recipe::log_resolution_ns)
    }

    /// What its clients may do.
    fn clients(&self) -> Clients {
        let usual = Clients { keep_alive: "5", kinds: "get=6,head,sized,chunked,expect" };
        self.inner().map_or(usual, Recipe::clients)
    }

    /// Greatest share of all request time that may be unexplained.
    fn unexplained(&self) -> f64 {
        self.inner().map_or(0.02, Recipe::unexplained)
    }
}

/// A running server with a back end.
#[derive(Debug)]
pub struct Server {
    children: Vec<Child>,
    log: Log,
    place: Place,
    /// The WSGI server's own.
    pid: u32,
    must_be_asked_to_end: bool,
    _backend: Backend,
    stores: Option<Stores>,
}

impl Server {
    /// Starts a server and returns when each process has loaded the application and the listener takes
    /// connections.
    ///
    /// # Errors
    ///
    /// Where it does not come up, with the end of its error log.
    pub fn start(recipe: &dyn Recipe) -> anyhow::Result<Self> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(recipe) {
                // Another process took the free port before the server did.
                Err(error) if attempts < 3 && format!("{error:#}").contains("already in use") => {}
                outcome => return outcome,
            }
        }
    }

    fn try_start(recipe: &dyn Recipe) -> anyhow::Result<Self> {
        let mut backend = Backend::begin()?;
        let stores = recipe.has_stores().then(Stores::start).transpose()?;
        let place = Place::new(recipe.listen(), &backend.address)?;
        let mut children = Vec::new();
        for mut command in recipe.commands(&place)? {
            place.prepare(&mut command)?;
            if let Some(stores) = &stores {
                stores.tell(&mut command);
            }
            children.push(Child::start(&mut command, recipe.name())?);
        }
        // Both start at once.
        backend.until_it_answers()?;
        let pid = children.first().map_or(0, Child::pid);
        let must_be_asked_to_end = recipe.must_be_asked_to_end();
        let log = recipe.log();
        let mut server = Self { children, log, place, pid, must_be_asked_to_end, _backend: backend, stores };
        let ready =
            until(&format!("{} to be ready", recipe.name()), START_LIMIT, || server.is_ready(recipe.loads()));
        ready.with_context(|| server.last_words())?;
        if let Some(file) = recipe.pid_file() {
            server.pid = std::fs::read_to_string(server.file(file))?.trim().parse()?;
        }
        Ok(server)
    }

    /// PID of the WSGI server: the process that was started, its master where it has one.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// PIDs of everything that was started, in the recipe's order: a front end comes after the WSGI server.
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::pid).collect()
    }

    /// PIDs of the children that the WSGI server has now.
    pub fn worker_pids(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Where clients reach it.
    pub fn address(&self) -> &Address {
        &self.place.address
    }

    /// The PostgreSQL and the Redis that its application asks.
    ///
    /// # Errors
    ///
    /// Where the recipe has none.
    pub fn stores(&self) -> anyhow::Result<&Stores> {
        self.stores.as_ref().context("the application has no stores")
    }

    /// `host:port` of its back end.
    pub fn back_end(&self) -> &str {
        &self.place.backend
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.file(name)
    }

    /// Sends a signal to the WSGI server's first process.
    pub fn signal(&self, signal: i32) {
        if let Some(child) = self.children.first() {
            child.signal(signal);
        }
    }

    /// The witness's lines once there are so many.
    ///
    /// # Errors
    ///
    /// Where there are not within ten seconds, or one cannot be read.
    pub fn log(&self, lines: usize) -> anyhow::Result<Vec<Line>> {
        let path = self.file(self.log.file);
        until(&format!("{lines} lines in {}", self.log.file), Duration::from_secs(10), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let log = line::parse(&text, self.log.line)?;
            Ok((log.len() >= lines).then_some(log))
        })
    }

    /// What the application's `/truth` routes have measured so far.
    ///
    /// # Errors
    ///
    /// Where a line cannot be read.
    pub fn witness(&self) -> anyhow::Result<Vec<Witness>> {
        witness::parse(&std::fs::read_to_string(self.file("witness.jsonl")).unwrap_or_default())
    }

    /// Ends the server; its logs can still be read.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.children.first_mut().filter(|child| child.pid() != self.pid) {
            end_contained(self.pid);
            // The container's runtime tidies up now, unless it is asked to end.
            let _ = runtime.wait(Duration::from_secs(10));
        }
        for child in self.children.iter_mut().rev() {
            child.stop();
        }
    }

    /// Ends the server at once; what its processes have mapped can still be read.
    pub fn kill(&mut self) {
        for child in self.children.iter_mut().rev() {
            child.kill();
        }
    }

    fn is_ready(&mut self, loads: usize) -> anyhow::Result<Option<()>> {
        for child in &mut self.children {
            if let Some(status) = child.ended()? {
                bail!("it ended at once: {status}");
            }
        }
        let loaded = std::fs::read_to_string(self.file("ready")).unwrap_or_default();
        if loaded.lines().count() < loads {
            return Ok(None);
        }
        let connected = match self.address() {
            Address::Tcp(address) => TcpStream::connect(address).is_ok(),
            Address::Unix(path) => UnixStream::connect(path).is_ok(),
        };
        Ok(connected.then_some(()))
    }

    /// The end of what it wrote to standard error.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.file("error.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default();
        format!("its error log ends:\n{}", last.join("\n"))
    }
}

/// What a recipe has set for one command, for the one that takes its place.
fn copy_environment(from: &Command, to: &mut Command) {
    to.envs(from.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// Ends a container's first process, which hears no signal that it has no handler for; with it the container,
/// whose runtime then tidies up.
fn end_contained(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    let is_gone = || Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    for (signal, seconds) in [(libc::SIGTERM, 2), (libc::SIGKILL, 5)] {
        // SAFETY: `kill` takes no pointers. The number is the container's until its runtime has seen its end.
        unsafe { libc::kill(pid, signal) };
        if until("the container's end", Duration::from_secs(seconds), is_gone).is_ok() {
            return;
        }
    }
}

impl Drop for Server {
    /// Nobody looks any more: a server that takes its time to end would take that of every test.
    fn drop(&mut self) {
        if self.must_be_asked_to_end {
            self.stop();
        }
        self.kill();
    }
}

/// Connections that wait in the accept queue of a listener over IPv4.
///
/// # Errors
///
/// Where nobody listens there.
pub fn queue_depth(address: &Address) -> anyhow::Result<u64> {
    let port: u16 = address.host_and_port().1.parse()?;
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let local = format!(":{port:04X}");
    let depth = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Number, local address, remote address, state, lengths of both queues: 0A is LISTEN.
        let [_, address, _, "0A", lengths, ..] = fields.as_slice() else { return None };
        let (_, received) = lengths.split_once(':')?;
        address.ends_with(&local).then(|| u64::from_str_radix(received, 16).ok())?
    });
    depth.with_context(|| format!("nobody listens on port {port}"))
}

/// Children of a process's main thread.
pub fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
