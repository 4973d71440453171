//! Who is attached while something is measured: nobody, wsgi-trace, the same hooks without bodies, other
//! tools.
//!
//! In: the processes of a server. Out: a running tool that has said that it watches, ended like Ctrl-C would.
//! Each tool is started as its own documentation says; adding one is adding a line to [`SUBJECTS`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use wsgi_trace_test_support::child::{Child, until};

use crate::machine::version;
use crate::rounds::Contender;
use crate::server::{beside, on_cpus};
use crate::statistics::SURE_ROUNDS;

/// Name of the row that all others are compared with.
pub(crate) const ALONE: &str = "nothing attached";
/// Name of the floor.
pub(crate) const EMPTY: &str = "empty programs on the same hooks";
/// Name of ours as it is used by default.
pub(crate) const OURS: &str = "wsgi-trace";

/// Name of ours without hooks on system calls.
pub(crate) const LIGHT: &str = "wsgi-trace --light";

/// The same on the core of the client, and on that of the server.
pub(crate) const BESIDE_CLIENT: &str = "wsgi-trace, on the client's core";
pub(crate) const BESIDE_SERVER: &str = "wsgi-trace, on the server's core";

/// How long a tool may take to attach or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The groups of which a measurement takes some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Nobody.
    Alone,
    /// wsgi-trace and its floor, all calls hooked at once.
    Ours,
    /// wsgi-trace without hooks on system calls.
    Light,
    /// wsgi-trace, kept to one core.
    Placed,
    /// wsgi-trace with a hook for each call.
    Tracepoints,
    /// wsgi-trace with each way of looking at the interpreter lock.
    Gil,
    /// What people use today, on any server.
    Tools,
}

/// When a tool watches.
#[derive(Clone, Copy, Debug)]
enum Ready {
    /// The tool says so, on standard output or error.
    Says(&'static str),
    /// The tool does not say.
    After(Duration),
}

/// What can be attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Its row.
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    program: fn() -> anyhow::Result<PathBuf>,
    arguments: fn(&Target) -> Vec<String>,
    ready: Ready,
    version: &'static [&'static str],
}

/// Whom to attach to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The process that was started.
    pub(crate) root: u32,
    /// The one that runs the application.
    pub(crate) worker: u32,
    /// Where the tool itself may run.
    pub(crate) cpus: Vec<usize>,
}

/// The target directory of the programs without bodies.
pub(crate) const EMPTY_TARGET: &str = "target/empty";

/// Hooks the events that our program hooks, and counts each by process and call.
const BPFTRACE: &str = "BEGIN { printf(\"watching\\n\"); } \
    tracepoint:raw_syscalls:sys_enter /pid == $1/ { @start[tid] = nsecs; } \
    tracepoint:raw_syscalls:sys_exit /pid == $1 && @start[tid]/ \
    { @calls[args->id] = count(); @ns[args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); } \
    tracepoint:sched:sched_switch /pid == $1/ { @off[tid] = nsecs; @switches = count(); } \
    tracepoint:sched:sched_wakeup { @wakeups = count(); } tracepoint:sched:sched_waking { @wakings = count(); } \
    tracepoint:sock:inet_sock_set_state { @states[args->newstate] = count(); }";

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn ours(target: &Target, hooks: &str) -> Vec<String> {
    words(&["--pid", &target.root.to_string(), "--hooks", hooks, "--format", "json"])
}

fn in_path(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed"))
}

fn installed(path: &str) -> anyhow::Result<PathBuf> {
    let path = wsgi_trace_test_support::root().join(path);
    if path.is_file() { Ok(path) } else { bail!("{} is not installed", path.display()) }
}

fn wsgi_trace() -> anyhow::Result<PathBuf> {
    beside("wsgi-trace")
}

/// The program, if this version of it can be told how to look at the interpreter lock.
fn with_gil_modes() -> anyhow::Result<PathBuf> {
    let program = wsgi_trace()?;
    let help = Command::new(&program).arg("--help").output()?;
    if String::from_utf8_lossy(&help.stdout).contains("--gil") {
        Ok(program)
    } else {
        bail!("this version of wsgi-trace has no --gil")
    }
}

fn gil(target: &Target, mode: &str) -> Vec<String> {
    let mut arguments = ours(target, "btf");
    arguments.push(format!("--gil={mode}"));
    arguments
}

fn empty() -> anyhow::Result<PathBuf> {
    let program = wsgi_trace_test_support::root().join(EMPTY_TARGET).join("release/wsgi-trace");
    if program.is_file() { Ok(program) } else { bail!("the build with empty programs is not there") }
}

const WATCHING: Ready = Ready::Says("watching process");

/// wsgi-trace as it is used by default.
const IN_FULL: Subject = Subject {
    name: OURS,
    group: Group::Ours,
    program: wsgi_trace,
    arguments: |target| ours(target, "btf"),
    ready: WATCHING,
    version: &["--version"],
};

/// All of them, in the order of the tables.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: ALONE,
        group: Group::Alone,
        program: wsgi_trace,
        arguments: |_| Vec::new(),
        ready: Ready::After(Duration::ZERO),
        version: &["--version"],
    },
    Subject {
        name: EMPTY,
        group: Group::Ours,
        program: empty,
        arguments: |target| ours(target, "btf"),
        ready: WATCHING,
        version: &["--version"],
    },
    IN_FULL,
    Subject {
        name: LIGHT,
        group: Group::Light,
        program: wsgi_trace,
        arguments: |target| words(&["--pid", &target.root.to_string(), "--light", "--format", "json"]),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject { name: BESIDE_CLIENT, group: Group::Placed, ..IN_FULL },
    Subject { name: BESIDE_SERVER, group: Group::Placed, ..IN_FULL },
    Subject {
        name: "empty programs, a hook for each call",
        group: Group::Tracepoints,
        program: empty,
        arguments: |target| ours(target, "tracepoints"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "wsgi-trace --hooks tracepoints",
        group: Group::Tracepoints,
        program: wsgi_trace,
        arguments: |target| ours(target, "tracepoints"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "wsgi-trace --gil=off",
        group: Group::Gil,
        program: with_gil_modes,
        arguments: |target| gil(target, "off"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "wsgi-trace --gil=syscalls",
        group: Group::Gil,
        program: with_gil_modes,
        arguments: |target| gil(target, "syscalls"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "wsgi-trace --gil=uprobes",
        group: Group::Gil,
        program: with_gil_modes,
        arguments: |target| gil(target, "uprobes"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "wsgi-trace --gil=full",
        group: Group::Gil,
        program: with_gil_modes,
        arguments: |target| gil(target, "full"),
        ready: WATCHING,
        version: &["--version"],
    },
    Subject {
        name: "py-spy record",
        group: Group::Tools,
        program: || installed(".tools/bench/venv/bin/py-spy"),
        arguments: |target| {
            words(&[
                "record",
                "--output",
                "profile.svg",
                "--duration",
                "600",
                "--pid",
                &target.worker.to_string(),
            ])
        },
        ready: Ready::Says("Sampling process"),
        version: &["--version"],
    },
    Subject {
        name: "py-spy dump, once a second",
        group: Group::Tools,
        program: || in_path("sh"),
        arguments: |target| {
            let dump = format!(
                "while :; do '{}' dump --pid {}; sleep 1; done",
                wsgi_trace_test_support::root().join(".tools/bench/venv/bin/py-spy").display(),
                target.worker
            );
            words(&["-c", &dump])
        },
        ready: Ready::Says("Process "),
        version: &[],
    },
    Subject {
        name: "bpftrace, counts and histograms",
        group: Group::Tools,
        program: || in_path("bpftrace"),
        arguments: |target| words(&["-e", BPFTRACE, &target.worker.to_string()]),
        ready: Ready::Says("watching"),
        version: &["--version"],
    },
    Subject {
        name: "perf trace -s",
        group: Group::Tools,
        program: || in_path("perf"),
        arguments: |target| words(&["trace", "-s", "-p", &target.worker.to_string()]),
        ready: Ready::After(Duration::from_millis(700)),
        version: &["--version"],
    },
    Subject {
        name: "strace -f -c",
        group: Group::Tools,
        program: || in_path("strace"),
        arguments: |target| words(&["-f", "-c", "-p", &target.worker.to_string()]),
        ready: Ready::Says("attached"),
        version: &["--version"],
    },
];

/// Rows that are known but cannot be run where the benchmark runs, with the reason.
pub(crate) const NOT_INSTALLABLE: &[(&str, &str)] = &[(
    "per4m (giltracer)",
    "does not build with Python 3.11 or newer (it reads fields of PyFrameObject that 3.11 hides), and traces only \
     programs that it starts itself",
)];

/// Rounds for an interval that is to hold the true value with 95 %, and no more.
pub(crate) const FEW_ROUNDS: usize = SURE_ROUNDS;

/// Rounds for those of which only the size of the effect is wanted, and whose attaching or detaching takes
/// seconds.
const FEWEST_ROUNDS: usize = 3;

impl Contender for &'static Subject {
    fn most_rounds(&self) -> usize {
        match self.group {
            Group::Alone | Group::Ours | Group::Light => usize::MAX,
            Group::Gil | Group::Placed => FEW_ROUNDS,
            Group::Tracepoints | Group::Tools => FEWEST_ROUNDS,
        }
    }
}

impl Subject {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SUBJECTS.iter().find(|subject| subject.name == name)
    }

    /// Its version, or why it cannot be run.
    pub(crate) fn check(&self) -> anyhow::Result<Option<String>> {
        let program = (self.program)()?;
        if self.version.is_empty() {
            return Ok(None);
        }
        Ok(version(&program, self.version))
    }

    /// Attaches it and returns once it watches.
    pub(crate) fn start(&self, target: &Target) -> anyhow::Result<Attached> {
        self.start_with(target, &[])
    }

    /// Attaches it with further arguments, and returns once it watches.
    pub(crate) fn start_with(&self, target: &Target, more: &[&str]) -> anyhow::Result<Attached> {
        let directory = tempfile::tempdir()?;
        if self.group == Group::Alone {
            return Ok(Attached { child: None, directory, program: PathBuf::new() });
        }
        let program = (self.program)()?;
        let mut command = Command::new(&program);
        let output = File::create(directory.path().join("output"))?;
        command
            .args((self.arguments)(target))
            .args(more)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        on_cpus(&mut command, &target.cpus);
        let mut child = Child::start(&mut command, self.name)?;
        let start = Instant::now();
        let said = directory.path().join("output");
        until(&format!("{} to watch", self.name), PATIENCE, || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            if let Some(status) = child.ended()? {
                bail!("it ended, {status}: {}", text.lines().last().unwrap_or_default());
            }
            Ok(match self.ready {
                Ready::Says(word) => text.contains(word),
                Ready::After(delay) => start.elapsed() >= delay,
            }
            .then_some(()))
        })?;
        Ok(Attached { child: Some(child), directory, program })
    }
}

/// A tool at work.
#[derive(Debug)]
pub(crate) struct Attached {
    child: Option<Child>,
    directory: TempDir,
    program: PathBuf,
}

impl Attached {
    /// PID of the tool, where there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(self.directory.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for it to end by itself; what it wrote, and when it ended. Then waits until the hooks are gone
    /// too.
    pub(crate) fn wait(mut self) -> anyhow::Result<(String, Instant)> {
        let mut child = self.child.take().context("nothing is attached")?;
        let status = child.wait(PATIENCE)?;
        let ended = Instant::now();
        if !status.success() {
            bail!("it ended, {status}: {}", self.output().lines().last().unwrap_or_default());
        }
        until("the hooks to be gone", PATIENCE, || Ok((!runs(&self.program)).then_some(())))?;
        Ok((self.output(), ended))
    }

    /// Ctrl-C, then waits until it and what it left behind are gone; returns what it wrote.
    pub(crate) fn finish(mut self) -> anyhow::Result<String> {
        let Some(mut child) = self.child.take() else { return Ok(String::new()) };
        child.signal(libc::SIGINT);
        if child.wait(Duration::from_secs(5)).is_err() {
            child.stop();
        }
        child.stop();
        // With a hook for each call the kernel takes seconds to let go; a process of ours waits for it.
        let name = self.program.clone();
        until("the hooks to be gone", PATIENCE, || Ok((!runs(&name)).then_some(())))?;
        Ok(self.output())
    }
}

/// Whether a process runs, or is being ended, that was made from this very file.
fn runs(program: &Path) -> bool {
    let named = program.file_name().is_some_and(|name| name == "wsgi-trace");
    if !named {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        if let Ok(executable) = std::fs::read_link(process.path().join("exe")) {
            return executable == program;
        }
        // One that is being ended has no file any more, only its name; so has every kernel thread.
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let state = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'));
        name.trim() == "wsgi-trace" && !zombie
    })
}

/// Why a subject cannot run here, for all that `wanted` names.
pub(crate) fn choose(wanted: &[Group]) -> (Vec<&'static Subject>, Vec<(&'static str, String)>) {
    let (mut here, mut missing) = (Vec::new(), Vec::new());
    for subject in SUBJECTS.iter().filter(|subject| wanted.contains(&subject.group)) {
        match subject.check() {
            Ok(_) => here.push(subject),
            Err(error) => missing.push((subject.name, format!("{error:#}"))),
        }
    }
    (here, missing)
}
