//! Two charts over the window: how many requests were in flight and what they spent their time on, and how
//! long they took.
//!
//! In: requests, each with the number of requests that it stands for. Out: SVG of rectangles over one axis,
//! both with words for who cannot see them. Columns are as wide as one another.

use std::collections::BTreeMap;

use profiler_core::model::Window;
use profiler_core::phase::Phases;

use super::chart;
use super::markup::Html;
use crate::report::document::phases::{BEFORE_THREAD, longest_first};
use crate::report::escape::Charset;
use crate::report::{summary, unit};

/// Columns of the charts.
const COLUMNS: u64 = 60;
/// Height of the stack, in its own units: about as many as it has pixels. What is lower than one is not
/// drawn.
const HEIGHT: u64 = 200;
/// Rows of the map for each power of ten, at these multiples of it.
const STEPS: [u64; 5] = [100, 158, 251, 398, 631];
/// The class of an axis that stands under a chart with a scale.
const AXIS: &str = "axis beside";
/// Powers of ten from 100 ns on.
const DECADES: u32 = 11;

/// A request, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// First byte.
    pub(super) start_ns: u64,
    /// Length.
    pub(super) total_ns: u64,
    /// Part of it before a thread took it.
    pub(super) wait_ns: u64,
    /// Where its time went; they add up to its length.
    pub(super) phases: Phases,
    /// Whether its end was seen.
    pub(super) has_ended: bool,
    /// Requests that it stands for.
    pub(super) weight: u64,
}

impl Span {
    const fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.total_ns)
    }
}

fn edge(window: Window, column: u64) -> u64 {
    window.start_ns.saturating_add(summary::scaled(window.length_ns(), column, COLUMNS))
}

/// The columns that some time of these ends lies in.
fn columns_of(window: Window, start_ns: u64, end_ns: u64) -> std::ops::RangeInclusive<u64> {
    let column = |time_ns: u64| {
        let after_ns = time_ns.saturating_sub(window.start_ns);
        summary::scaled(after_ns, COLUMNS, window.length_ns().max(1)).min(COLUMNS - 1)
    };
    // Edges are rounded: a column more at each side costs nothing.
    column(start_ns).saturating_sub(1)..=(column(end_ns) + 1).min(COLUMNS - 1)
}

/// Time of requests in each column, by phase. In which order the phases of a request came is not known but
/// for its waits before a thread took it. Those come first, the others are spread evenly over the rest of it.
fn stack(spans: &[Span], window: Window) -> Vec<Phases> {
    let mut columns: Vec<Phases> = (0..COLUMNS).map(|_| Phases::default()).collect();
    for span in spans {
        let (mut before, mut rest) = (Phases::default(), Phases::default());
        let mut left_ns = span.wait_ns;
        for (phase, duration_ns) in span.phases.iter() {
            let first_ns = if BEFORE_THREAD.contains(&phase) { duration_ns.min(left_ns) } else { 0 };
            left_ns -= first_ns;
            before.add(phase, first_ns);
            rest.add(phase, duration_ns - first_ns);
        }
        let taken_ns = span.start_ns.saturating_add(before.total_ns());
        spread(&mut columns, window, (span.start_ns, taken_ns), &before, span.weight);
        spread(&mut columns, window, (taken_ns, span.end_ns()), &rest, span.weight);
    }
    columns
}

fn spread(columns: &mut [Phases], window: Window, (start_ns, end_ns): (u64, u64), all: &Phases, weight: u64) {
    let length_ns = end_ns.saturating_sub(start_ns);
    if length_ns == 0 {
        return;
    }
    for column in columns_of(window, start_ns, end_ns) {
        let overlap_ns =
            end_ns.min(edge(window, column + 1)).saturating_sub(start_ns.max(edge(window, column)));
        let Some(sums) = usize::try_from(column).ok().and_then(|column| columns.get_mut(column)) else {
            continue;
        };
        for (phase, duration_ns) in all.iter().filter(|_| overlap_ns > 0) {
            sums.add(phase, summary::scaled(duration_ns, overlap_ns, length_ns).saturating_mul(weight));
        }
    }
}

/// Requests by the column in which they ended and by their length: (column, row) and how many; row 0 is the
/// shortest.
fn map(spans: &[Span], window: Window) -> Vec<((u64, usize), u64)> {
    let edges = edges();
    let mut cells = BTreeMap::new();
    for span in spans.iter().filter(|span| span.has_ended && span.end_ns() >= window.start_ns) {
        let after_ns = span.end_ns() - window.start_ns;
        let column = summary::scaled(after_ns, COLUMNS, window.length_ns().max(1)).min(COLUMNS - 1);
        let row = edges.partition_point(|edge| *edge <= span.total_ns);
        *cells.entry((column, row)).or_insert(0) += span.weight;
    }
    cells.into_iter().collect()
}

/// Where a row of the map ends and the next begins.
fn edges() -> Vec<u64> {
    (0..DECADES).flat_map(|power| STEPS.map(|step| step.saturating_mul(10_u64.pow(power)))).collect()
}

/// The two charts; nothing where there is nothing to draw.
pub(super) fn write(html: &mut Html, spans: &[Span], window: Window) {
    if window.length_ns() == 0 || spans.is_empty() {
        html.raw("<p>No request was seen.</p>");
        return;
    }
    draw_stack(html, &stack(spans, window), window);
    draw_map(html, &map(spans, window), window);
}

fn shown(duration_ns: u64) -> String {
    unit::duration(duration_ns, Charset::Unicode)
}

/// When a column begins, counted from the start of the window.
fn begins(window: Window, column: u64) -> String {
    match edge(window, column) - window.start_ns {
        0 => "at 0".to_owned(),
        after_ns => format!("at {}", shown(after_ns)),
    }
}

/// Requests in flight on average over a column.
fn in_flight(request_ns: u64, window: Window) -> String {
    let column_ns = window.length_ns() / COLUMNS;
    summary::ratio(request_ns, column_ns).map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"))
}

fn draw_stack(html: &mut Html, columns: &[Phases], window: Window) {
    let most_ns = columns.iter().map(Phases::total_ns).max().unwrap_or(0);
    let mut all = Phases::default();
    columns.iter().for_each(|column| all.add_all(column));
    html.raw(
        "<h3 id=\"stack-title\">Requests in flight, by phase</h3><figure aria-labelledby=\"stack-title\">",
    );
    html.raw("<div class=\"plot\"><div class=\"scale\"><span>").text(&in_flight(most_ns, window));
    html.raw("</span><span>0</span></div><svg role=\"img\" preserveAspectRatio=\"none\" class=\"stack\"");
    html.attribute("viewBox", &format!("0 0 {COLUMNS} {HEIGHT}"));
    let most = format!("Requests in flight over time, by phase: at most {}", in_flight(most_ns, window));
    html.attribute("aria-label", &most).raw(">");
    for (column, phases) in (0..).zip(columns).filter(|(_, phases)| phases.total_ns() > 0) {
        let parts: Vec<String> = longest_first(phases)
            .into_iter()
            .take(DESCRIBED)
            .map(|(phase, duration_ns)| format!("{} {}", phase.name(), in_flight(duration_ns, window)))
            .collect();
        let total = in_flight(phases.total_ns(), window);
        let words = format!("{}: {total} requests in flight: {}", begins(window, column), parts.join(", "));
        html.raw("<g><title>").text(&words).raw("</title>");
        let mut below_ns = 0;
        for (phase, duration_ns) in phases.iter() {
            let from = summary::scaled(below_ns, HEIGHT, most_ns);
            below_ns += duration_ns;
            let to = summary::scaled(below_ns, HEIGHT, most_ns);
            if to > from {
                html.raw("<rect").attribute("class", phase.name()).attribute("x", &column.to_string());
                html.attribute("y", &(HEIGHT - to).to_string()).raw(" width=\"1\"");
                html.attribute("height", &(to - from).to_string()).raw("/>");
            }
        }
        html.raw("</g>");
    }
    html.raw("</svg></div>");
    chart::axis(html, AXIS, window.length_ns());
    chart::legend(html, "stack-legend", all.iter().map(|(phase, _)| phase.name()));
    html.raw(
        "<figcaption>Averages of each column. The waits of a request before its thread took it come first. Its other \
         phases are spread evenly over the rest of it, as their order is not known here.</figcaption></figure>",
    );
}

/// Phases that a column is described by.
const DESCRIBED: usize = 4;

fn draw_map(html: &mut Html, cells: &[((u64, usize), u64)], window: Window) {
    let rows = || cells.iter().map(|((_, row), _)| *row);
    let (Some(lowest), Some(highest)) = (rows().min(), rows().max()) else { return };
    let most = cells.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let edges = edges();
    let from = |row: usize| row.checked_sub(1).and_then(|row| edges.get(row)).copied().unwrap_or(0);
    let range = |row: usize| match edges.get(row) {
        Some(to) => format!("{} to {}", shown(from(row)), shown(*to)),
        None => format!("{} and more", shown(from(row))),
    };
    let height = highest - lowest + 1;
    html.raw("<h3 id=\"map-title\">Latency over time</h3><figure aria-labelledby=\"map-title\"><div class=\"plot\">");
    html.raw("<div class=\"scale\"><span>")
        .text(&shown(edges.get(highest).copied().unwrap_or(from(highest))));
    html.raw("</span><span>").text(&shown(from(lowest)));
    html.raw("</span></div><svg role=\"img\" preserveAspectRatio=\"none\" class=\"latency\"");
    html.attribute("viewBox", &format!("0 0 {COLUMNS} {height}"));
    let words = "How many requests that ended in each part of the window took how long: a stronger colour where there are more";
    html.attribute("aria-label", words).raw(">");
    // Cells of one shade are one path.
    let mut shades: BTreeMap<u64, String> = BTreeMap::new();
    let mut columns: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    for ((column, row), count) in cells {
        let place = format!("M{column} {}h1v1h-1z", highest - row);
        shades.entry(shade(*count, most)).or_default().push_str(&place);
        columns.entry(*column).or_default().push((*row, *count));
    }
    for (shade, places) in &shades {
        html.raw("<path").attribute("fill-opacity", &format!("0.{shade:02}")).data("d", places).raw("/>");
    }
    // Over them columns that nobody sees, with their words.
    for (column, rows) in columns {
        let count = rows.iter().map(|(_, count)| *count).sum();
        let usual =
            rows.iter().max_by_key(|(_, count)| *count).map(|(row, _)| range(*row)).unwrap_or_default();
        let longest = rows.last().map(|(row, _)| range(*row)).unwrap_or_default();
        let count = unit::counted(count, "request");
        let words = format!("{}: {count}, most of {usual}, the longest of {longest}", begins(window, column));
        html.raw("<rect fill-opacity=\"0\"").attribute("x", &column.to_string()).raw(" width=\"1\"");
        html.attribute("height", &height.to_string()).raw("><title>").text(&words).raw("</title></rect>");
    }
    html.raw("</svg></div>");
    chart::axis(html, AXIS, window.length_ns());
    html.raw("<figcaption>Requests by when they ended and how long they took, logarithmic scale; strongest colour: ");
    html.text(&unit::counted(most, "request")).raw("</figcaption></figure>");
}

/// How dark a cell is, of a hundred. By the root, so that one slow request shows beside a thousand fast ones.
fn shade(count: u64, most: u64) -> u64 {
    const LIGHTEST: u64 = 15;
    const STEP: u64 = 7;
    let share = summary::scaled(count, 10_000, most).isqrt();
    (share / STEP * STEP).clamp(LIGHTEST, 99)
}

#[cfg(test)]
mod tests {
    use profiler_core::phase::Phase;

    use super::*;

    const WINDOW_NS: u64 = 600_000;

    fn window() -> Window {
        Window { start_ns: 1_000, end_ns: 1_000 + WINDOW_NS, ..Window::default() }
    }

    fn span(start_ns: u64, parts: &[(Phase, u64)], wait_ns: u64) -> Span {
        let mut phases = Phases::default();
        parts.iter().for_each(|(phase, ns)| phases.add(*phase, *ns));
        Span { start_ns, total_ns: phases.total_ns(), wait_ns, phases, has_ended: true, weight: 1 }
    }

    #[test]
    fn a_request_is_as_high_as_one_in_every_column_that_it_lasts_and_its_waits_come_first() {
        // From the second column to the fifth: two of waiting, then two of computing and sleeping.
        let parts = [(Phase::PoolWait, 20_000), (Phase::Cpu, 15_000), (Phase::Sleep, 5_000)];
        let columns = stack(&[span(11_000, &parts, 20_000)], window());
        let totals: Vec<u64> = columns.iter().take(6).map(Phases::total_ns).collect();
        assert_eq!(totals, [0, 10_000, 10_000, 10_000, 10_000, 0]);
        assert_eq!(columns[1].get(Phase::PoolWait), 10_000);
        assert_eq!((columns[4].get(Phase::Cpu), columns[4].get(Phase::Sleep)), (7_500, 2_500));
        let mut sums = Phases::default();
        columns.iter().for_each(|column| sums.add_all(column));
        assert_eq!(sums.get(Phase::Cpu), 15_000);
    }

    #[test]
    fn what_lies_outside_the_window_is_not_drawn() {
        let before = span(0, &[(Phase::Cpu, 11_000)], 0);
        let after = span(WINDOW_NS, &[(Phase::Cpu, 50_000)], 0);
        let columns = stack(&[before, after], window());
        assert_eq!(columns[0].total_ns(), 10_000);
        assert_eq!(columns[59].total_ns(), 1_000);
        assert_eq!(columns.iter().map(Phases::total_ns).sum::<u64>(), 11_000);
    }

    #[test]
    fn a_request_stands_where_it_ended_by_how_long_it_took() {
        let short = span(11_000, &[(Phase::Cpu, 1_000)], 0);
        let open = Span { has_ended: false, ..short };
        let sampled = Span { weight: 4, ..short };
        let long = span(1_000, &[(Phase::Cpu, 300_000)], 0);
        let cells = map(&[short, open, sampled, long], window());
        assert_eq!(cells.len(), 2, "{cells:?}");
        let (first, second) = (cells[0], cells[1]);
        assert_eq!((first.0.0, first.1), (1, 5));
        assert_eq!((second.0.0, second.1), (30, 1));
        assert!(second.0.1 > first.0.1);
    }

    #[test]
    fn few_requests_show_beside_many() {
        assert_eq!((shade(1_000, 1_000), shade(250, 1_000), shade(1, 1_000)), (98, 49, 15));
    }

    #[test]
    fn an_empty_window_says_so() {
        let mut html = Html::default();
        write(&mut html, &[], window());
        assert!(html.into_text().contains("No request was seen"));
    }
}
