//! `top` for a whole machine: all of its servers on one screen, the worst first.
//!
//! In: the servers that are watched, keys. Out: a screen; the process of the server that the reader wants to
//! look into.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::style::force_color_output;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row as Cells, StatefulWidget, Table, TableState, Widget as _, Wrap};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::TopError;
use super::live;
use super::terminal::{Taken, events};
use super::ui::Ui;
use crate::agent::node::directory::Directory;
use crate::agent::node::row::{Row, rows};
use crate::cli::Color;
use crate::report::escape::Charset;
use crate::report::screen::look::Look;
use crate::report::screen::paint::{Paint, Role};
use crate::report::unit::duration;
use crate::session::attached::Watch;

/// How often the servers are asked, and drawn.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows for the sentence of the chosen server.
const SENTENCE_ROWS: u16 = 4;
const NONE: &str = "-";
/// Headings, each with the columns that it has; the rest is the sentence's.
const COLUMNS: [(&str, u16); 5] = [("SERVER", 26), ("P99", 8), ("BUSY", 8), ("LINE", 5), ("MODE", 5)];

/// What is shown, and how.
pub struct Servers {
    /// Those that are watched.
    pub directory: Arc<Directory>,
    /// What was said last of any of them.
    pub said: Rc<RefCell<String>>,
    /// How to watch one of them more closely, or why that cannot be.
    pub watch: Box<dyn Fn(u32) -> Result<Watch, String>>,
    /// Length of a window of that.
    pub window: Duration,
    /// Whether to use colours.
    pub color: Color,
    /// Characters that may be used.
    pub charset: Charset,
}

/// What the reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Open(u32),
}

/// One moment.
#[derive(Default)]
struct Screen {
    rows: Vec<Row>,
    /// The process of the chosen server: it keeps the choice wherever it stands.
    chosen: Option<u32>,
    notice: String,
}

/// Shows them until the reader has had enough.
///
/// # Errors
/// If the terminal cannot be used.
pub async fn run(servers: Servers) -> Result<(), TopError> {
    let paint = Paint { colour: servers.color.enabled(true), charset: servers.charset };
    force_color_output(paint.colour);
    let mut screen = Screen::default();
    let mut keys = events();
    loop {
        match choose(&servers, &mut screen, paint, &mut keys).await? {
            Wish::Quit => return Ok(()),
            Wish::Open(pid) => screen.notice = look_into(&servers, pid, &mut keys).await,
        }
    }
}

/// One server as `top` shows it; what is to be said afterwards.
async fn look_into(servers: &Servers, pid: u32, keys: &mut Receiver<Event>) -> String {
    let watch = match (servers.watch)(pid) {
        Ok(watch) => watch,
        Err(reason) => return reason,
    };
    let open = || Ui::open(servers.color, servers.charset, Look::default(), None);
    match live::drive(watch, servers.window, keys, open).await {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

async fn choose(
    servers: &Servers,
    screen: &mut Screen,
    paint: Paint,
    keys: &mut Receiver<Event>,
) -> Result<Wish, TopError> {
    let mut taken = Taken::take()?;
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if taken.is_ready() {
            let drawn = taken.terminal.draw(|frame| screen.draw(paint, frame.area(), frame.buffer_mut()));
            drawn.map_err(TopError::Terminal)?;
        }
        tokio::select! {
            _ = look.tick() => {
                let entries = servers.directory.all();
                for entry in &entries {
                    entry.answers.look().await;
                }
                screen.rows = rows(&entries);
                let said = std::mem::take(&mut *servers.said.borrow_mut());
                if !said.is_empty() {
                    screen.notice = said;
                }
            }
            event = keys.recv() => {
                let Some(event) = event else { return Ok(Wish::Quit) };
                if let Event::Key(key) = event
                    && let Some(wish) = screen.press(key)
                {
                    return Ok(wish);
                }
            }
        }
    }
}

impl Screen {
    fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.notice.clear();
        match key.code {
            KeyCode::Char('q') => Some(Wish::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
            KeyCode::Enter => self.rows.get(self.place()).map(|row| Wish::Open(row.pid)),
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.place().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.place().saturating_add(1)),
            KeyCode::Home => self.choose(0),
            KeyCode::End => self.choose(usize::MAX),
            _ => None,
        }
    }

    fn choose(&mut self, place: usize) -> Option<Wish> {
        self.chosen = self.rows.get(place).or(self.rows.last()).map(|row| row.pid);
        None
    }

    /// Where the chosen server stands; the first, if it has gone or nobody has chosen.
    fn place(&self) -> usize {
        self.rows.iter().position(|row| Some(row.pid) == self.chosen).unwrap_or(0)
    }

    fn draw(&self, paint: Paint, area: Rect, buffer: &mut Buffer) {
        let rooms = [
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(SENTENCE_ROWS),
            Constraint::Length(1),
        ];
        let [title, table, sentence, last] = Layout::vertical(rooms).areas(area);
        let count = match self.rows.len() {
            1 => "1 server on this machine".to_owned(),
            count => format!("{count} servers on this machine, the worst first"),
        };
        paint.line(Role::Strong, &count).render(title, buffer);
        self.draw_table(paint, table, buffer);
        let said = self.rows.get(self.place()).map(sentence_of).unwrap_or_default();
        Paragraph::new(paint.quote(&said, usize::MAX)).wrap(Wrap { trim: true }).render(sentence, buffer);
        self.last_line(paint).render(last, buffer);
    }

    fn draw_table(&self, paint: Paint, area: Rect, buffer: &mut Buffer) {
        if self.rows.is_empty() {
            paint.line(Role::Quiet, "No server is watched yet.").render(area, buffer);
            return;
        }
        let room = usize::from(area.width);
        let headings = COLUMNS.map(|(heading, _)| heading).into_iter().chain(["VERDICT"]);
        let widths = COLUMNS.map(|(_, width)| Constraint::Length(width)).into_iter();
        let table = Table::new(
            self.rows.iter().map(|row| cells(row, paint, room)),
            widths.chain([Constraint::Fill(1)]),
        )
        .header(Cells::new(headings).style(paint.style(Role::Quiet)))
        .row_highlight_style(paint.style(Role::Selected));
        let mut state = TableState::new().with_selected(self.place());
        StatefulWidget::render(table, area, buffer, &mut state);
    }

    fn last_line(&self, paint: Paint) -> Line<'static> {
        if self.notice.is_empty() {
            paint.line(Role::Quiet, "q quit   Up, Down choose   Enter look into it")
        } else {
            Line::from(paint.quote(&self.notice, usize::MAX))
        }
    }
}

fn cells(row: &Row, paint: Paint, room: usize) -> Cells<'static> {
    let count = |count: Option<u64>| count.map_or_else(|| NONE.to_owned(), |count| count.to_string());
    let [busy, slots] = [row.slots_busy, row.slots].map(|slots| count(slots.map(u64::from)));
    let p99 = row.p99_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let p99 = p99.map_or_else(
        || NONE.to_owned(),
        |p99| duration(u64::try_from(p99.as_nanos()).unwrap_or(u64::MAX), paint.charset),
    );
    let role = if row.waiting > 0.0 { Role::Bad } else { Role::Plain };
    let texts = [
        row.name.clone(),
        p99,
        format!("{busy} of {slots}"),
        count(row.requests_in_line),
        row.mode.unwrap_or(NONE).to_owned(),
    ];
    let texts = texts.into_iter().map(|text| Cell::from(paint.quote(&text, room)));
    Cells::new(texts.chain([Cell::from(paint.quote(&sentence_of(row), room)).style(paint.style(role))]))
}

fn sentence_of(row: &Row) -> String {
    row.verdict.clone().or_else(|| row.reason.clone()).unwrap_or_else(|| row.status.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAINT: Paint = Paint { colour: false, charset: Charset::Ascii };

    fn row(pid: u32, name: &str, waiting: f64) -> Row {
        Row {
            pid,
            name: name.to_owned(),
            status: "watching",
            reason: None,
            mode: Some("light"),
            verdict: Some(format!("This is said of {name}.")),
            pattern: None,
            waiting,
            p99_seconds: Some(0.25),
            slots: Some(4),
            slots_busy: Some(3),
            requests_in_line: Some(7),
            more_slots_help: None,
            path: String::new(),
            about: serde_json::Value::Null,
        }
    }

    fn screen() -> Screen {
        let rows =
            vec![row(10, "gunicorn:8000", 2.0), row(20, "uwsgi\u{1b}[31m:9000", 0.0), row(30, "c", 0.0)];
        Screen { rows, ..Screen::default() }
    }

    fn drawn(screen: &Screen, (width, height): (u16, u16)) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        screen.draw(PAINT, area, &mut buffer);
        let cells = buffer.content.chunks(usize::from(width));
        cells.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Option<Wish> {
        screen.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn each_server_has_its_row_and_the_chosen_one_its_whole_sentence() {
        let mut screen = screen();
        let first = drawn(&screen, (80, 24));
        assert!(first.starts_with("3 servers on this machine, the worst first"), "{first}");
        assert!(
            first.contains("gunicorn:8000              250 ms   3 of 4   7     light This is said of"),
            "{first}"
        );
        assert!(!first.contains('\u{1b}'), "what a server is called does nothing to the terminal");
        press(&mut screen, KeyCode::End);
        assert!(drawn(&screen, (80, 24)).contains("\nThis is said of c."));
        for size in [(20, 5), (1, 1), (300, 100)] {
            drawn(&screen, size);
        }
    }

    #[test]
    fn a_choice_goes_with_its_server() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Down);
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Wish::Open(20)));
        screen.rows.rotate_left(1);
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Wish::Open(20)));
        screen.rows.remove(0);
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Wish::Open(30)), "it has ended: the first one");
        screen.rows.clear();
        assert_eq!(press(&mut screen, KeyCode::Enter), None);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Wish::Quit));
    }
}
