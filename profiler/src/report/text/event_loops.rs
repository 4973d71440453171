//! Event loops: how late they looked at what was ready, and who kept them.
//!
//! In: the event loops of a snapshot. Out: a section, where there are any.

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::{EventLoop, Holder};

use super::page::Page;
use super::table::{Column, Table};
use super::unit;
use crate::report::style::Role;
use crate::report::summary;

/// Loops and endpoints shown; the others are counted.
const ROWS: usize = 12;

const COLUMNS: [Column; 8] = [
    Column::Right("pid"),
    Column::Right("thread"),
    Column::Right("busy"),
    Column::Right("iter."),
    Column::Right("lag p50"),
    Column::Right("p99"),
    Column::Right("longest"),
    Column::Right("longest iter."),
];

const HOLDER_COLUMNS: [Column; 6] = [
    Column::Shrinking("who kept the loop"),
    Column::Right("iter."),
    Column::Right("of 10 ms"),
    Column::Right("longest"),
    Column::Right("arrivals waited"),
    Column::Right("in all"),
];

/// For whom the word "lag" is new.
pub(in crate::report) const WHAT_LAG_IS: &str = "Each serves many requests on one thread. Lag is the time from a \
    request's arrival to the loop's next look at what is ready. An event-loop iteration lasts from one of the loop's \
    waits to the next.";

/// Who kept a loop, in words.
pub(in crate::report) fn holder_name(holder: &Holder) -> String {
    if holder.path_shape.is_empty() {
        "no request, or many short ones".to_owned()
    } else {
        format!("{} {}", holder.method, holder.path_shape)
    }
}

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let loops = &snapshot.event_loops;
    if loops.is_empty() {
        return;
    }
    let charset = page.style.charset;
    let number = u64::try_from(loops.len()).unwrap_or(u64::MAX);
    page.heading(
        "Event loops",
        &format!(
            "{}: each serves many requests on one thread; iter.: loop iterations",
            unit::counted(number, "loop")
        ),
    );
    let mut table = Table::new(&COLUMNS);
    for event_loop in loops.iter().take(ROWS) {
        let EventLoop { lag, busy_ns, waiting_ns, .. } = event_loop;
        let lag_of = |duration_ns: u64| {
            if lag.count() == 0 { "-".to_owned() } else { unit::duration(duration_ns, charset) }
        };
        table.row([
            event_loop.tgid.to_string(),
            event_loop.tid.to_string(),
            unit::percent(summary::ratio(*busy_ns, busy_ns.saturating_add(*waiting_ns))),
            unit::count(event_loop.turns),
            lag_of(lag.quantile_ns(0.5)),
            lag_of(lag.quantile_ns(0.99)),
            lag_of(lag.max_ns()),
            unit::duration(event_loop.longest_turn_ns, charset),
        ]);
    }
    table.write(page);
    if let Some(more) = loops.len().checked_sub(ROWS).filter(|more| *more > 0) {
        page.line(&format!("  and {more} more"));
    }
    let unknown = loops.iter().fold(0u64, |sum, event_loop| sum.saturating_add(event_loop.lag_unknown));
    if unknown > 0 {
        let text = format!("The lag of {} more arrivals is not known.", unit::count(unknown));
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    let by_order = loops.iter().fold(0u64, |sum, event_loop| sum.saturating_add(event_loop.paired_by_order));
    if by_order > 0 {
        let text = format!(
            "{} times a back end or a thread's work was attributed to the first of several requests, by order alone.",
            unit::count(by_order)
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    let unknown = loops.iter().fold(0u64, |sum, event_loop| sum.saturating_add(event_loop.back_ends_unknown));
    if unknown > 0 {
        let text = format!(
            "{} times a back end was asked for one of several requests, and it is not known for which: its time is unexplained.",
            unit::count(unknown)
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    holders(page, loops);
}

fn holders(page: &mut Page, loops: &[EventLoop]) {
    let charset = page.style.charset;
    let mut list: Vec<(&EventLoop, &Holder)> = loops
        .iter()
        .flat_map(|event_loop| event_loop.holders.iter().map(move |holder| (event_loop, holder)))
        .filter(|(_, holder)| holder.waited > 0 || holder.long.count > 0)
        .collect();
    list.sort_by_key(|(_, holder)| (std::cmp::Reverse(holder.waited_ns), std::cmp::Reverse(holder.held_ns)));
    if list.is_empty() {
        return;
    }
    page.line("");
    let mut table = Table::new(&HOLDER_COLUMNS);
    for (event_loop, holder) in list.into_iter().take(ROWS) {
        let name = holder_name(holder);
        let name = if loops.len() > 1 { format!("{name} (pid {})", event_loop.tgid) } else { name };
        table.row([
            name,
            unit::count(holder.turns),
            unit::count(holder.long.count),
            unit::duration(holder.longest_ns, charset),
            unit::count(holder.waited),
            unit::duration(holder.waited_ns, charset),
        ]);
    }
    table.write(page);
}
