//! Slots: how many, what held them, how often all were taken, and when (the heat map).
//!
//! In: the slots of a snapshot. Out: a section.

use profiler_core::model::Snapshot;
use profiler_core::model::slot::{Holding, Slots};

use super::capacity;
use super::chart::{self, Part};
use super::markup::Html;
use super::phases;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{heat, slots as words, unit};

/// Columns of the heat map.
const MAP_COLUMNS: u64 = 120;
/// Processes in it; the others are counted.
const MAP_ROWS: usize = 100;

pub(super) fn section(html: &mut Html, snapshot: &Snapshot) {
    let slots = &snapshot.slots;
    let window_ns = snapshot.window.length_ns();
    let capacity_ns = window_ns.saturating_mul(u64::from(slots.count()));
    let busy_ns = slots.busy_ns();
    html.section("slots", "Slots", "");
    if slots.count() == 0 {
        html.raw("<p>").text(&summary::none_seen(snapshot, "slot")).raw("</p>");
        html.end_section();
        return;
    }
    html.raw("<p>");
    html.figure("/slots/counted", u64::from(slots.count()), &unit::counted(u64::from(slots.count()), "slot"));
    html.raw(" (")
        .raw(words::known(snapshot))
        .raw("); ")
        .text(&unit::percent(summary::ratio(busy_ns, capacity_ns)))
        .raw(" of capacity used; at most ");
    let peak = u64::from(slots.peak_busy);
    html.figure("/slots/peak_busy", peak, &unit::count(peak))
        .raw(" busy at one moment; all busy at once for ");
    let exhausted = unit::duration(slots.exhausted_ns, Charset::Unicode);
    html.figure("/slots/exhausted_ns", slots.exhausted_ns, &exhausted).raw(" (");
    let share = unit::percent(summary::ratio(slots.exhausted_ns, window_ns));
    html.share("/slots/exhausted_ratio", (slots.exhausted_ns, window_ns), &share).raw(" of the window).</p>");
    if let Some(text) = words::full_worker(snapshot) {
        html.element("p", &text);
    }
    if slots.acceptor_linger_ns > 0 {
        let lingered = unit::duration(slots.acceptor_linger_ns, Charset::Unicode);
        html.raw("<p>Accepting threads waited ");
        html.figure("/slots/acceptor_linger_ns", slots.acceptor_linger_ns, &lingered);
        html.raw(" for clients to close: meanwhile they accepted nothing.</p>");
    }
    held(html, slots, capacity_ns);
    map(html, slots, window_ns);
    list(html, slots);
    capacity::workers(html, snapshot);
    html.end_section();
}

fn held(html: &mut Html, slots: &Slots, capacity_ns: u64) {
    const COLUMNS: [Column; 4] = [
        Column::Words("held by"),
        Column::Number("slot-time"),
        Column::Number("of capacity"),
        Column::Words("what it means"),
    ];
    let parts =
        Holding::ALL.map(|holding| Part { name: holding.name(), duration_ns: slots.held_ns(holding) });
    chart::stacked(html, "tall", &parts, capacity_ns);
    table::begin(html, "What held the slots", &COLUMNS, false);
    for holding in Holding::ALL {
        let held_ns = slots.held_ns(holding);
        if held_ns > 0 {
            phases::named(html, holding.name());
            let shown = unit::duration(held_ns, Charset::Unicode);
            html.number_at(&format!("/slots/held/{}_ns", holding.name()), held_ns, &shown);
            html.number(&unit::percent(summary::ratio(held_ns, capacity_ns)));
            html.words(words::meaning(holding)).end_row();
        }
    }
    let free_ns = capacity_ns.saturating_sub(slots.busy_ns());
    html.row("free").number(&unit::duration(free_ns, Charset::Unicode));
    html.number(&unit::percent(summary::ratio(free_ns, capacity_ns))).words("").end_row();
    table::end(html);
}

/// A row per process, time from left to right, darker where more of its slots were busy.
fn map(html: &mut Html, slots: &Slots, window_ns: u64) {
    const COLUMNS: [Column; 4] = [
        Column::Words("process"),
        Column::Number("slots"),
        Column::Number("busy"),
        Column::Number("all busy for"),
    ];
    if slots.heat.is_empty() || slots.heat_bucket_ns == 0 || window_ns == 0 {
        return;
    }
    let columns = MAP_COLUMNS.min(window_ns.div_ceil(slots.heat_bucket_ns)).max(1);
    html.raw("<h3>Capacity over time</h3>");
    table::begin(html, "Busy share of each process's slots", &COLUMNS, false);
    for (place, row) in slots.heat.iter().enumerate().take(MAP_ROWS) {
        let busy_ns: u64 = row.busy_ns.iter().sum();
        let share = summary::ratio(busy_ns, window_ns.saturating_mul(u64::from(row.slots)));
        let at = |key: &str| format!("/slots/heat_map/rows/{place}/{key}");
        html.raw("<tr><th scope=\"row\">pid ");
        html.figure(&at("pid"), u64::from(row.tgid), &row.tgid.to_string()).raw("</th>");
        html.number_at(&at("slots"), u64::from(row.slots), &row.slots.to_string());
        html.number(&unit::percent(share));
        html.number_at(
            &at("exhausted_ns"),
            row.exhausted_ns,
            &unit::duration(row.exhausted_ns, Charset::Unicode),
        );
        html.raw("</tr><tr class=\"map\"><td colspan=\"4\"><svg role=\"img\" preserveAspectRatio=\"none\" class=\"heat\"");
        html.attribute("viewBox", &format!("0 0 {columns} 1"));
        html.attribute("aria-label", &format!("pid {} over time: {} busy", row.tgid, unit::percent(share)))
            .raw(">");
        for column in 0..columns {
            let share = heat::share_of_column(row, (column, columns), slots.heat_bucket_ns, window_ns);
            cell(html, column, columns, share, window_ns);
        }
        html.raw("</svg></td></tr>");
    }
    table::end(html);
    if let Some(more) = slots.heat.len().checked_sub(MAP_ROWS).filter(|more| *more > 0) {
        html.element("p", &format!("and {more} more"));
    }
    html.raw("<div class=\"axis\">");
    for at_ns in [0, window_ns / 2, window_ns] {
        html.element(
            "span",
            &if at_ns == 0 { "0".to_owned() } else { unit::duration(at_ns, Charset::Unicode) },
        );
    }
    html.raw("</div>");
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

fn list(html: &mut Html, slots: &Slots) {
    const COLUMNS: [Column; 6] = [
        Column::Words("slot"),
        Column::Number("pid"),
        Column::Number("thread"),
        Column::Number("requests"),
        Column::Number("busy"),
        Column::Words("held by"),
    ];
    html.raw("<details><summary>Each slot</summary>");
    table::begin(html, "Each slot and what held it", &COLUMNS, true);
    for (place, slot) in slots.observed.iter().enumerate() {
        let at = |key: &str| format!("/slots/list/{place}/{key}");
        html.raw("<tr><th scope=\"row\">");
        html.figure(&at("id"), u64::from(slot.id), &slot.id.to_string()).raw("</th>");
        html.number(&slot.tgid.to_string()).number(&slot.tid.to_string());
        html.number_at(&at("requests"), slot.requests, &unit::count(slot.requests));
        html.number_at(&at("busy_ns"), slot.busy_ns(), &unit::duration(slot.busy_ns(), Charset::Unicode));
        let parts =
            Holding::ALL.map(|holding| Part { name: holding.name(), duration_ns: slot.held_ns(holding) });
        html.raw("<td>");
        chart::stacked(html, "thin", &parts, slot.length_ns());
        html.raw("</td>").end_row();
    }
    table::end(html);
    html.raw("</details>");
}
