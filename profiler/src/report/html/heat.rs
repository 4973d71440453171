//! The heat map: a row per process, time from left to right, darker where more of its slots were busy.
//!
//! In: busy slot-time per process and bucket. Out: a table with a strip of cells below each row.

use profiler_core::model::slot::Slots;

use super::chart;
use super::markup::Html;
use super::table;
use crate::report::document::heat::{share_of, share_of_column};
use crate::report::document::table::Width;
use crate::report::escape::Charset;
use crate::report::{summary, unit};

/// Columns of the heat map.
const MAP_COLUMNS: u64 = 120;
/// Processes in it; the others are counted.
const MAP_ROWS: usize = 100;

/// A row per process, time from left to right, darker where more of its slots were busy.
pub(super) fn map(html: &mut Html, slots: &Slots, window_ns: u64) {
    let columns = MAP_COLUMNS.min(window_ns.div_ceil(slots.heat_bucket_ns)).max(1);
    html.raw("<h3>Capacity over time</h3>");
    let numbers = ["slots", "busy", "all busy for"].map(|heading| (heading, Width::Number));
    let headings = [("process", Width::Known)].into_iter().chain(numbers);
    table::begin(html, "Busy share of each process's slots", false, headings);
    for (place, row) in slots.heat.iter().enumerate().take(MAP_ROWS) {
        let share = share_of(row, window_ns);
        let at = |key: &str| format!("/slots/heat_map/rows/{place}/{key}");
        html.raw("<tr><th scope=\"row\">pid ");
        let (pid, slots_of) = (row.tgid.to_string(), row.slots.to_string());
        html.figure(&at("pid"), &pid, &pid).raw("</th><td class=\"number\">");
        html.figure(&at("slots"), &slots_of, &slots_of).raw("</td><td class=\"number\">");
        html.text(&unit::percent(share)).raw("</td><td class=\"number\">");
        let exhausted = unit::duration(row.exhausted_ns, Charset::Unicode);
        html.figure(&at("exhausted_ns"), &row.exhausted_ns.to_string(), &exhausted).raw("</td>");
        html.raw("</tr><tr class=\"map\"><td colspan=\"4\"><svg role=\"img\" preserveAspectRatio=\"none\" class=\"heat\"");
        html.attribute("viewBox", &format!("0 0 {columns} 1"));
        html.attribute("aria-label", &format!("pid {} over time: {} busy", row.tgid, unit::percent(share)))
            .raw(">");
        for column in 0..columns {
            let share = share_of_column(row, (column, columns), slots.heat_bucket_ns, window_ns);
            cell(html, column, columns, share, window_ns);
        }
        html.raw("</svg></td></tr>");
    }
    table::end(html);
    if let Some(more) = slots.heat.len().checked_sub(MAP_ROWS).filter(|more| *more > 0) {
        html.element("p", &format!("and {more} more"));
    }
    chart::axis(html, "axis", window_ns);
}

fn cell(html: &mut Html, column: u64, columns: u64, share: Option<f64>, window_ns: u64) {
    let Some(share) = share.map(|share| share.clamp(0.0, 1.0)).filter(|share| *share > 0.0) else { return };
    let from_ns = summary::scaled(window_ns, column, columns);
    let words = format!("at {}: {}", unit::duration(from_ns, Charset::Unicode), unit::percent(Some(share)));
    html.raw("<rect width=\"1\" height=\"1\"").attribute("x", &column.to_string());
    html.attribute("fill-opacity", &format!("{share:.3}"))
        .raw("><title>")
        .text(&words)
        .raw("</title></rect>");
}
