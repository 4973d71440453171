//! A program in a terminal of our own: what it draws, keys typed into it, and how it leaves the terminal.
//!
//! In: arguments of `wsgi-trace`, a size. Out: its screen as text, whenever asked; the modes of the terminal.
//! A reader thread keeps the pseudo-terminal empty, as a real terminal does, until it is told to stop.

use std::io::Read as _;
use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::child::{Child, until};
use crate::program::wsgi_trace_binary;

/// Longest wait for something to be drawn.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a program in it.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    ours: OwnedFd,
    /// The program's side, kept open so that its modes can be read after its end.
    theirs: OwnedFd,
    screen: Screen,
    reads: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Screen(Arc<Mutex<Parser>>);

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text())
    }
}

impl Screen {
    fn with<T>(&self, ask: impl FnOnce(&mut Parser) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn text(&self) -> String {
        self.with(|parser| parser.screen().contents())
    }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

impl Terminal {
    /// Starts `wsgi-trace` in a terminal of `columns` × `rows`, with these variables in its environment.
    ///
    /// # Errors
    ///
    /// Where it does not build or start, or the system has no pseudo-terminals.
    pub fn start(
        arguments: &[&str],
        (columns, rows): (u16, u16),
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).context("no pseudo-terminal")?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        tcsetwinsize(&theirs, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let mut command = Command::new(wsgi_trace_binary()?);
        command.args(arguments).env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs.try_clone()?);
        // SAFETY: between fork and exec only `setsid` and an `ioctl` run, which are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                // The group of `Child` ends here: a session's leader leads its group too.
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = Child::start_in_session(&mut command, "wsgi-trace")?;
        let screen = Screen(Arc::new(Mutex::new(Parser::new(cells(rows), cells(columns), 0))));
        let reads = Arc::new(AtomicBool::new(true));
        let mut from = std::fs::File::from(ours.try_clone()?);
        let (drawn, goes_on) = (screen.clone(), Arc::clone(&reads));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                drawn.with(|parser| parser.process(bytes.get(..count).unwrap_or_default()));
                while !goes_on.load(Ordering::Acquire) {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
        });
        Ok(Self { child, ours, theirs, screen, reads })
    }

    /// What is on the screen, as a page for a browser.
    pub fn page(&self) -> String {
        self.screen.with(|parser| crate::picture::page(parser.screen()))
    }

    /// PID of the program.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.screen.text()
    }

    /// Waits until the screen shows `text`; returns the screen.
    ///
    /// # Errors
    ///
    /// Where it does not within half a minute, or the program ends.
    pub fn wait_for(&mut self, text: &str) -> anyhow::Result<String> {
        self.wait_until(&format!("the screen to show {text:?}"), |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be; returns it.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let found = until(what, PATIENCE, || {
            let ended = self.child.ended()?;
            let screen = self.screen.text();
            match (is_so(&screen), ended) {
                (true, _) => Ok(Some(screen)),
                (false, Some(status)) => bail!("wsgi-trace ended, {status}"),
                (false, None) => Ok(None),
            }
        });
        found.with_context(|| format!("the screen was:\n{}", self.screen.text()))
    }

    /// Types.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub fn type_keys(&self, keys: &str) -> anyhow::Result<()> {
        rustix::io::write(&self.ours, keys.as_bytes())?;
        Ok(())
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        self.screen.with(|parser| parser.screen_mut().set_size(cells(rows), cells(columns)));
        tcsetwinsize(&self.ours, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        Ok(())
    }

    /// The terminal takes nothing more: what is written to it fills its buffer and then blocks.
    pub fn stop_reading(&self) {
        self.reads.store(false, Ordering::Release);
    }

    /// The terminal reads again.
    pub fn read_again(&self) {
        self.reads.store(true, Ordering::Release);
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: i32) {
        self.child.signal(signal);
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    ///
    /// Where it does not end within `limit`.
    pub fn finish(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.child.wait(limit)
    }

    /// Whether the terminal is as programs expect to find it: lines are edited and echoed, the cursor is
    /// there, the ordinary screen is shown.
    ///
    /// # Errors
    ///
    /// Where the terminal is gone.
    pub fn is_restored(&self) -> anyhow::Result<bool> {
        let modes = tcgetattr(self.theirs.as_fd())?.local_modes;
        let cooked = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        Ok(cooked && self.screen.with(|p| !p.screen().alternate_screen() && !p.screen().hide_cursor()))
    }

    /// Whether any cell has a colour.
    pub fn has_colour(&self) -> bool {
        self.screen.with(|parser| {
            let screen = parser.screen();
            let (rows, columns) = screen.size();
            let all = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
            let plain = vt100::Color::Default;
            all.filter_map(|(row, column)| screen.cell(row, column))
                .any(|cell| cell.fgcolor() != plain || cell.bgcolor() != plain)
        })
    }
}

/// Runs `wsgi-trace` without any terminal.
///
/// # Errors
///
/// Where it does not build or start.
pub fn without_terminal(arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    let mut command = Command::new(wsgi_trace_binary()?);
    Ok(command.args(arguments).stdin(Stdio::null()).output()?)
}
