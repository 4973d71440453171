//! The text report as a whole: servers as snapshots, hostile input, colour, both charsets.

use profiler_core::fact::MissingProgram;
use profiler_core::finding::Answer;
use profiler_core::model::Snapshot;
use profiler_core::model::chain::LeafKind;
use profiler_core::model::independence::Independence;
use profiler_core::phase::{Phase, Phases};

use super::*;
use crate::report::escape::{Charset, columns, is_plain};
use crate::report::fixture;

const PAGE: Style = Style::plain(Charset::Unicode);
const PLAIN: Style = Style { verbose: true, ..PAGE };
const ASCII: Style = Style { verbose: true, ..Style::plain(Charset::Ascii) };

fn text(fixture: &(Snapshot, Vec<Finding>), style: Style) -> String {
    render(&fixture.0, &fixture.1, style)
}

fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(columns(line) <= WIDTH, "{} columns: {line}", columns(line));
        assert_eq!(line, line.trim_end(), "blanks at the end");
    }
}

fn assert_harmless(text: &str) {
    for character in text.chars() {
        assert!(character == '\n' || is_plain(character), "{character:?}");
    }
}

macro_rules! assert_report {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

#[test]
fn a_healthy_server() {
    assert_report!("healthy", text(&fixture::healthy(), PAGE));
}

#[test]
fn an_exhausted_server() {
    assert_report!("exhausted", text(&fixture::exhausted(), PLAIN));
}

#[test]
fn one_page_of_an_exhausted_server() {
    assert_report!("brief", text(&fixture::exhausted(), PAGE));
}

#[test]
fn one_page_of_a_report_with_losses_says_them_first_and_near_the_end() {
    let text = text(&fixture::lossy(), PAGE);
    assert!(text.starts_with("INCOMPLETE") && text.contains("\nLosses "), "{text}");
    assert!(!text.contains("\nOwn cost "), "{text}");
}

#[test]
fn a_page_is_no_longer_however_much_is_wrong_and_names_each_finding_it_has_room_for() {
    for (snapshot, findings) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let is_wrong = |of: &&Finding| of.answer == Answer::Present && of.id != "healthy";
        let one = findings.iter().find(is_wrong);
        let Some(one) = one.cloned() else { continue };
        for count in [1, 3, 6, 12, 30] {
            let finding = |number: u64| {
                let mut finding = one.clone();
                finding.cost_ns = 1_000_000_000 * (100 - number);
                finding
            };
            let findings: Vec<Finding> = (0..count).map(finding).collect();
            let text = render(&snapshot, &findings, PAGE);
            assert_fits(&text);
            assert!(text.lines().count() <= LINES, "{count}: {text}");
            let named = text.lines().filter(|line| line.ends_with(" request-seconds")).count();
            assert!(named >= usize::try_from(count).unwrap().min(10), "{named}: {text}");
            assert!(text.contains(&format!("{count} present")), "{text}");
        }
    }
}

#[test]
fn a_report_with_losses() {
    assert_report!("losses", text(&fixture::lossy(), PAGE));
}

#[test]
fn a_window_in_which_nothing_happened() {
    assert_report!("empty", render(&Snapshot::default(), &[], PLAIN));
}

#[test]
fn a_terminal_without_unicode() {
    let (plain, ascii) = (text(&fixture::exhausted(), PLAIN), text(&fixture::exhausted(), ASCII));
    assert!(ascii.is_ascii());
    let headings = |text: &str, rule: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.split_once(rule)?.0.to_owned())).collect()
    };
    let expected = headings(&plain, " ───");
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(headings(&ascii, " ---"), expected);
}

#[test]
fn every_line_fits_a_hundred_columns() {
    for fixture in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        for style in [PAGE, PLAIN, ASCII] {
            assert_fits(&text(&fixture, style));
        }
    }
}

#[test]
fn what_the_real_rules_say_fits_too() {
    let thresholds = profiler_core::finding::Thresholds::default();
    for (snapshot, _) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let findings = profiler_core::verdict::findings(&snapshot, &thresholds);
        for style in [PAGE, PLAIN, ASCII] {
            let text = render(&snapshot, &findings, style);
            assert_fits(&text);
            assert_harmless(&text);
            // Our own sentences must not show escapes: a sign beyond ASCII has a plain form.
            assert!(!text.contains(r"\x"), "{text}");
        }
    }
}

#[test]
fn what_advice_would_bring_stands_under_it_or_why_nobody_knows() {
    let text = text(&fixture::forecast(), PLAIN);
    assert_fits(&text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "Forecast: not yet checked against real changes of this kind. With --threads 8 p50 goes from 79.3 ms to 24.0 ms, p90 from \
         396 ms to 120 ms, p99 from 793 ms to 240 ms (192 ms to 312 ms); the next limit is \
         the GIL. With --workers 4 response times stay (p99 from 793 ms to 790 ms).",
        "No forecast: it has 120 completed requests, and a forecast needs 500: record for longer.",
    ] {
        assert!(words.contains(said), "{words}");
    }
}

#[test]
fn what_the_first_advice_would_bring_is_said_with_it() {
    let (mut snapshot, findings) = fixture::forecast();
    // Who holds the threads sleeps: each thread more sleeps for itself.
    for time in snapshot.chains.leaves.iter_mut().filter(|time| time.leaf.kind == LeafKind::Client) {
        (time.leaf.kind, time.measured) = (LeafKind::Sleep, Independence::Independent);
    }
    let text = text(&(snapshot, findings), PLAIN);
    let first = text.split("\n\n").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        first.ends_with("→ Raise --threads (now 4) to 21 (p99 from 793 ms to 240 ms, by simulation)."),
        "{first}"
    );
}

#[test]
fn losses_are_the_very_first_thing_said() {
    assert!(text(&fixture::lossy(), PLAIN).starts_with("INCOMPLETE  18,223 records lost"));
    assert!(!text(&fixture::exhausted(), PLAIN).contains("INCOMPLETE"));
}

#[test]
fn any_single_kind_of_loss_is_said_at_the_top_and_named_below() {
    let with = |change: fn(&mut Snapshot)| {
        let (mut snapshot, findings) = fixture::healthy();
        change(&mut snapshot);
        render(&snapshot, &findings, PLAIN)
    };
    for (text, named) in [
        (with(|s| s.coverage.losses.kernel.lost.push(("ring_full_head".to_owned(), 1))), "ring_full_head 1"),
        (with(|s| s.coverage.losses.kernel.recursion_misses.push(("sys_exit".to_owned(), 7))), "sys_exit 7"),
        (with(|s| s.coverage.losses.malformed = 1), "could not be decoded"),
        (with(|s| s.coverage.losses.late = 1), "too late"),
        (with(|s| s.coverage.losses.sequence_holes = 1), "sequence numbers"),
        (with(|s| s.coverage.losses.evicted = 1), "table was full"),
        (with(|s| s.coverage.losses.unreadable_bytes = 1), "could not be read"),
        (with(|s| s.coverage.losses.unreadable_items = 1), "records and facts of the recording"),
        (with(|s| s.coverage.losses.missing_items = 1), "records and facts that the recording's end counts"),
        (with(|s| s.coverage.losses.recording_truncated = true), "breaks off"),
    ] {
        assert!(text.starts_with("INCOMPLETE"), "{named}");
        let losses = text.split_once("\nLosses ").unwrap().1;
        assert!(losses.contains(named), "{named}");
        assert!(!losses.contains("Nothing was lost"), "{named}");
    }
    let full = with(|s| s.coverage.losses.evicted = 1);
    assert!(full.starts_with("INCOMPLETE  a table was full"), "{full}");
    let missing = with(|s| s.coverage.losses.missing_items = 1);
    assert!(missing.starts_with("INCOMPLETE  parts of the recording are missing"), "{missing}");
    let unread = with(|s| s.coverage.losses.unreadable_items = 1);
    assert!(unread.starts_with("INCOMPLETE  parts of the recording cannot be read"), "{unread}");
}

#[test]
fn what_a_loop_does_not_remember_is_said_and_makes_no_report_incomplete() {
    let (mut snapshot, findings) = fixture::healthy();
    snapshot.coverage.losses.crowded = 7;
    let text = render(&snapshot, &findings, PLAIN);
    assert!(!text.contains("INCOMPLETE") && !text.contains("this report is incomplete"), "{text}");
    let losses = text.split_once("\nLosses ").unwrap().1;
    assert!(losses.contains("Nothing was lost") && losses.contains("7 times"), "{losses}");
}

#[test]
fn findings_come_before_all_numbers_and_the_costliest_first() {
    let text = text(&fixture::exhausted(), PLAIN);
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} is missing"));
    let order =
        ["1  sleeping", "2  slow-clients", "?  Undecided: backend-dominates", "Where request time went"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
    assert!(at("2  slow-clients") < text.match_indices('\n').nth(24).unwrap().0, "not on the first screen");
}

#[test]
fn a_window_without_requests_is_not_called_healthy() {
    let text = render(&Snapshot::default(), &[], PLAIN);
    assert!(!text.contains("Nothing wrong"));
    assert!(text.contains("No request was seen"));
}

#[test]
fn colour_changes_nothing_but_colour() {
    for fixture in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let coloured = text(&fixture, Style { colour: true, ..PLAIN });
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            stripped.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        stripped.push_str(rest);
        assert!(coloured.len() > stripped.len());
        // Blanks at line ends may be painted; they are not in the plain report.
        let stripped: Vec<&str> = stripped.lines().map(str::trim_end).collect();
        assert_eq!(stripped, text(&fixture, PLAIN).lines().collect::<Vec<_>>());
    }
}

#[test]
fn endpoints_beyond_the_table_and_beyond_the_bound_are_added_up() {
    let (mut snapshot, findings) = fixture::healthy();
    let template = snapshot.by_endpoint.list[4].clone();
    for number in 0..20 {
        let mut endpoint = template.clone();
        endpoint.path_shape = format!("/small/{number}");
        snapshot.requests.phases.add_all(&endpoint.phases);
        snapshot.by_endpoint.list.push(endpoint);
    }
    let mut beyond = template.clone();
    beyond.count = 1_000;
    snapshot.by_endpoint.others = Some(beyond);
    let text = render(&snapshot, &findings, PLAIN);
    let other = text.lines().find(|line| line.starts_with("  other ")).unwrap();
    // Of 1,400 requests in 25 endpoints and 1,000 beyond, the 15 rows hold 250 and 14 times 10.
    assert!(other.contains(" 2,010 "), "{other}");
    assert_fits(&text);
}

#[test]
fn container_pod_and_limit_of_memory_are_told() {
    let (snapshot, findings) = fixture::healthy();
    let text = render(&fixture::contained(snapshot), &findings, PLAIN);
    assert_fits(&text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "containerd container 0123456789ab (app) of pod web-0 in namespace shop",
        "Memory limit of /kubepods/pod1: 537 MB; in use 400 MB, cached files included.",
    ] {
        assert!(words.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn hostile_strings_reach_the_terminal_only_as_visible_text() {
    let hostile =
        format!("\u{1b}]0;x\u{7}\u{1b}[2J\r\nlosses: none\u{202e}\u{9b}31m\t{}\u{0}", "long".repeat(2_000));
    for base in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let (snapshot, mut findings) = base;
        let mut snapshot = fixture::contained(snapshot);
        snapshot.session.host_name.clone_from(&hostile);
        snapshot.session.kernel_release.clone_from(&hostile);
        snapshot.session.tool_version.clone_from(&hostile);
        snapshot.server.name.clone_from(&hostile);
        snapshot.server.version = Some(hostile.clone());
        snapshot.server.worker_class.clone_from(&hostile);
        snapshot.server.python_version = Some(hostile.clone());
        for setting in &mut snapshot.server.settings {
            setting.name.clone_from(&hostile);
            setting.value.clone_from(&hostile);
        }
        for endpoint in &mut snapshot.by_endpoint.list {
            endpoint.method.clone_from(&hostile);
            endpoint.path_shape.clone_from(&hostile);
        }
        for request in &mut snapshot.requests.slowest {
            request.http.method.clone_from(&hostile);
            request.http.path.clone_from(&hostile);
        }
        snapshot.chains = fixture::named_chains(snapshot.chains, &hostile);
        for listener in &mut snapshot.sockets.listeners {
            listener.seen.address.clone_from(&hostile);
            listener.seen.family.clone_from(&hostile);
        }
        for process in &mut snapshot.processes {
            process.comm.clone_from(&hostile);
            process.role.clone_from(&hostile);
        }
        for cgroup in &mut snapshot.cgroups {
            cgroup.last.cgroup.clone_from(&hostile);
        }
        if let Some(memory) = &mut snapshot.memory {
            memory.cgroup.clone_from(&hostile);
        }
        if let Some(container) = &mut snapshot.container {
            container.id.clone_from(&hostile);
            (container.runtime, container.k8s_pod_name) = (Some(hostile.clone()), Some(hostile.clone()));
        }
        for (_, reason) in &mut snapshot.coverage.not_measured {
            reason.clone_from(&hostile);
        }
        snapshot.coverage.losses.impossible.push((hostile.clone(), 1));
        snapshot.coverage.losses.kernel.lost.push((hostile.clone(), 1));
        snapshot.coverage.losses.kernel.recursion_misses.push((hostile.clone(), 1));
        snapshot.attached.missing.push(MissingProgram {
            program: hostile.clone(),
            reason: hostile.clone(),
            consequence: hostile.clone(),
        });
        for finding in &mut findings {
            finding.sentence.clone_from(&hostile);
            finding.advice.clone_from(&hostile);
            if let Answer::Undecided { reason } = &mut finding.answer {
                reason.clone_from(&hostile);
            }
        }
        for style in [PAGE, PLAIN, ASCII] {
            let text = render(&snapshot, &findings, style);
            assert_harmless(&text);
            assert_fits(&text);
            assert!(text.contains(r"\x1b]0;x\x07\x1b[2J\r\nlosses:"), "{text}");
            assert!(text.lines().count() < 600, "long strings are bounded");
        }
    }
}

#[test]
fn time_that_is_not_measured_is_no_share_of_zero() {
    let (mut snapshot, findings) = fixture::healthy();
    let mut phases = Phases::default();
    phases.add(Phase::Cpu, 1_000_000_000);
    phases.add(Phase::Sleep, 3_000_000_000);
    snapshot.requests.phases = phases;
    snapshot.capacity.workers.iter_mut().for_each(|worker| worker.phases = phases);
    let row = |snapshot: &Snapshot| {
        let text = render(snapshot, &findings, PLAIN);
        let mut lines = text.lines().skip_while(|line| !line.starts_with("More threads or more"));
        lines.nth(2).expect("a row").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(&snapshot), "4121 4 4 13.3 % 0.0 % 0 25.0 % 0.0 % 0.0 % 52.0 MB 31.5 MB");

    let unseen = [Phase::GilWait, Phase::BackendWait].map(|phase| (phase, "not asked for".to_owned()));
    snapshot.coverage.not_measured.extend(unseen);
    snapshot.slots.not_measured = Some("it was not looked".to_owned());
    (snapshot.capacity.workers[0].slots, snapshot.capacity.workers[0].seen) = (0, 0);
    assert_eq!(row(&snapshot), "4121 - - - - - 25.0 % - - 52.0 MB 31.5 MB");
    let text = render(&snapshot, &findings, PLAIN);
    assert!(text.contains("were not measured") && text.contains("Not known: it was not looked."), "{text}");
    assert!(!text.contains("a dash where"), "{text}");

    // What is not explained may be computing as well.
    snapshot.capacity.workers[0].phases.add(Phase::Unexplained, 2_000_000_000);
    assert_eq!(row(&snapshot), "4121 - - - - - - - - 52.0 MB 31.5 MB");
    assert!(render(&snapshot, &findings, PLAIN).contains("a dash where more may be"));
}
