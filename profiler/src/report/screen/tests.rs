//! The screen as a whole: every page, size, charset; hostile input; without colour.

use std::sync::Arc;

use profiler_core::finding::{Answer, Finding};
use profiler_core::model::Snapshot;
use profiler_core::model::gil::Contender;
use profiler_core::model::now::{Now, RequestNow, ThreadNow};
use profiler_core::model::request_start::RequestStart;
use profiler_core::model::slot::Holding;
use profiler_core::timeline::ThreadState;
use ratatui::style::Color;

use super::list::{EndpointKey, ListKind};
use super::model::{Kept, Part, Source};
use super::*;
use crate::report::escape::{Charset, is_plain};
use crate::report::fixture;

const PLAIN: Paint = Paint { colour: false, charset: Charset::Unicode };
const SECOND: u64 = 1_000_000_000;

/// A moment of a server of the fixtures: eight slots, each busy with something else.
fn moment((snapshot, findings): (Snapshot, Vec<Finding>)) -> Shown {
    let at_ns = snapshot.window.end_ns;
    let states = [
        (ThreadState::Running, None),
        (ThreadState::GilWait, None),
        (ThreadState::BackendWait, None),
        (ThreadState::ClientWait, Some(Holding::KeepaliveIdle)),
        (ThreadState::ClientWait, None),
        (ThreadState::RunQueue, None),
        (ThreadState::Idle, None),
        (ThreadState::Sleep, None),
    ];
    let thread = |(number, (state, holding)): (u32, (ThreadState, Option<Holding>))| ThreadNow {
        tgid: 4121 + number / 4,
        tid: 4131 + number,
        comm: "ThreadPoolExecu".to_owned(),
        slot: Some(number),
        state,
        holding,
        since_ns: at_ns.saturating_sub(u64::from(number) * 40_000_000),
        call: (number > 0).then_some("futex"),
        request: (number == 0).then_some(900),
        holder_tid: if state == ThreadState::GilWait { 4131 } else { 0 },
    };
    let request = RequestNow {
        id: 900,
        method: "GET".to_owned(),
        path: "/report/7".to_owned(),
        start_ns: at_ns.saturating_sub(SECOND),
        tgid: 4121,
        tid: Some(4131),
        responding: false,
    };
    let waiting = RequestNow { id: 901, tid: None, ..request.clone() };
    let kept = snapshot.requests.slowest.iter().map(|request| {
        let half_ns = request.times.start_ns + request.total_ns() / 2;
        let part = |start_ns, end_ns, state| Part { tid: request.tid, start_ns, end_ns, state };
        let parts = vec![
            part(request.times.start_ns, half_ns, ThreadState::Running),
            part(half_ns, request.times.end_ns, ThreadState::BackendWait),
        ];
        Arc::new(Kept { request: request.clone(), shape: request.http.path.clone(), parts, thinned: true })
    });
    Shown {
        lines: std::collections::BTreeMap::new(),
        kept: kept.collect(),
        now: Now {
            at_ns,
            threads: (0..).zip(states).map(thread).collect(),
            requests: vec![request, waiting],
        },
        rates: (0..50).map(|second| second * 7 % 40).collect(),
        source: Source::Live { window_ns: 30 * SECOND, ended_ago_ns: None },
        findings: Arc::new(findings),
        snapshot: Arc::new(snapshot),
    }
}

fn buffer(shown: &Shown, look: &Look, paint: Paint, (width, height): (u16, u16)) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(shown, look, paint, buffer.area, &mut buffer);
    buffer
}

fn text(shown: &Shown, look: &Look, paint: Paint, size: (u16, u16)) -> String {
    let buffer = buffer(shown, look, paint, size);
    let mut text = String::new();
    for row in 0..size.1 {
        let line: String = (0..size.0).map(|column| buffer[(column, row)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Every page that one can be at.
fn pages(shown: &Shown) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    for list in ListKind::ALL {
        let mut look = Look::default();
        look.turn_to(list);
        looks.push(look);
    }
    let endpoint = &shown.snapshot.by_endpoint.list.first().cloned().unwrap_or_default();
    let key = EndpointKey {
        method: endpoint.method.clone(),
        shape: endpoint.path_shape.clone(),
        status: endpoint.status,
    };
    let mut of = vec![Page::Endpoint(key), Page::Help, Page::Section(None), Page::Section(Some("gil"))];
    of.push(Page::Finding(shown.findings.first().map_or("herd", |finding| finding.id)));
    of.extend(shown.kept.first().map(|kept| Page::Request(Arc::clone(kept))));
    for page in of {
        let mut look = Look::default();
        look.enter(page);
        looks.push(look);
    }
    looks
}

macro_rules! assert_screen {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

#[test]
fn an_exhausted_server_at_a_glance() {
    assert_screen!("top-80x24", text(&moment(fixture::exhausted()), &Look::default(), PLAIN, (80, 24)));
}

#[test]
fn an_exhausted_server_on_a_wide_screen() {
    assert_screen!("top-200x50", text(&moment(fixture::exhausted()), &Look::default(), PLAIN, (200, 50)));
}

#[test]
fn a_healthy_server_on_a_large_screen() {
    assert_screen!("top-120x40", text(&moment(fixture::healthy()), &Look::default(), PLAIN, (120, 40)));
}

#[test]
fn losses_on_a_terminal_without_unicode() {
    let shown = text(
        &moment(fixture::lossy()),
        &Look::default(),
        Paint { charset: Charset::Ascii, ..PLAIN },
        (100, 30),
    );
    assert!(shown.is_ascii(), "{shown}");
    assert!(shown.contains("INCOMPLETE"), "{shown}");
    assert_screen!("top-ascii", shown);
}

#[test]
fn a_server_of_which_nothing_is_known() {
    let shown = text(&Shown::default(), &Look::default(), PLAIN, (80, 24));
    assert!(shown.contains("No request was seen") && !shown.contains("healthy"), "{shown}");
    assert_screen!("top-empty", shown);
}

#[test]
fn one_request_over_time() {
    let shown = moment(fixture::exhausted());
    let mut look = Look::default();
    look.enter(Page::Request(Arc::clone(&shown.kept[0])));
    assert_screen!("top-request", text(&shown, &look, PLAIN, (80, 24)));
}

#[test]
fn a_request_with_a_front_end_s_stamp_says_how_long_it_was_on_its_way() {
    let shown = moment(fixture::exhausted());
    let of = |request_start| {
        let mut kept = Kept::clone(&shown.kept[0]);
        kept.request.http.request_start = request_start;
        let mut look = Look::default();
        look.enter(Page::Request(Arc::new(kept)));
        text(&shown, &look, PLAIN, (80, 24))
    };
    let said = of(RequestStart::Passed { before_ns: 12_000_000, unit_ns: 1_000_000 });
    assert!(said.contains("12.0 ms before that from its X-Request-Start on"), "{said}");
    assert!(!of(RequestStart::Ahead).contains("X-Request-Start"));
}

#[test]
fn a_request_that_waited_for_the_interpreter_lock_says_in_which_lines_it_and_the_holder_were() {
    let shown = moment(fixture::healthy());
    let is_it = |kept: &&Arc<Kept>| kept.request.gil.waits.is_some();
    let kept = shown.kept.iter().find(is_it).expect("one that waited");
    let mut look = Look::default();
    look.enter(Page::Request(Arc::clone(kept)));
    let said = text(&shown, &look, PLAIN, (80, 60));
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "It waited 38.0 ms for the GIL: 35.0 ms because of GET / (thread 4132)",
        "A wait of 31.0 ms in template/base.py:904 Node.render, called from shop/views.py:41 render, because of GET /",
        "found in json/encoder.py:258 JSONEncoder.iterencode, called from shop/views.py:88 report.",
        "A wait of 4.10 ms, 2.00 ms of it because of GET / (thread 4132), found in <string> f<b>.",
    ] {
        assert!(words.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_terminal_that_is_too_small_says_which_size_it_needs() {
    let shown = moment(fixture::exhausted());
    for size in [(79, 24), (80, 23), (40, 10), (20, 5)] {
        let text = text(&shown, &Look::default(), PLAIN, size).replace('\n', " ");
        assert!(text.contains("80 x 24"), "{text}");
    }
}

#[test]
fn no_place_and_no_size_fails() {
    for fixture in [fixture::healthy(), fixture::exhausted(), fixture::lossy(), Default::default()] {
        let shown = moment(fixture);
        for look in pages(&shown) {
            for size in [(0, 0), (1, 1), (80, 24), (81, 25), (100, 30), (200, 100), (500, 24), (80, 300)] {
                for charset in [Charset::Unicode, Charset::Ascii] {
                    let text = text(&shown, &look, Paint { colour: true, charset }, size);
                    assert!(charset == Charset::Unicode || text.is_ascii(), "{text}");
                }
            }
        }
    }
}

#[test]
fn the_keys_are_in_the_last_row_of_every_place() {
    let shown = moment(fixture::exhausted());
    for look in pages(&shown) {
        for size in [(80, 24), (120, 40)] {
            let text = text(&shown, &look, PLAIN, size);
            assert!(text.lines().last().is_some_and(|line| line.starts_with(" q quit  ? help")), "{text}");
        }
    }
}

#[test]
fn without_colour_nothing_is_coloured_and_every_letter_is_still_there() {
    let shown = moment(fixture::exhausted());
    for look in pages(&shown) {
        let plain = buffer(&shown, &look, PLAIN, (100, 40));
        let coloured = buffer(&shown, &look, Paint { colour: true, ..PLAIN }, (100, 40));
        for (plain, coloured) in plain.content.iter().zip(&coloured.content) {
            assert_eq!(plain.symbol(), coloured.symbol());
            assert_eq!((plain.fg, plain.bg), (Color::Reset, Color::Reset));
        }
    }
    let text = text(&shown, &Look::default(), PLAIN, (80, 24));
    assert!(text.contains("4121 RGBk  4122 cq.S"), "{text}");
}

#[test]
fn every_letter_of_the_strip_has_its_word_below_it() {
    for size in [(80, 24), (200, 50)] {
        let screen = text(&moment(fixture::exhausted()), &Look::default(), PLAIN, size);
        let words: Vec<&str> = screen.split_whitespace().collect();
        // A letter, the number of slots that have it, its word.
        for letter in ["R", "G", "B", "k", "c", "q", ".", "S"] {
            let has_word = |part: &[&str]| part[..2] == [letter, "1"] && part[2].len() > 2;
            assert!(words.windows(3).any(has_word), "{letter}: {screen}");
        }
    }
}

#[test]
fn what_waits_for_the_lock_is_told_with_who_has_it() {
    let text = text(&moment(fixture::healthy()), &Look::default(), PLAIN, (120, 30));
    assert!(text.contains("1 thread waiting for thread 4131, GET /report/7"), "{text}");
}

#[test]
fn what_was_dropped_is_said_only_where_something_was() {
    let shown = moment(fixture::exhausted());
    let glance = |shown: &Shown| text(shown, &Look::default(), PLAIN, (80, 24));
    assert!(glance(&shown).contains("dropped 11 connections · 9 client left waiting"), "{}", glance(&shown));
    let mut healthy = shown.clone();
    let mut snapshot = (*healthy.snapshot).clone();
    snapshot.dropped.causes.clear();
    healthy.snapshot = Arc::new(snapshot);
    assert!(!glance(&healthy).contains("dropped"), "{}", glance(&healthy));
}

#[test]
fn list_of_listeners_has_what_a_herd_costs_and_how_deep_the_queue_is() {
    let mut look = Look::default();
    look.turn_to(ListKind::Listeners);
    let shown = text(&moment(fixture::exhausted()), &look, PLAIN, (80, 24));
    let is_there = |words: &[&str]| shown.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(is_there(&["address", "held", "woken", "wasted", "CPU", "wait p99", "queue"]), "{shown}");
    assert!(is_there(&["127.0.0.1:8000", "1.15", "1.30 ms", "1/2048"]), "{shown}");
}

#[test]
fn a_filter_keeps_the_rows_that_contain_it_and_says_so() {
    let shown = moment(fixture::exhausted());
    let mut look = Look { filter: "REPORT".to_owned(), ..Look::default() };
    look.turn_to(ListKind::InFlight);
    let found = text(&shown, &look, PLAIN, (80, 24));
    assert_eq!(found.matches("/report/7").count(), 2, "{found}");
    assert!(found.contains("/REPORT"), "{found}");
    look.filter = "nothing like it".to_owned();
    let none = text(&shown, &look, PLAIN, (80, 24));
    assert!(none.contains("None of 2 matches the filter"), "{none}");
}

#[test]
fn a_selected_row_stays_selected_when_the_order_changes() {
    let mut shown = moment(fixture::exhausted());
    let mut look = Look::default();
    look.turn_to(ListKind::Requests);
    let table = rows::table(&shown, &look, PLAIN, 80).unwrap();
    look.selected = (Some(table.rows[2].key.clone()), 2);
    shown.kept.remove(0);
    let table = rows::table(&shown, &look, PLAIN, 80).unwrap();
    assert_eq!(Some(&table.rows[table.selected(&look)].key), look.selected.0.as_ref());
    shown.kept.clear();
    assert_eq!(rows::table(&shown, &look, PLAIN, 80).unwrap().selected(&look), 0);
}

#[test]
fn the_numbers_are_those_of_the_json_report() {
    let (snapshot, findings) = fixture::exhausted();
    let json = crate::report::json::render(&snapshot, &findings).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let shown = text(&moment((snapshot, findings)), &Look::default(), PLAIN, (120, 40));
    let time = |pointer: &str| {
        let value = json.pointer(pointer).and_then(serde_json::Value::as_u64).expect(pointer);
        crate::report::unit::duration(value, Charset::Unicode)
    };
    for (name, pointer) in [("p50", "/requests/total/p50_ns"), ("p99", "/requests/total/p99_ns")] {
        let wanted = format!("{name} {}", time(pointer));
        assert!(shown.contains(&wanted), "{wanted}\n{shown}");
    }
    let finding = json.pointer("/verdict/finding").and_then(serde_json::Value::as_str).unwrap();
    assert!(shown.lines().any(|line| line.starts_with("why ") && line.contains(finding)), "{shown}");
    let sentence = json.pointer("/verdict/sentence").and_then(serde_json::Value::as_str).unwrap();
    assert!(shown.starts_with(sentence.get(..60).unwrap()), "{shown}");
}

#[test]
fn hostile_strings_reach_the_screen_only_as_visible_text() {
    let hostile = format!("\u{1b}]0;x\u{7}\u{1b}[2J\r\nq\u{202e}\u{9b}31m\t{}\u{0}", "long".repeat(2_000));
    let (mut snapshot, mut findings) = fixture::healthy();
    for text in
        [&mut snapshot.session.host_name, &mut snapshot.server.name, &mut snapshot.server.worker_class]
    {
        text.clone_from(&hostile);
    }
    snapshot.server.version = Some(hostile.clone());
    for endpoint in &mut snapshot.by_endpoint.list {
        endpoint.method.clone_from(&hostile);
        endpoint.path_shape.clone_from(&hostile);
    }
    for request in &mut snapshot.requests.slowest {
        request.http.method.clone_from(&hostile);
        request.http.path.clone_from(&hostile);
    }
    for listener in &mut snapshot.sockets.listeners {
        listener.seen.address.clone_from(&hostile);
    }
    for edge in &mut snapshot.gil.edges {
        edge.waiter = Contender::Endpoint(hostile.clone());
        edge.holder = Contender::Thread { tgid: 1, tid: 2, comm: hostile.clone() };
    }
    for finding in &mut findings {
        finding.sentence.clone_from(&hostile);
        finding.advice.clone_from(&hostile);
        if let Answer::Undecided { reason } = &mut finding.answer {
            reason.clone_from(&hostile);
        }
    }
    let mut shown = moment((snapshot, findings));
    for thread in &mut shown.now.threads {
        thread.comm.clone_from(&hostile);
    }
    for request in &mut shown.now.requests {
        request.method.clone_from(&hostile);
        request.path.clone_from(&hostile);
    }
    let mut looks = pages(&shown);
    looks.push(Look { filter: hostile.clone(), typing: true, ..Look::default() });
    looks.push(Look { notice: Some(hostile.clone()), ..Look::default() });
    let mut seen = 0;
    for look in looks {
        for charset in [Charset::Unicode, Charset::Ascii] {
            let buffer = buffer(&shown, &look, Paint { colour: true, charset }, (120, 40));
            let mut text = String::new();
            for cell in &buffer.content {
                assert!(cell.symbol().chars().all(is_plain), "{:?}", cell.symbol());
                text.push_str(cell.symbol());
            }
            seen += usize::from(text.contains(r"\x1b]0;x"));
        }
    }
    assert!(seen > 10, "the hostile strings were shown in {seen} places");
}
