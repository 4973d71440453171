//! The terminal: taken over, written to without ever blocking the run, and given back whatever happens.
//!
//! In: frames as bytes. Out: the same on standard output, from a thread of its own. A terminal that does not
//! read (a stopped ssh, a pager gone mad) must keep neither the ring buffer nor SIGTERM waiting. SIGKILL
//! alone cannot be met: then `reset` restores the terminal.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::TopError;

/// How long the last bytes may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether there is a terminal to draw on.
///
/// # Errors
/// If standard input or output is none, or it cannot place text.
pub fn check() -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal { what: "standard output is none" });
    }
    if !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal { what: "standard input, where the keys come from, is none" });
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err(TopError::NoTerminal { what: "this one cannot place text (TERM)" });
    }
    Ok(())
}

/// The terminal, taken over until this is dropped.
pub struct Taken {
    /// What to draw on.
    pub terminal: Terminal<CrosstermBackend<Frames>>,
    frames: Frames,
}

impl Taken {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// If standard input or output is no terminal, or it cannot place text.
    pub fn take() -> Result<Self, TopError> {
        check()?;
        let frames = Frames::start();
        restore_on_panic();
        enable_raw_mode().map_err(TopError::Terminal)?;
        let mut writer = frames.clone();
        // From here on dropping gives it back.
        let terminal = Terminal::new(CrosstermBackend::new(frames.clone()));
        let taken = terminal.map(|terminal| Self { terminal, frames }).map_err(|error| {
            let _ = disable_raw_mode();
            TopError::Terminal(error)
        })?;
        queue!(writer, EnterAlternateScreen, Hide)
            .and_then(|()| writer.flush())
            .map_err(TopError::Terminal)?;
        Ok(taken)
    }

    /// Whether what was drawn before has been written: if not, the next frame is not worth drawing.
    pub fn is_ready(&self) -> bool {
        self.frames.waiting() == 0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut writer = self.frames.clone();
        let _ = queue!(writer, Show, LeaveAlternateScreen).and_then(|()| writer.flush());
        let start = Instant::now();
        while self.frames.waiting() > 0 && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = disable_raw_mode();
    }
}

/// A panic gives the terminal back before it says what happened.
fn restore_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = disable_raw_mode();
        let _ = queue!(io::stdout(), Show, LeaveAlternateScreen).and_then(|()| io::stdout().flush());
        before(panic);
    }));
}

/// Collects what is drawn and hands it, at each flush, to the thread that writes.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    writer: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Frames {
    fn start() -> Self {
        let (writer, frames) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting);
        std::thread::spawn(move || write(&frames, &written));
        Self { bytes: Vec::new(), writer, waiting }
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

impl Clone for Frames {
    fn clone(&self) -> Self {
        Self { bytes: Vec::new(), writer: self.writer.clone(), waiting: Arc::clone(&self.waiting) }
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let bytes = std::mem::take(&mut self.bytes);
        self.writer.send(bytes).map_err(|_gone| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

fn write(frames: &Receiver<Vec<u8>>, written: &AtomicUsize) {
    let mut stdout = io::stdout();
    for bytes in frames {
        // A terminal that is gone ends the run by SIGHUP; there is nobody to tell.
        let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        written.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Keys and changes of size, from a thread of its own; ends when the terminal does.
pub fn events() -> tokio::sync::mpsc::Receiver<Event> {
    let (sender, events) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}
