//! The keys: all of them on a page, the most used in the last row.
//!
//! In: what the reader looks at. Out: lines.

use profiler_core::phase::Phase;
use profiler_core::timeline::ThreadState;
use ratatui::text::{Line, Span};

use super::list::ListKind;
use super::look::{Look, Page};
use super::paint::{Paint, Role};
use super::scrolled;
use crate::report::vocabulary::{self, Term};

/// Every key, and what it does.
const KEYS: [(&str, &str); 16] = [
    ("q, Ctrl-C", "quit"),
    ("?", "this page"),
    ("1 to 7, Tab", "which list is shown below"),
    ("Up, Down, PgUp, PgDn", "choose a row (also k and j)"),
    ("Enter", "look into it: endpoint, then request; finding; section of the report"),
    ("n", "live: where each thread is now, with its line, the longest first"),
    ("f", "the full report of what is shown, section by section"),
    ("Esc, Backspace", "back; takes a filter off"),
    ("s", "sort the list by its next column"),
    ("/", "filter the list: rows that contain what is typed"),
    ("p", "pause: nothing moves until p is pressed again; data are still taken"),
    ("r", "a new window begins now (live)"),
    ("w", "write the report of what is shown to the file of --report"),
    ("Space", "recording: play or stop"),
    ("Right, n", "recording: a step of a second; End: to its end; Home: from its start"),
    ("+, -", "recording: faster, slower"),
];

pub(super) fn lines(look: &Look, paint: Paint, (width, rows): (usize, usize)) -> Vec<Line<'static>> {
    let mut body = vec![paint.line(Role::Strong, "Keys"), Line::default()];
    for (key, what) in KEYS {
        let mut line = Line::from(paint.span(Role::Strong, &format!("  {key:<22}")));
        line.push_span(paint.span(Role::Plain, what));
        body.push(line);
    }
    body.push(Line::default());
    body.push(paint.line(Role::Strong, "Letters"));
    body.push(Line::default());
    let mut terms: Vec<Term> = Vec::new();
    let states = ThreadState::ALL.into_iter().map(vocabulary::of_state);
    let idle_connections = vocabulary::IDLE_CONNECTIONS.into_iter().map(vocabulary::of_holding);
    for term in states.chain(idle_connections).chain(Phase::ALL.into_iter().map(vocabulary::of_phase)) {
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    for term in terms {
        let mut line = Line::from("  ");
        line.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        line.push_span(paint.span(Role::Strong, &format!(" {:<20}", term.name)));
        line.push_span(paint.span(Role::Plain, term.meaning));
        body.push(line);
    }
    body.push(Line::default());
    for text in [
        "The strip shows what each slot does this moment, by its live record in the kernel.",
        "Everything else is of the window that the line with the server's name has.",
        "More: wsgi-trace top --help.",
    ] {
        body.push(paint.line(Role::Quiet, text));
    }
    scrolled(Vec::new(), body, look, paint, (width, rows))
}

/// The last row: the keys that do something here, or what there is to say.
pub(super) fn keys(look: &Look, paint: Paint, width: usize) -> Line<'static> {
    if let Some(notice) = &look.notice {
        return Line::from(Span::styled(paint.quote(notice, width), paint.style(Role::Doubt)));
    }
    let mut line = Line::default();
    if look.typing || !look.filter.is_empty() {
        let cursor = if look.typing { "_" } else { "" };
        let text = paint.quote(&format!("/{}{cursor}", look.filter), width / 2);
        line.push_span(Span::styled(text, paint.style(Role::Strong)));
        line.push_span(Span::raw("  "));
    }
    if look.typing {
        line.push_span(paint.span(Role::Quiet, "Enter keeps the filter, Esc takes it off"));
        return line;
    }
    let mut keys: Vec<(&str, &str)> = vec![("q", "quit"), ("?", "help")];
    match look.page() {
        Page::Overview => keys.extend([("Tab", "list"), ("Enter", "open"), ("f", "report")]),
        Page::Endpoint(_) => keys.extend([("Esc", "back"), ("Enter", "open")]),
        Page::Request(_) | Page::Section(_) | Page::Finding(_) | Page::Help => {
            keys.extend([("Esc", "back"), ("Down", "scroll")]);
        }
    }
    if let Some(list) = look.shown_list() {
        if list.orders().len() > 1 {
            keys.push(("s", "sort"));
        }
        keys.push(("/", "filter"));
    }
    if look.can_step {
        keys.extend([("Space", "play"), ("n", "step")]);
    } else {
        keys.extend([("p", "pause"), ("r", "new window")]);
    }
    if look.can_write {
        keys.push(("w", "write"));
    }
    for (key, what) in keys {
        if line.width() + key.len() + what.len() + 3 > width {
            break;
        }
        line.push_span(paint.span(Role::Bar, &format!(" {key} ")));
        line.push_span(paint.span(Role::Plain, &format!("{what} ")));
    }
    line
}

/// Number keys and their lists.
pub fn list_of(digit: char) -> Option<ListKind> {
    let number = digit.to_digit(10)?.checked_sub(1)?;
    ListKind::ALL.get(usize::try_from(number).ok()?).copied()
}
