//! The page against its rules: numbers as in the JSON, nothing hostile becomes markup, the same bytes each
//! time.

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::model::gil::Contender;
use profiler_core::model::request::Request;
use serde_json::Value;

use super::*;
use crate::report::escape::Charset;
use crate::report::{fixture, json};

fn of(snapshot: &Snapshot, findings: &[Finding]) -> String {
    render(snapshot, findings, &snapshot.requests.slowest)
}

/// What stands between `before` and `after`, each time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
}

/// (pointer into the JSON report, value) of every figure of the page.
fn figures(page: &str) -> Vec<(&str, f64)> {
    between(page, "<data data-json=\"", "\">")
        .map(|figure| {
            let (pointer, value) = figure.split_once("\" value=\"").unwrap();
            (pointer, value.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_figure_equals_the_one_in_the_json_of_the_same_window() {
    for (snapshot, findings) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let report: Value = serde_json::from_slice(&json::render(&snapshot, &findings).unwrap()).unwrap();
        let page = of(&snapshot, &findings);
        let figures = figures(&page);
        assert!(figures.len() > 150, "only {} figures", figures.len());
        for (pointer, value) in figures {
            let other = report.pointer(pointer).and_then(Value::as_f64);
            let other = other.unwrap_or_else(|| panic!("the JSON has no number at {pointer}"));
            assert!((value - other).abs() <= 1e-6, "{pointer}: {value} on the page, {other} in the JSON");
        }
    }
}

#[test]
fn numbers_are_sorted_by_their_exact_values() {
    for (snapshot, findings) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let page = of(&snapshot, &findings);
        for table in between(&page, "<table class=\"sortable\">", "</table>") {
            for cell in between(table, "<td class=\"number\"", "</td>") {
                // What is shown with a unit, or with its thousands apart, has no order.
                assert!(cell.contains("value=\"") || !cell.contains([' ', ',']), "{cell}");
            }
        }
    }
}

#[test]
fn every_section_of_the_json_that_has_numbers_has_figures_on_the_page() {
    let (snapshot, findings) = fixture::healthy();
    let page = of(&snapshot, &findings);
    let figures = figures(&page);
    for section in ["requests", "phases", "endpoints", "slots", "gil", "listeners", "processes", "overhead"] {
        let at = format!("/{section}/");
        assert!(figures.iter().any(|(pointer, _)| pointer.starts_with(&at)), "nothing of {section}");
    }
}

#[test]
fn the_requests_of_the_timeline_are_those_of_the_json() {
    let (snapshot, findings) = fixture::exhausted();
    let report: Value = serde_json::from_slice(&json::render(&snapshot, &findings).unwrap()).unwrap();
    let data = timeline_of(&of(&snapshot, &findings));
    for request in report["requests"]["slowest"].as_array().unwrap() {
        let seen = data::seen(&data);
        let entry = seen.iter().find(|entry| request["id"] == entry.id).unwrap();
        assert_eq!(request["total_ns"], entry.total_ns);
        let start_ns = request["start_ns"].as_i64().unwrap() - report["window"]["start_ns"].as_i64().unwrap();
        assert_eq!(entry.start_ns, start_ns);
        assert_eq!(request["total_ns"], entry.phases_ns, "its phases add up");
    }
}

fn timeline_of(page: &str) -> Value {
    let island = between(page, "<script type=\"application/json\" id=\"timeline-data\">", "</script>").next();
    serde_json::from_str(island.unwrap()).unwrap()
}

const HOSTILE: [&str; 6] = [
    "/</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "/\u{202e}gpj.exe\u{2066}",
    "<!--<script>&lt;b&gt;\u{0}\u{1b}[2J\u{2028}",
    "</title></style></td></table>]]>",
];

/// A server that is hostile wherever its own words reach a report.
fn hostile(text: &str) -> (Snapshot, Vec<Finding>) {
    let (snapshot, mut findings) = fixture::healthy();
    let mut snapshot = fixture::contained(snapshot);
    let word = || text.to_owned();
    for request in &mut snapshot.requests.slowest {
        (request.http.method, request.http.path) = (word(), word());
    }
    for endpoint in &mut snapshot.by_endpoint.list {
        (endpoint.method, endpoint.path_shape) = (word(), word());
    }
    for process in &mut snapshot.processes {
        (process.comm, process.role) = (word(), word());
        process.threads.iter_mut().for_each(|thread| thread.comm = word());
    }
    snapshot.chains = fixture::named_chains(snapshot.chains, text);
    snapshot.gil.threads.iter_mut().for_each(|waiter| waiter.comm = word());
    snapshot.gil.interpreters.iter_mut().for_each(|seen| {
        (seen.version, seen.refused) = (Some(word()), Some(word()));
    });
    for edge in &mut snapshot.gil.edges {
        edge.waiter = Contender::Endpoint(word());
        edge.holder = Contender::Thread { tgid: 1, tid: 1, comm: word() };
    }
    snapshot.sockets.listeners.iter_mut().for_each(|listener| listener.seen.address = word());
    snapshot.cgroups.iter_mut().for_each(|cgroup| cgroup.last.cgroup = word());
    snapshot.memory.iter_mut().for_each(|memory| memory.cgroup = word());
    if let Some(container) = &mut snapshot.container {
        (container.id, container.runtime, container.k8s_pod_name) = (word(), Some(word()), Some(word()));
    }
    snapshot.server.settings.iter_mut().for_each(|setting| setting.value = word());
    (snapshot.server.name, snapshot.server.version) = (word(), Some(word()));
    (snapshot.session.host_name, snapshot.session.kernel_release) = (word(), word());
    snapshot.coverage.blind_spots.push(word());
    snapshot.coverage.losses.impossible.push((word(), 1));
    snapshot.coverage.not_measured.iter_mut().for_each(|(_, reason)| *reason = word());
    for finding in &mut findings {
        (finding.sentence, finding.advice) = (word(), word());
    }
    (snapshot, findings)
}

/// Names of all tags and of their attributes, in order: what the page does, without what it says.
fn skeleton(page: &str) -> Vec<String> {
    let mut names = Vec::new();
    for tag in between(page, "<", ">") {
        names.push(tag.split_whitespace().next().unwrap_or_default().to_owned());
        let mut rest = tag;
        while let Some((name, value)) = rest.split_once("=\"") {
            names.push(name.rsplit(' ').next().unwrap_or_default().to_owned());
            rest = value.split_once('"').map_or("", |(_, rest)| rest);
        }
    }
    names
}

/// What the first screen of a page shows: elements with their classes and their words, to the end of the
/// first finding; then the headings of all sections.
fn first_screen(page: &str) -> String {
    let body = page.split("<body").nth(1).unwrap_or_default();
    let top = body.split("</article>").next().unwrap_or_default();
    let mut shown = String::new();
    for piece in top.split('<').skip(1).filter(|piece| !piece.starts_with('/')) {
        let (tag, words) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag.split_whitespace().next().unwrap_or_default();
        let class =
            between(tag, "class=\"", "\"").next().map(|class| format!(".{class}")).unwrap_or_default();
        shown.push_str(format!("{name}{class} {}", words.trim()).trim_end());
        shown.push('\n');
    }
    for heading in between(body, "<h2", "</h2>").filter_map(|heading| heading.split('>').nth(1)) {
        shown.push_str(&format!("h2 {heading}\n"));
    }
    shown
}

#[test]
fn the_first_screen_is_the_one_that_was_reviewed() {
    let (snapshot, findings) = fixture::exhausted();
    let shown = first_screen(&markup_of(&of(&snapshot, &findings)));
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("page", shown);
    });
}

#[test]
fn each_finding_and_each_of_the_slowest_requests_has_a_link_of_its_own() {
    let (snapshot, findings) = fixture::exhausted();
    let page = of(&snapshot, &findings);
    let said = findings.iter().filter(|finding| finding.answer != profiler_core::finding::Answer::Absent);
    for finding in said.filter(|finding| finding.id != crate::report::summary::HEALTHY) {
        let id = finding.id;
        assert!(page.contains(&format!(" id=\"finding-{id}\"")), "{id} has no place");
        assert!(page.contains(&format!("<a href=\"#finding-{id}\">{id}</a>")), "{id} has no link");
    }
    for request in &snapshot.requests.slowest {
        assert!(page.contains(&format!(" id=\"request-{}\"", request.id)), "#{}", request.id);
    }
}

#[test]
fn both_charts_over_time_are_drawn_of_the_requests() {
    let (snapshot, findings) = fixture::exhausted();
    let page = of(&snapshot, &findings);
    let section = between(&page, "<section id=\"over-time\"", "</section>").next().unwrap();
    let charts: Vec<&str> = between(section, "<svg role=\"img\"", "</svg>").collect();
    assert_eq!(charts.len(), 2, "{section}");
    assert!(charts.iter().all(|chart| chart.contains("aria-label=") && chart.contains("<title>at ")));
    // Each phase that has a part of the stack has its word below it.
    let classes: std::collections::BTreeSet<&str> = between(charts[0], "<rect class=\"", "\"").collect();
    assert!(classes.len() > 2, "{classes:?}");
    for class in classes {
        assert!(section.contains(&format!("class=\"{class}\"/></svg>{class}</li>")), "{class}");
    }
}

/// The page without its style and its script, which hold signs of less and more of their own.
fn markup_of(page: &str) -> String {
    page.replace(STYLE, "").replace(SCRIPT, "")
}

#[test]
fn hostile_words_change_what_the_page_says_and_nothing_of_what_it_is() {
    let harmless = {
        let (snapshot, findings) = hostile("harmless");
        skeleton(&markup_of(&of(&snapshot, &findings)))
    };
    for text in HOSTILE {
        let (snapshot, findings) = hostile(text);
        let page = of(&snapshot, &findings);
        assert_eq!(skeleton(&markup_of(&page)), harmless, "{text:?}");
        for bad in ['\u{202e}', '\u{2066}', '\u{0}', '\u{1b}', '\u{2028}'] {
            assert!(!page.contains(bad), "{bad:?} reached the page");
        }
        let seen = data::seen(&timeline_of(&page));
        let shown = crate::report::escape::line(&format!("{text} {text}"), 160, Charset::Unicode);
        assert!(seen.iter().any(|seen| seen.name == shown), "{shown} is not there");
    }
}

#[test]
fn the_page_loads_nothing_and_allows_nothing_but_its_own_style_and_script() {
    let (snapshot, findings) = fixture::lossy();
    let page = of(&snapshot, &findings);
    let markup = markup_of(&page);
    for loading in ["http://", "https://", " src=", "url(", "@import", "style=\"", " onload=", " onclick="] {
        assert!(
            !markup.contains(loading) && !STYLE.contains(loading) && !SCRIPT.contains(loading),
            "{loading}"
        );
    }
    let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"").next().unwrap();
    assert!(policy.starts_with("default-src &#39;none&#39;;") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(policy.matches("sha256-").count(), 2);
    assert!(
        page.find("Content-Security-Policy") < page.find("<style>"),
        "the policy comes before what it governs"
    );
    for dangerous in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!SCRIPT.contains(dangerous), "{dangerous}");
    }
}

/// Terms of the vocabulary have theirs by its own test.
#[test]
fn the_parts_of_a_bar_that_are_no_terms_have_their_colour() {
    for name in ["used", "wasted"] {
        assert!(STYLE.contains(&format!("rect.{name} {{")), "{name}");
    }
}

#[test]
fn verdicts_come_first_and_an_incomplete_report_says_so_before_them() {
    let (snapshot, findings) = fixture::lossy();
    let page = of(&snapshot, &findings);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    assert!(at("<strong>INCOMPLETE</strong>") < at("<h2 id=\"findings-title\">"));
    assert!(at("<h2 id=\"findings-title\">") < at("<h2 id=\"time-title\">"));
    let (healthy, findings) = fixture::healthy();
    assert!(!of(&healthy, &findings).contains("INCOMPLETE"));
}

#[test]
fn the_same_window_gives_the_same_bytes_whatever_came_between() {
    let (snapshot, findings) = fixture::exhausted();
    let first = of(&snapshot, &findings);
    let _ = of(&fixture::healthy().0, &[]);
    assert_eq!(first, of(&snapshot, &findings));
}

#[test]
fn an_empty_window_is_a_page_too() {
    let page = render(&Snapshot::default(), &[], std::iter::empty::<&Request>());
    assert!(page.contains("No request was seen in the window"));
    assert!(page.ends_with("</html>\n"));
    let targets: Vec<&str> = between(&page, "<li><a href=\"#", "\"").collect();
    assert!(targets.len() > 12, "{targets:?}");
    for target in targets {
        assert!(page.contains(&format!("id=\"{target}\"")), "{target} leads nowhere");
    }
}

#[test]
fn ids_are_unique_and_every_element_that_is_opened_is_closed() {
    let (snapshot, findings) = fixture::exhausted();
    let page = markup_of(&of(&snapshot, &findings));
    let mut ids: Vec<&str> = between(&page, " id=\"", "\"").collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id stands twice");
    const VOID: [&str; 3] = ["meta", "input", "!DOCTYPE"];
    let mut open = Vec::new();
    for tag in between(&page, "<", ">") {
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "</{closed}>");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
