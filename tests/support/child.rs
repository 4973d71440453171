//! A child process with its descendants, ended when the test ends.
//!
//! In: a command. Out: its PID, and the promise that its process group is gone after `drop`.

use std::os::unix::process::CommandExt as _;
use std::process::{Child as Process, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A running child, leader of a process group of its own.
#[derive(Debug)]
pub struct Child {
    process: Process,
    what: String,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts `command` as leader of a new process group. It gets SIGTERM when the thread that starts it
    /// ends, so that an interrupted test run leaves no server behind.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start(command: &mut Command, what: &str) -> anyhow::Result<Self> {
        command.process_group(0);
        Self::start_in_session(command, what)
    }

    /// Starts `command` as leader of a session, as what a user starts from a terminal of its own: where the
    /// kernel shares the CPUs among sessions first (`sched_autogroup_enabled`, sched(7)), it does not share
    /// its part with servers and clients.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start_as_session(command: &mut Command, what: &str) -> anyhow::Result<Self> {
        // SAFETY: between fork and exec only `setsid` runs, which is async-signal-safe and takes no pointers.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        Self::start_in_session(command, what)
    }

    /// Starts a `command` that makes itself leader of a session, and so of a group.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start_in_session(command: &mut Command, what: &str) -> anyhow::Result<Self> {
        // SAFETY: between fork and exec only `prctl` runs, which is async-signal-safe and takes no pointers
        // here.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let process = command.spawn().with_context(|| {
            format!(
                "{what} could not be started: is {:?} there? `make setup` installs it",
                command.get_program()
            )
        })?;
        Ok(Self { process, what: what.to_owned(), ended: None })
    }

    /// PID, in this test's namespace.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its standard input, if the command asked for a pipe; once.
    pub fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.process.stdin.take()
    }

    /// The pipe of standard output, once.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.process.stdout.take()
    }

    /// Its exit status, where it has ended.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Where it has not ended within `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("the end of {}", self.what);
        until(&what, limit, || self.ended())
    }

    /// Sends a signal to the process alone, unless it has ended.
    pub fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            self.send(i64::from(self.pid()), signal);
        }
    }

    /// Asks the process to end, waits, and ends what is left of its group.
    pub fn stop(&mut self) {
        if self.ended.is_none() {
            self.signal(libc::SIGTERM);
            // The leader stays unreaped until its group got the signal, so the group's number cannot be
            // another's.
            let _ = until("the end", Duration::from_secs(5), || Ok(self.is_zombie().then_some(())));
            self.send(-i64::from(self.pid()), libc::SIGKILL);
            self.ended = self.process.wait().ok();
        }
    }

    /// Ends the process and what is left of its group at once, as a power cut would.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.send(-i64::from(self.pid()), libc::SIGKILL);
            self.ended = self.process.wait().ok();
        }
    }

    fn is_zombie(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
    }

    fn send(&self, target: i64, signal: i32) {
        let Ok(target) = libc::pid_t::try_from(target) else { return };
        // SAFETY: `kill` takes no pointers; the child is not reaped yet, so the number is still its own.
        unsafe { libc::kill(target, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Repeats `attempt` until it gives a value.
///
/// # Errors
///
/// What `attempt` gives, or that `what` did not come within `limit`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    attempt: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    until_each(what, (limit, Duration::from_millis(2)), attempt)
}

/// Repeats `attempt` until it gives a value, with `pause` between two attempts.
///
/// # Errors
///
/// As [`until`].
pub fn until_each<T>(
    what: &str,
    (limit, pause): (Duration, Duration),
    mut attempt: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        std::thread::sleep(pause);
    }
}
