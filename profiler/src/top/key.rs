//! Keys: what each means where the reader is, and what it changes.
//!
//! In: a key event, what is shown and what is looked at. Out: a changed [`Look`], and a [`Command`] for what
//! only the run itself can do.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::report::screen::help::list_of;
use crate::report::screen::list::{Key, ListKind};
use crate::report::screen::look::{Look, Page};
use crate::report::screen::model::Shown;
use crate::report::screen::paint::Paint;
use crate::report::screen::rows;

/// Rows of a page.
const PAGE: isize = 10;

/// What only the run can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ends.
    Quit,
    /// Begins a new window.
    NewWindow,
    /// Writes the report.
    Write,
    /// Plays a recording, or stops it.
    Play,
    /// Plays one second of a recording.
    Step,
    /// Plays faster.
    Faster,
    /// Plays slower.
    Slower,
    /// Plays to the end.
    ToEnd,
    /// Plays from the start.
    ToStart,
}

/// Takes one key.
pub fn press(event: KeyEvent, look: &mut Look, shown: &Shown, paint: Paint) -> Option<Command> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    look.notice = None;
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    if control {
        return matches!(event.code, KeyCode::Char('c' | 'd')).then_some(Command::Quit);
    }
    if look.typing {
        typed(event.code, look);
        return None;
    }
    match event.code {
        KeyCode::Char('q') => return Some(Command::Quit),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => match look.page() {
            Page::Help => drop(look.back()),
            _ => look.enter(Page::Help),
        },
        KeyCode::Esc | KeyCode::Backspace => {
            if !look.filter.is_empty() && look.shown_list().is_some() {
                look.filter.clear();
            } else {
                look.back();
            }
        }
        KeyCode::Enter => open(look, shown, paint),
        KeyCode::Up | KeyCode::Char('k') => walk(look, shown, paint, -1),
        KeyCode::Down | KeyCode::Char('j') => walk(look, shown, paint, 1),
        KeyCode::PageUp => walk(look, shown, paint, -PAGE),
        KeyCode::PageDown => walk(look, shown, paint, PAGE),
        KeyCode::Tab => turn(look, 1),
        KeyCode::BackTab => turn(look, ListKind::ALL.len() - 1),
        KeyCode::Char('f') => match look.page() {
            Page::Section(_) => drop(look.back()),
            _ => look.enter(Page::Section(None)),
        },
        KeyCode::Char('s') => look.sort_by_next(),
        KeyCode::Char('/') if look.shown_list().is_some() => look.typing = true,
        KeyCode::Char('w') if look.can_write => return Some(Command::Write),
        KeyCode::Char('w') => look.notice = Some("w writes the report that --report FILE names".to_owned()),
        KeyCode::Char('p') if !look.can_step => look.paused = !look.paused,
        KeyCode::Char('r') if !look.can_step => return Some(Command::NewWindow),
        KeyCode::Char(' ' | 'p') if look.can_step => return Some(Command::Play),
        KeyCode::Char(' ') => look.paused = !look.paused,
        KeyCode::Char('n') if !look.can_step => where_now(look),
        KeyCode::Right | KeyCode::Char('n') if look.can_step => return Some(Command::Step),
        KeyCode::Char('+' | '=') if look.can_step => return Some(Command::Faster),
        KeyCode::Char('-') if look.can_step => return Some(Command::Slower),
        KeyCode::End if look.can_step => return Some(Command::ToEnd),
        KeyCode::Home if look.can_step => return Some(Command::ToStart),
        KeyCode::Char(digit) => {
            if let (Some(list), Page::Overview) = (list_of(digit), look.page()) {
                look.turn_to(list);
            }
        }
        _ => {}
    }
    None
}

fn typed(code: KeyCode, look: &mut Look) {
    match code {
        KeyCode::Enter => look.typing = false,
        KeyCode::Esc => {
            look.typing = false;
            look.filter.clear();
        }
        KeyCode::Backspace => look.untype(),
        KeyCode::Char(letter) => look.type_letter(letter),
        _ => {}
    }
}

/// The threads, those first that have been where they are for longest.
fn where_now(look: &mut Look) {
    while look.back() {}
    look.turn_to(ListKind::Threads);
    look.sort_by(ListKind::Threads, "for");
}

fn turn(look: &mut Look, by: usize) {
    if !matches!(look.page(), Page::Overview) {
        return;
    }
    let next = (look.list as usize + by) % ListKind::ALL.len();
    if let Some(list) = ListKind::ALL.get(next) {
        look.turn_to(*list);
    }
}

/// Up or down: in a list to another row, in a text to other lines.
fn walk(look: &mut Look, shown: &Shown, paint: Paint, by: isize) {
    let Some(table) = rows::table(shown, look, paint, 0) else {
        look.scroll = look.scroll.saturating_add_signed(by);
        return;
    };
    let place = table.selected(look).saturating_add_signed(by).min(table.rows.len().saturating_sub(1));
    look.selected = (table.rows.get(place).map(|row| row.key.clone()), place);
}

/// Looks into the selected row.
fn open(look: &mut Look, shown: &Shown, paint: Paint) {
    let Some(table) = rows::table(shown, look, paint, 0) else { return };
    let Some(row) = table.rows.get(table.selected(look)) else { return };
    match &row.key {
        Key::Endpoint(key) => look.enter(Page::Endpoint(key.clone())),
        Key::Request(id) => request(look, shown, *id),
        Key::Thread(tid) => {
            let thread = shown.now.threads.iter().find(|thread| thread.tid == *tid);
            match thread.and_then(|thread| thread.request) {
                Some(id) => request(look, shown, id),
                None => look.notice = Some("This thread serves no request now.".to_owned()),
            }
        }
        Key::Pair(_) => look.enter(Page::Section(Some("gil"))),
        Key::Listener(_) => look.enter(Page::Section(Some("listeners"))),
        Key::Finding(id) => look.enter(Page::Finding(id)),
    }
}

fn request(look: &mut Look, shown: &Shown, id: u64) {
    match shown.kept.iter().find(|kept| kept.request.id == id) {
        Some(kept) => look.enter(Page::Request(Arc::clone(kept))),
        None => look.notice = Some("Still in flight: its phases are known when it ends.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use profiler_core::model::now::RequestNow;
    use profiler_core::model::request::{Http, OnGil, Request, Seen, Times};

    use profiler_core::phase::Phases;

    use super::*;
    use crate::report::escape::Charset;
    use crate::report::screen::model::Kept;

    const PAINT: Paint = Paint { colour: false, charset: Charset::Unicode };

    fn request(id: u64) -> Request {
        Request {
            id,
            connection: id,
            index_on_connection: 0,
            tgid: 1,
            tid: 1,
            slot: None,
            phases: Phases::default(),
            stretches: Vec::new(),
            round_trips: profiler_core::model::round_trips::RoundTrips::default(),
            times: Times { start_is_arrival: true, end_ns: 1_000_000 * (100 - id), ..Times::default() },
            http: Http { method: "GET".to_owned(), path: format!("/{id}"), status: 200, ..Http::default() },
            gil: OnGil::default(),
            seen: Seen::default(),
        }
    }

    fn shown() -> Shown {
        let kept = |id| {
            let request = request(id);
            Arc::new(Kept { shape: request.http.path.clone(), request, parts: Vec::new(), thinned: false })
        };
        Shown { kept: (0..30).map(kept).collect(), ..Shown::default() }
    }

    fn press_all(keys: &str, look: &mut Look, shown: &Shown) -> Option<Command> {
        let mut last = None;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\t' => KeyCode::Tab,
                '\u{8}' => KeyCode::Backspace,
                letter => KeyCode::Char(letter),
            };
            last = press(KeyEvent::new(code, KeyModifiers::NONE), look, shown, PAINT);
        }
        last
    }

    #[test]
    fn a_row_is_opened_and_left_again() {
        let (shown, mut look) = (shown(), Look::default());
        press_all("2jj\n", &mut look, &shown);
        assert!(matches!(look.page(), Page::Request(kept) if kept.request.id == 2), "{:?}", look.page());
        press_all("\u{1b}", &mut look, &shown);
        assert!(matches!(look.page(), Page::Overview));
        // There is nowhere further to go back to.
        press_all("\u{1b}\u{1b}", &mut look, &shown);
        assert!(matches!(look.page(), Page::Overview));
    }

    #[test]
    fn n_shows_the_threads_the_longest_first_and_steps_a_recording() {
        let (shown, mut look) = (shown(), Look::default());
        press_all("2jj\nn", &mut look, &shown);
        assert!(matches!(look.page(), Page::Overview));
        assert_eq!((look.list, look.order_of(ListKind::Threads)), (ListKind::Threads, "for"));
        let mut stepped = Look { can_step: true, ..Look::default() };
        assert_eq!(press_all("n", &mut stepped, &shown), Some(Command::Step));
    }

    #[test]
    fn what_is_typed_into_the_filter_is_no_command() {
        let (shown, mut look) = (shown(), Look::default());
        assert_eq!(press_all("2/qq7\u{8}", &mut look, &shown), None);
        assert_eq!((look.filter.as_str(), look.typing, look.list), ("qq", true, ListKind::Requests));
        assert_eq!(press_all("\nq", &mut look, &shown), Some(Command::Quit));
        press_all("\u{1b}", &mut look, &shown);
        assert_eq!(look.filter, "");
    }

    #[test]
    fn every_way_out_ends() {
        let (shown, mut look) = (shown(), Look::default());
        for page in [Page::Help, Page::Overview] {
            look.enter(page);
            assert_eq!(press_all("q", &mut look, &shown), Some(Command::Quit));
            let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(press(interrupt, &mut look, &shown, PAINT), Some(Command::Quit));
        }
        look.typing = true;
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(interrupt, &mut look, &shown, PAINT), Some(Command::Quit));
    }

    #[test]
    fn keys_of_a_recording_do_nothing_live_and_the_other_way_round() {
        let (shown, mut look) = (shown(), Look::default());
        assert_eq!(press_all("n", &mut look, &shown), None);
        assert_eq!(press_all("r", &mut look, &shown), Some(Command::NewWindow));
        look.can_step = true;
        assert_eq!(press_all("n", &mut look, &shown), Some(Command::Step));
        assert_eq!(press_all(" ", &mut look, &shown), Some(Command::Play));
        assert_eq!(press_all("r", &mut look, &shown), None);
        assert!(!look.paused);
    }

    #[test]
    fn a_request_in_flight_cannot_be_opened_and_that_is_said() {
        let (mut shown, mut look) = (shown(), Look::default());
        shown.now.requests.push(RequestNow {
            id: 500,
            method: "GET".to_owned(),
            path: "/x".to_owned(),
            start_ns: 0,
            tgid: 1,
            tid: None,
            responding: false,
        });
        press_all("3\n", &mut look, &shown);
        assert!(matches!(look.page(), Page::Overview));
        assert!(look.notice.as_deref().is_some_and(|text| text.contains("in flight")));
    }

    #[test]
    fn a_listener_and_a_pair_lead_to_their_sections_and_f_to_the_whole_report() {
        let (snapshot, findings) = crate::report::fixture::healthy();
        let shown = Shown { snapshot: Arc::new(snapshot), findings: Arc::new(findings), ..Shown::default() };
        for (keys, wanted, title) in [
            ("6\n", Some("listeners"), "Listeners ─"),
            ("5\n", Some("gil"), "Global interpreter lock (GIL) ─"),
            ("f", None, "Findings ─"),
        ] {
            let mut look = Look::default();
            press_all(keys, &mut look, &shown);
            assert!(matches!(look.page(), Page::Section(id) if *id == wanted), "{:?}", look.page());
            let area = ratatui::layout::Rect::new(0, 0, 80, 24);
            let mut buffer = ratatui::buffer::Buffer::empty(area);
            crate::report::screen::draw(&shown, &look, PAINT, area, &mut buffer);
            let drawn: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
            assert!(drawn.contains(title), "{drawn}");
            press_all("\u{1b}", &mut look, &shown);
            assert!(matches!(look.page(), Page::Overview));
        }
    }

    #[test]
    fn any_keys_in_any_order_leave_something_to_draw() {
        let (shown, mut look) = (shown(), Look { can_write: true, ..Look::default() });
        // A generator of numbers that are the same in every run.
        let mut state = 7_u32;
        let keys = "q?\n\n\n\u{1b}\tjjjjkks/ab\u{8}1234567pr wn+-f";
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let letters: Vec<char> = keys.chars().collect();
            let letter = letters[(state >> 16) as usize % letters.len()];
            look.can_step = state & 0x8000 != 0;
            press_all(&letter.to_string(), &mut look, &shown);
        }
        let area = ratatui::layout::Rect::new(0, 0, 80, 24);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        crate::report::screen::draw(&shown, &look, PAINT, area, &mut buffer);
        assert!(buffer.content.iter().any(|cell| cell.symbol() != " "));
    }
}
