//! A difference for reading in a terminal.
//!
//! In: a [`Difference`], whether colours may be used. Out: text of at most 100 columns, hostile parts
//! escaped: what got slower is red, what got faster green.

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::capacity::CapacityChange;
use super::difference::Difference;
use super::duration::{duration, signed};
use super::statistics::{Change, Verdict};
use crate::report::escape::{Charset, line};
use crate::report::style::{Role, Style};
use crate::report::unit;

/// Endpoints shown.
const MAX_ENDPOINTS: usize = 15;
/// Phases shown: those that make up nearly all of the change.
const MAX_PHASES: usize = 10;
/// Width of text.
const WIDTH: usize = 98;
/// Longest name of an endpoint shown.
const NAME_WIDTH: usize = 36;

/// The whole difference; `names` are those of the two files.
pub fn render(difference: &Difference, names: [&str; 2], style: Style) -> String {
    let charset = style.charset;
    let mut out = String::new();
    for (letter, name) in ["A", "B"].iter().zip(names) {
        out += &format!("{letter}  {}\n", line(name, WIDTH - 3, charset));
    }
    out.push('\n');
    let mut verdict = String::new();
    paragraph(&mut verdict, "", &difference.verdict, charset);
    let is_forbidden = difference.doubts.iter().any(|doubt| doubt.forbids_verdict);
    let role = if is_forbidden { Some(Role::Doubt) } else { role_of(difference.total_ns.verdict) };
    let role = role.unwrap_or(Role::Strong);
    out += &style.paint(role, verdict.trim_end());
    out.push('\n');
    for doubt in difference.doubts.iter().filter(|doubt| !doubt.forbids_verdict) {
        paragraph(&mut out, "!  ", &format!("{}.", doubt.sentence), charset);
    }
    settings(&mut out, difference, style);
    capacity(&mut out, &difference.capacity, style);
    requests(&mut out, difference, style);
    phases(&mut out, difference, style);
    endpoints(&mut out, difference, style);
    findings(&mut out, difference, style);
    out += "\nIntervals are meant for all rows of a table together; medians and p99 come without one.\n";
    out += "How they are made: wsgi-trace diff --help\n";
    match charset {
        Charset::Unicode => out,
        Charset::Ascii => out.replace('µ', "u").replace('→', "->").replace('…', "to"),
    }
}

fn paragraph(out: &mut String, first: &str, text: &str, charset: Charset) {
    let text = line(text, 2_000, charset);
    let mut width = first.chars().count();
    out.push_str(first);
    for (index, word) in text.split(' ').enumerate() {
        let columns = word.chars().count();
        if index > 0 && width + 1 + columns > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(first.chars().count()));
            width = first.chars().count();
        } else if index > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += columns;
    }
    out.push('\n');
}

fn settings(out: &mut String, difference: &Difference, style: Style) {
    let charset = style.charset;
    if difference.settings.is_empty() {
        return;
    }
    heading(out, "Settings that differ", style);
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    for setting in &difference.settings {
        let text = format!("  {}: {} → {}", setting.name, value(&setting.a), value(&setting.b));
        *out += &line(&text, WIDTH, charset);
        out.push('\n');
    }
}

fn capacity(out: &mut String, capacity: &CapacityChange, style: Style) {
    if capacity.slots == [0, 0] {
        return;
    }
    heading(out, "Capacity", style);
    let mut table = table(&["", "A", "B"]);
    let mut pair = |name: &str, [a, b]: [String; 2]| row(&mut table, vec![name.to_owned(), a, b]);
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), unit::count);
    pair("slots", capacity.slots.map(unit::count));
    if capacity.workers != [0, 0] {
        pair("worker processes", capacity.workers.map(unit::count));
    }
    pair("busy", capacity.used_ratio.map(unit::percent));
    pair("all busy at once", capacity.exhausted_ratio.map(unit::percent));
    pair("requests that arrived then", capacity.arrived_full.map(count));
    if capacity.own_bytes != [None, None] {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), unit::bytes);
        pair("memory of the workers", capacity.own_bytes.map(bytes));
    }
    push(out, &table, style);
}

fn requests(out: &mut String, difference: &Difference, style: Style) {
    heading(out, "Requests", style);
    let counts = &difference.requests;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let [a, b] = counts.completed;
    let mut table = table(&["", "A", "B", "change", "between"]);
    row(&mut table, vec!["completed".into(), a.to_string(), b.to_string()]);
    let [rate_a, rate_b] = counts.rate_per_second;
    row(&mut table, vec!["per second".into(), rate(rate_a), rate(rate_b)]);
    row_of_change(&mut table, cells("mean", &difference.total_ns), &difference.total_ns);
    let [p99_a, p99_b] = counts.p99_ns;
    row(&mut table, vec!["p99".into(), optional(p99_a), optional(p99_b)]);
    for (name, [a, b]) in [
        ("before the server, median", counts.before_p50_ns),
        ("before the server, p99", counts.before_p99_ns),
    ] {
        if a.or(b).is_some() {
            row(&mut table, vec![name.into(), optional(a), optional(b)]);
        }
    }
    push(out, &table, style);
}

fn phases(out: &mut String, difference: &Difference, style: Style) {
    if difference.phases_ns.is_empty() {
        return;
    }
    heading(out, "Phases, mean per request", style);
    let mut table = table(&["", "A", "B", "change", "between"]);
    for phase in difference.phases_ns.iter().take(MAX_PHASES) {
        row_of_change(&mut table, cells(&phase.phase, &phase.change), &phase.change);
    }
    push(out, &table, style);
    if !difference.phases_not_compared.is_empty() {
        *out += &format!("  measured in one of them only: {}\n", difference.phases_not_compared.join(", "));
    }
}

fn endpoints(out: &mut String, difference: &Difference, style: Style) {
    let charset = style.charset;
    if !difference.endpoints.is_empty() {
        heading(out, "Endpoints, mean, what the change costs most first", style);
        let mut table = table(&["", "requests", "A", "B", "change", "between", "mostly"]);
        for endpoint in difference.endpoints.iter().take(MAX_ENDPOINTS) {
            let [a, b] = endpoint.count;
            let mut cells = cells(&line(&endpoint.endpoint, NAME_WIDTH, charset), &endpoint.total_ns);
            cells.insert(1, format!("{a} → {b}"));
            cells.push(endpoint.mostly.as_ref().map_or_else(String::new, |(phase, _)| phase.clone()));
            row_of_change(&mut table, cells, &endpoint.total_ns);
        }
        push(out, &table, style);
    }
    let more = difference.endpoints.len().saturating_sub(MAX_ENDPOINTS);
    if more > 0 {
        *out += &format!("  and {more} more: --format json has all\n");
    }
    for (run, words) in [("A", "in A only"), ("B", "in B only")] {
        let names: Vec<String> = difference
            .endpoints_of_one
            .iter()
            .filter(|endpoint| endpoint.run == run)
            .map(|endpoint| format!("{} ({})", line(&endpoint.endpoint, NAME_WIDTH, charset), endpoint.count))
            .collect();
        if !names.is_empty() {
            let shown = names.get(..names.len().min(6)).unwrap_or_default().join(", ");
            let rest = names.len().saturating_sub(6);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            paragraph(out, "  ", &format!("{words}: {shown}{rest}"), charset);
        }
    }
}

fn findings(out: &mut String, difference: &Difference, style: Style) {
    let charset = style.charset;
    if difference.findings.is_empty() {
        return;
    }
    heading(out, "Findings", style);
    for finding in &difference.findings {
        let [a, b] = finding.cost_rate;
        let cost = match finding.what {
            "undecided" => format!("{} in A, {} in B", finding.answers[0], finding.answers[1]),
            _ => format!("{a:.3} → {b:.3} request-seconds a second"),
        };
        *out += &format!("  {:<10} {}  {cost}\n", finding.what, finding.id);
        if matches!(finding.what, "new" | "undecided") {
            paragraph(out, "             ", &finding.sentence, charset);
        }
    }
}

/// A table, and what each of its lines is for.
struct Rows {
    table: Table,
    roles: Vec<Option<Role>>,
}

fn heading(out: &mut String, text: &str, style: Style) {
    *out += &format!("\n{}\n", style.paint(Role::Strong, text));
}

fn table(titles: &[&str]) -> Rows {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(titles.iter().copied());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        let is_text = index == 0 || index > 5;
        column.set_cell_alignment(if is_text { CellAlignment::Left } else { CellAlignment::Right });
    }
    Rows { table, roles: vec![None] }
}

fn row(rows: &mut Rows, cells: Vec<String>) {
    rows.table.add_row(cells);
    rows.roles.push(None);
}

fn row_of_change(rows: &mut Rows, cells: Vec<String>, change: &Change) {
    rows.table.add_row(cells);
    rows.roles.push(role_of(change.verdict));
}

/// More time is worse.
const fn role_of(verdict: Verdict) -> Option<Role> {
    match verdict {
        Verdict::More => Some(Role::Bad),
        Verdict::Less => Some(Role::Good),
        Verdict::NotShown | Verdict::TooFew => None,
    }
}

fn push(out: &mut String, rows: &Rows, style: Style) {
    let roles = rows.roles.iter().chain(std::iter::repeat(&None));
    for (text, role) in rows.table.lines().zip(roles) {
        let text = text.trim_end();
        *out += &role.map_or_else(|| text.to_owned(), |role| style.paint(role, text));
        out.push('\n');
    }
}

fn cells(name: &str, change: &Change) -> Vec<String> {
    let said = match change.verdict {
        Verdict::TooFew => "too few".to_owned(),
        _ => change.interval.map_or_else(String::new, |[low, high]| {
            let shown = if change.verdict == Verdict::NotShown { " (none shown)" } else { "" };
            format!("{} … {}{shown}", signed(low), signed(high))
        }),
    };
    vec![name.to_owned(), duration(change.a), duration(change.b), signed(change.difference), said]
}

fn optional(duration_ns: Option<u64>) -> String {
    duration_ns.map_or_else(|| "-".to_owned(), |duration_ns| duration(duration_ns as f64))
}
