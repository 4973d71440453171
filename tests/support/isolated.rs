//! A gunicorn that shares nothing with this machine but its kernel and `/usr`: PID, mount, network, user and
//! other namespaces of its own, a quota of CPU, a limit of memory.
//!
//! In: podman, Debian's Python, gunicorn's files. Out: its PID here, the id of its container, clients inside
//! its network. Its root file system is made by hand: the interpreter, the server and the application stand
//! where this machine has nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::child::{Child, until};
use crate::environment;
use crate::load::{Load, Sent};
use crate::podman;
use crate::program::wsgi_trace_binary;

/// Its root's user number on this machine.
const FIRST_USER: u32 = 200_000;
/// Limit of its memory.
pub const MEMORY_BYTES: u64 = 256 << 20;
/// Its quota, in CPUs.
pub const CPUS: f64 = 0.5;
/// The container's name.
const NAME: &str = "web";
/// Long enough for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Computes by itself for about as long as a thread may keep the lock (5 ms), so that the other one waits for
/// it.
const APPLICATION: &str = "
def spin():
    return sum(number * number for number in range(100000))

def app(environ, start_response):
    body = str(spin()).encode()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
";

/// The running server.
#[derive(Debug)]
pub struct Isolated {
    podman: Child,
    directory: TempDir,
    pid: u32,
    /// Port on which it listens in its own network.
    pub port: u16,
    /// The container's id.
    pub container_id: String,
}

impl Isolated {
    /// Starts it, with two threads in one worker, and waits until both have answered: they are made with the
    /// first requests.
    ///
    /// # Errors
    ///
    /// Where podman or the server does not come up.
    pub fn start() -> anyhow::Result<Self> {
        // Where it is built first, that counts as part of no container's time.
        wsgi_trace_binary()?;
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let root = directory.path().join("root");
        let packages = make_root(&root)?;
        // Free here, so that it is no other server's of this machine.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (pid_file, id_file) = (directory.path().join("pid"), directory.path().join("id"));
        let mut command = podman::run_alone(directory.path());
        // Where its standard input is this machine's `/dev/null`, crun makes that the container's user's own.
        command.arg("--interactive");
        command.args(["--network=none", "--name", NAME, "--workdir=/srv/app", "--env=PYTHONHOME=/usr"]);
        let map = format!("0:{FIRST_USER}:65536");
        command.arg(format!("--uidmap={map}")).arg(format!("--gidmap={map}"));
        command.arg(format!("--cpus={CPUS}")).arg(format!("--memory={MEMORY_BYTES}b"));
        command.arg("--volume=/usr:/usr:ro").arg(format!("--env=PYTHONPATH={packages}"));
        command.arg("--pidfile").arg(&pid_file).arg("--cidfile").arg(&id_file).arg("--rootfs").arg(&root);
        command.args(["/opt/runtime/bin/python3", "-m", "gunicorn", "--worker-tmp-dir=/dev/shm"]);
        // Its master would import the control server after the first worker has begun, while a test takes the
        // files away.
        command.arg("--no-control-socket");
        command.args(["--worker-class=gthread", "--workers=1", "--threads=2"]);
        command.arg(format!("--bind=127.0.0.1:{port}")).arg("shop:app");
        let said = fs::File::create(directory.path().join("said"))?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let podman = Child::start(&mut command, "podman")?;
        let mut server = Self { podman, directory, pid: 0, port, container_id: String::new() };
        let ready = until("the contained server to answer", START_LIMIT, || {
            ensure!(server.podman.ended()?.is_none(), "podman has ended");
            server.pid = number(&pid_file);
            server.container_id = fs::read_to_string(&id_file).unwrap_or_default().trim().to_owned();
            Ok((server.pid > 0 && server.listens()).then_some(()))
        });
        ready.with_context(|| server.said())?;
        server.ask(&["--requests=20", "--clients=3", "--seconds=20", "--routes=/warm"])?;
        Ok(server)
    }

    /// What it has written so far.
    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// Number of its first process on this machine.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// `podman run` for a container beside it, whose options can name it ([`Isolated::its_processes`]).
    pub fn sidecar(&self) -> Command {
        podman::run(self.directory.path())
    }

    /// podman's option for a container that shares its PID namespace, and nothing else.
    pub fn its_processes() -> String {
        format!("--pid=container:{NAME}")
    }

    /// Its root file system as it is kept on this machine.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Runs clients inside its network, with options of `clients/load.py`.
    ///
    /// # Errors
    ///
    /// Where they do not run, or what they say cannot be read.
    pub fn ask(&self, options: &[&str]) -> anyhow::Result<Sent> {
        self.start_asking(options)?.finish().with_context(|| format!("the server said:\n{}", self.said()))
    }

    /// Starts clients inside its network.
    ///
    /// # Errors
    ///
    /// Where they do not run.
    pub fn start_asking(&self, options: &[&str]) -> anyhow::Result<Load> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg("/usr/bin/python3");
        command.arg(crate::root().join("tests/clients/load.py"));
        command.arg(format!("--address=127.0.0.1:{}", self.port)).args(options);
        Load::of(command)
    }

    /// Ends it at once, as the kernel does where memory runs out.
    pub fn kill(&self) {
        kill(self.pid);
    }

    fn listens(&self) -> bool {
        let wanted = format!(":{:04X} 00000000:0000 0A", self.port);
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid)).unwrap_or_default();
        let has_worker =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        table.contains(&wanted) && !has_worker.trim().is_empty()
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        if self.podman.ended().ok().flatten().is_none() {
            kill(self.pid);
            // podman takes its container away; where it does not, its own limit of time does.
            let _ = self.podman.wait(Duration::from_secs(20));
        }
    }
}

fn kill(pid: u32) {
    if let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1) {
        // SAFETY: `kill` takes no pointers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

fn number(file: &Path) -> u32 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Makes the root file system; where its Python finds packages, as its processes see it.
fn make_root(root: &Path) -> anyhow::Result<String> {
    let interpreter = fs::canonicalize("/usr/bin/python3").context("Debian's python3 is needed")?;
    let python = interpreter.file_name().and_then(|name| name.to_str()).context("python3 has no name")?;
    let packages = format!("opt/runtime/lib/{python}/site-packages");
    for directory in
        ["usr", "etc", "tmp", "run", "proc", "sys", "dev", "opt/runtime/bin", "srv/app", &packages]
    {
        fs::create_dir_all(root.join(directory))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        if Path::new("/usr").join(link).exists() {
            std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link))?;
        }
    }
    fs::copy(&interpreter, root.join("opt/runtime/bin/python3"))?;
    fs::copy("/etc/ld.so.cache", root.join("etc/ld.so.cache"))?;
    fs::write(root.join("srv/app/shop.py"), APPLICATION)?;
    let installed = environment::packages("venv27")?;
    for entry in fs::read_dir(&installed)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("gunicorn") || name.starts_with("packaging") {
            run(Command::new("cp").arg("--recursive").arg(entry.path()).arg(root.join(&packages)))?;
        }
    }
    run(Command::new("chown").args(["--recursive", &format!("{FIRST_USER}:{FIRST_USER}")]).arg(root))?;
    Ok(format!("/{packages}"))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
