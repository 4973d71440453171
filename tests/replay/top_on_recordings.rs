//! `top` on recordings of real servers: the screen from moment to moment, and its numbers against the
//! report's.
//!
//! In: `tests/recordings`. Out: reviewed screens under `tests/snapshots`; the planted problem is the first
//! thing said, and what is shown at the end is what `wsgi-trace report` says.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "the helpers belong to tests")]

use profiler_core::timeline::ThreadState;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use wsgi_trace::report::escape::Charset;
use wsgi_trace::report::screen::list::ListKind;
use wsgi_trace::report::screen::look::{Look, Page};
use wsgi_trace::report::screen::model::Shown;
use wsgi_trace::report::screen::paint::Paint;
use wsgi_trace::report::screen::{MIN_COLUMNS, MIN_ROWS, draw};
use wsgi_trace::report::style::Style;
use wsgi_trace::report::{json, text as text_report};
use wsgi_trace::top::play::Player;
use wsgi_trace_test_support::root;
use wsgi_trace_test_support::scenario::{Scenario, all};
use wsgi_trace_test_support::verdict::Judged;

const SECOND: u64 = 1_000_000_000;

fn player(name: &str) -> Player {
    Player::open(&Scenario::named(name).expect(name).recording()).expect(name)
}

fn at_the_end(name: &str) -> Shown {
    let mut player = player(name);
    player.play_to_end();
    player.shown(1, false)
}

fn text(shown: &Shown, look: &Look, (width, height): (u16, u16)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(shown, look, Paint { colour: false, charset: Charset::Unicode }, area, &mut buffer);
    let line = |row| -> String { (0..width).map(|column| buffer[(column, row)].symbol()).collect() };
    (0..height).map(|row| format!("{}\n", line(row).trim_end())).collect()
}

macro_rules! assert_screen {
    ($name:expr, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().join("tests/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!($name, $text));
    }};
}

#[test]
fn what_is_shown_at_the_end_is_the_report_of_the_recording() {
    for scenario in all() {
        let judged = Judged::recording(&scenario.recording()).expect(scenario.name);
        let report = json::render(&judged.snapshot, &judged.findings).expect("memory takes it");
        // However it was played.
        for step_ns in [u64::MAX, SECOND, 300_000_000] {
            let mut player = player(scenario.name);
            while !player.has_ended() {
                drop(player.shown(1, false));
                player.play(step_ns);
            }
            let shown = player.shown(1, false);
            let screen = json::render(&shown.snapshot, &shown.findings).expect("memory takes it");
            assert!(screen == report, "{}: steps of {step_ns} ns", scenario.name);
        }
    }
}

#[test]
fn the_first_thing_said_is_the_verdict_of_the_report() {
    for scenario in all() {
        let mut player = player(scenario.name);
        player.play_to_end();
        let shown = player.shown(1, false);
        let screen = text(&shown, &Look::default(), (MIN_COLUMNS, MIN_ROWS));
        let report = json::render(&shown.snapshot, &shown.findings).expect("a report");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
        let verdict = |key: &str| report.pointer(&format!("/verdict/{key}"));
        let sentence = verdict("sentence").and_then(serde_json::Value::as_str).expect("a sentence");
        let first: Vec<&str> = sentence.split_whitespace().take(5).collect();
        assert!(above_the_bar(&screen).contains(&first.join(" ")), "{}: {screen}", scenario.name);
        // Only what is wrong has no label before it.
        let is_labelled = [" usual ", " healthy ", " nothing found ", " no traffic "]
            .iter()
            .any(|label| screen.starts_with(label));
        let is_wrong = verdict("is_wrong").and_then(serde_json::Value::as_bool);
        assert_eq!(is_wrong, Some(!is_labelled), "{}: {screen}", scenario.name);
    }
}

fn words<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// What to know first: all above the bar.
fn above_the_bar(screen: &str) -> String {
    let is_incomplete = |line: &&str| line.starts_with("INCOMPLETE");
    words(screen.lines().skip_while(is_incomplete).take_while(|line| !line.starts_with("time ")))
}

/// Letters of the bar that have no word below it.
fn letters_without_words(screen: &str) -> String {
    let mut lines = screen.lines().skip_while(|line| !line.starts_with("time "));
    let bar = lines.next().unwrap_or_default().trim_start_matches("time").trim();
    let legend = format!(" {}", words(lines.take_while(|line| line.starts_with(' '))));
    let letters = bar.chars().filter(|_| !bar.contains(' '));
    letters.filter(|letter| !legend.contains(&format!(" {letter} "))).collect()
}

#[test]
fn the_verdict_the_change_and_the_words_of_the_bar_are_whole_on_small_and_large_screens() {
    let mut wrong = 0;
    for scenario in all() {
        let shown = at_the_end(scenario.name);
        let report = text_report::render(&shown.snapshot, &shown.findings, Style::plain(Charset::Unicode));
        // The text report begins with the same.
        let headline = words(report.lines().take_while(|line| !line.is_empty()));
        for size in [(MIN_COLUMNS, MIN_ROWS), (200, 50)] {
            let screen = text(&shown, &Look::default(), size);
            let first = above_the_bar(&screen);
            if headline.contains(" → ") {
                assert_eq!(format!("{first}."), headline, "{}: {screen}", scenario.name);
                wrong += 1;
            } else {
                let said = headline.trim_start_matches(['✓', '!', ' ']);
                assert!(first.ends_with(said), "{}: {headline}: {screen}", scenario.name);
            }
            assert_eq!(letters_without_words(&screen), "", "{}: {screen}", scenario.name);
        }
    }
    assert!(wrong > 40, "{wrong}");
}

#[test]
fn every_moment_of_every_recording_can_be_drawn_and_adds_up() {
    for scenario in all() {
        let mut player = player(scenario.name);
        while !player.has_ended() {
            let shown = player.shown(1, false);
            let requests = &shown.snapshot.requests;
            assert_eq!(shown.snapshot.coverage.conservation.requests_broken, 0, "{}", scenario.name);
            let slowest = requests.slowest.iter().chain(shown.kept.iter().map(|kept| &kept.request));
            for request in slowest {
                assert_eq!(request.phases.total_ns(), request.total_ns(), "{}", scenario.name);
            }
            for list in ListKind::ALL {
                let mut look = Look::default();
                look.turn_to(list);
                drop(text(&shown, &look, (100, 30)));
            }
            player.play(200_000_000);
        }
    }
}

#[test]
fn what_slots_do_at_a_moment_is_what_their_open_calls_say() {
    // Threads that sleep, at any moment but the edges of the run.
    let mut player = player("gthread-exhausted");
    player.play(SECOND);
    let shown = player.shown(1, false);
    let slots: Vec<_> = shown.now.threads.iter().filter(|thread| thread.slot.is_some()).collect();
    assert_eq!(slots.len(), 4, "{slots:?}");
    let asleep: Vec<_> = slots.iter().filter(|thread| thread.state == ThreadState::Sleep).collect();
    assert!(asleep.len() >= 3, "{slots:?}");
    for thread in asleep {
        assert_eq!(thread.call, Some("clock_nanosleep"));
        let request = shown.now.requests.iter().find(|request| Some(request.id) == thread.request);
        let request = request.unwrap_or_else(|| panic!("{thread:?} serves no request"));
        assert!(request.path.starts_with("/sleep/"), "{request:?}");
        assert!(request.start_ns <= thread.since_ns && thread.since_ns <= shown.now.at_ns, "{thread:?}");
    }
}

#[test]
fn slow_clients_show_in_the_strip_while_they_send() {
    let mut player = player("gthread-slow-upload");
    player.play(SECOND);
    let shown = player.shown(1, false);
    let waiting = shown
        .now
        .threads
        .iter()
        .filter(|thread| thread.state == ThreadState::ClientWait && thread.slot.is_some());
    assert!(waiting.count() >= 1, "{:?}", shown.now.threads);
    let screen = text(&shown, &Look::default(), (80, 24));
    assert!(screen.contains("client_wait"), "{screen}");
}

#[test]
fn what_threads_did_in_a_request_fills_its_time_on_them() {
    let mut player = player("gthread-back-end");
    player.play_to_end();
    let shown = player.shown(1, false);
    let mut judged = 0;
    for kept in shown.kept.iter().filter(|kept| !kept.thinned && !kept.parts.is_empty()) {
        let on_threads_ns: u64 =
            kept.request.stretches.iter().map(|stretch| stretch.end_ns - stretch.start_ns).sum();
        let drawn_ns: u64 = kept.parts.iter().map(|part| part.end_ns - part.start_ns).sum();
        assert_eq!(drawn_ns, on_threads_ns, "{kept:?}");
        judged += 1;
    }
    assert!(judged > 20, "{judged} requests");
}

#[test]
fn the_screens_are_those_that_were_reviewed() {
    let half = |name: &str| {
        let mut player = player(name);
        player.play(SECOND);
        player.shown(1, true)
    };
    assert_screen!(
        "top-gthread-slow-upload.half",
        text(&half("gthread-slow-upload"), &Look::default(), (80, 24))
    );
    let mut player = player("gthread-exhausted");
    player.play_to_end();
    let shown = player.shown(1, false);
    let mut look = Look::default();
    look.turn_to(ListKind::Requests);
    assert_screen!("top-gthread-exhausted.end", text(&shown, &look, (120, 40)));
    let slowest = shown.kept.iter().max_by_key(|kept| kept.request.total_ns()).expect("a request");
    look.enter(Page::Request(std::sync::Arc::clone(slowest)));
    assert_screen!("top-gthread-exhausted.request", text(&shown, &look, (80, 24)));
    assert_screen!("top-sync-idle.half", text(&half("sync-idle"), &Look::default(), (80, 24)));
    // Threads, event loops, light mode; something wrong, nothing wrong, nothing known.
    for (name, size) in [
        ("gthread-cpu", (200, 50)),
        ("light-gthread", (200, 50)),
        ("stack-dry-pool", (80, 24)),
        ("sync-throttled", (80, 24)),
        ("uvicorn-asgi", (80, 24)),
    ] {
        let screen = text(&at_the_end(name), &Look::default(), size);
        assert_screen!(format!("top-{name}.{}x{}", size.0, size.1), screen);
    }
}
