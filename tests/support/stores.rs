//! A PostgreSQL and a Redis of the test's own, for whole stacks.
//!
//! In: Debian's programs. Out: their addresses on loopback; they end when dropped, and their data with them.

use std::cmp::Ordering;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::address::free;
use crate::child::{Child, until};
use crate::environment;

/// PostgreSQL refuses to run as root; `nobody` is on every Debian.
const NOBODY: u32 = 65_534;
/// What `setup.sh` installs Redis as.
const REDIS: &str = "/usr/bin/redis-server";
/// Thirty rows, and a relation of which each row takes a millisecond to look at, as from a disk.
const SCHEMA: &str = "create table owner_row (id int primary key, name text);
    insert into owner_row select n, 'owner ' || n from generate_series(1, 30) n;
    create table item (id int primary key, owner_id int);
    insert into item select n, n from generate_series(1, 30) n;
    create function after_a_while(name text) returns text language plpgsql volatile
        as $$ begin perform pg_sleep(0.001); return name; end $$;
    create view owner as select id, after_a_while(name) as name from owner_row;";
/// Longer than a busy machine takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A running PostgreSQL and a running Redis.
#[derive(Debug)]
pub struct Stores {
    postgres: Child,
    _redis: Child,
    /// `127.0.0.1:PORT` of PostgreSQL.
    pub database: String,
    /// The directory of its UNIX socket, and the same port.
    pub database_socket: String,
    /// `127.0.0.1:PORT` of Redis.
    pub redis: String,
    _directory: TempDir,
}

/// Where Debian keeps the programs of the newest PostgreSQL.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|programs| programs.join("initdb").exists() && programs.join("postgres").exists());
    let version =
        |programs: &PathBuf| -> Option<f64> { programs.parent()?.file_name()?.to_str()?.parse().ok() };
    found.into_iter().max_by(|a, b| version(a).partial_cmp(&version(b)).unwrap_or(Ordering::Equal))
}

/// The environment that holds the frameworks.
pub fn program(name: &str) -> PathBuf {
    environment::program("venv-stacks", name)
}

/// Whether all that a stack needs is there; a test that needs it says so and ends otherwise.
pub fn are_installed() -> bool {
    let missing = [
        (postgres_programs().is_some(), "PostgreSQL"),
        (Path::new(REDIS).exists(), "Redis"),
        (program("uwsgi").exists(), "the environment of tests/requirements-stacks.txt"),
    ];
    let missing: Vec<&str> =
        missing.iter().filter(|(is_there, _)| !is_there).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        crate::gate::missing(&missing.join(", "));
    }
    missing.is_empty()
}

/// Ends a test early where a part of a stack is missing.
#[macro_export]
macro_rules! require_stacks {
    ($value:expr) => {
        if !$crate::stores::are_installed() {
            return $value;
        }
    };
}

impl Stores {
    /// Makes a database and starts both stores; they answer when this returns.
    ///
    /// # Errors
    ///
    /// Where one does not come up.
    pub fn start() -> anyhow::Result<Self> {
        let programs = postgres_programs().context("there is no PostgreSQL: `make setup` installs it")?;
        let directory = tempfile::Builder::new().prefix("wsgi-trace-stores-").tempdir()?;
        let (database, redis) = (free("127.0.0.1")?, free("127.0.0.1")?);
        let ((_, redis_port), (host, port)) = (redis.host_and_port(), database.host_and_port());
        // SAFETY: `geteuid` takes nothing and cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let as_nobody = |program: PathBuf| {
            let mut command = Command::new(program);
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command.current_dir(directory.path()).stdin(Stdio::null());
            command
        };
        if is_root {
            chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let redis_child = Child::start(
            as_nobody(PathBuf::from(REDIS))
                .args(["--bind", "127.0.0.1", "--port", &redis_port, "--save", "", "--hz", "500", "--dir"])
                .arg(directory.path())
                .stdout(Stdio::null()),
            "Redis",
        )?;
        let made = as_nobody(programs.join("initdb"))
            .args(["--pgdata", "data", "--username", "postgres", "--auth", "trust", "--encoding", "UTF8"])
            .args(["--no-locale", "--no-sync", "--no-instructions"])
            .output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = std::fs::File::create(directory.path().join("postgres.log"))?;
        let mut command = as_nobody(programs.join("postgres"));
        command.args(["-D", "data", "-h", &host, "-p", &port, "-F", "-k"]).arg(directory.path());
        // Nothing of its own may run beside what is measured.
        command.args(["-c", "autovacuum=off", "-c", "jit=off", "-c", "max_connections=40"]);
        command.stdout(Stdio::null()).stderr(log);
        let mut postgres = Child::start(&mut command, "PostgreSQL")?;
        until("PostgreSQL to answer", LIMIT, || {
            let words = || std::fs::read_to_string(directory.path().join("postgres.log")).unwrap_or_default();
            if let Some(status) = postgres.ended()? {
                anyhow::bail!("PostgreSQL ended at once: {status}: {}", words());
            }
            let psql = as_nobody(programs.join("psql"))
                .args(["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--single-transaction"])
                .args(["-h", &host, "-p", &port, "-U", "postgres", "-c", SCHEMA, "postgres"])
                .output()?;
            let said = String::from_utf8_lossy(&psql.stderr);
            ensure!(!said.contains("ERROR"), "the tables: {said}");
            Ok(psql.status.success().then_some(()))
        })?;
        until("Redis to answer", LIMIT, || {
            Ok(std::net::TcpStream::connect(redis.to_string()).is_ok().then_some(()))
        })?;
        Ok(Self {
            postgres,
            _redis: redis_child,
            database: database.to_string(),
            database_socket: format!("{}:{port}", directory.path().display()),
            redis: redis.to_string(),
            _directory: directory,
        })
    }

    /// Ports of PostgreSQL and of Redis.
    pub fn ports(&self) -> (u16, u16) {
        let port = |address: &str| address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        (port(&self.database), port(&self.redis))
    }

    /// Tells an application where they are.
    pub fn tell(&self, command: &mut Command) {
        command.env("DATABASE", &self.database).env("DATABASE_SOCKET", &self.database_socket);
        command.env("REDIS", &self.redis);
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        // A fast shutdown: clients that are left do not keep it.
        self.postgres.signal(libc::SIGINT);
    }
}
