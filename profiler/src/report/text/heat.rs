//! The heat map: how busy the slots of each process were, over time.
//!
//! In: busy slot-time per process and bucket. Out: a row per process, a shade per stretch of time.

use profiler_core::model::slot::{HeatRow, Slots};

use super::page::Page;
use super::unit;
use crate::report::escape::{Charset, columns};
use crate::report::style::Role;
use crate::report::summary;

/// Columns of the map.
const MAP_COLUMNS: usize = 72;
/// Columns before the map.
const LABEL_COLUMNS: usize = 14;
/// Processes shown; the others are counted.
const ROWS: usize = 24;
/// Shares from which the next shade is used. The last one is for slots that were taken nearly all the time.
const STEPS: [f64; 4] = [0.05, 0.35, 0.65, 0.95];

const fn shades(charset: Charset) -> [&'static str; 5] {
    match charset {
        Charset::Unicode => [" ", "░", "▒", "▓", "█"],
        Charset::Ascii => [" ", ".", ":", "#", "@"],
    }
}

pub(super) fn map(page: &mut Page, slots: &Slots, window_ns: u64) {
    let buckets = slots.heat.iter().map(|row| row.busy_ns.len()).max().unwrap_or(0);
    if buckets == 0 || slots.heat_bucket_ns == 0 || window_ns == 0 {
        return;
    }
    page.blank();
    for row in slots.heat.iter().take(ROWS) {
        let share = |column| share_of_column(row, (column, MAP_COLUMNS_U64), slots.heat_bucket_ns, window_ns);
        let cells: String =
            (0..MAP_COLUMNS_U64).map(|column| shade(share(column), page.style.charset)).collect();
        let busy_ns = row.busy_ns.iter().sum();
        let share = summary::ratio(busy_ns, window_ns.saturating_mul(u64::from(row.slots)));
        let label = format!("pid {}", row.tgid);
        let map = page.paint(Role::Graph, &cells);
        let edge = page.style.glyph("│", "|");
        page.line(&format!(
            "  {label:<width$}{edge}{map}{edge}{:>8}",
            unit::percent(share),
            width = LABEL_COLUMNS - 3
        ));
    }
    if let Some(more) = slots.heat.len().checked_sub(ROWS).filter(|more| *more > 0) {
        page.line(&format!("  and {more} more"));
    }
    axis(page, window_ns);
}

/// The busy share of a process in one column of the map: the average over the stretch of time it stands for.
pub(in crate::report) fn share_of_column(
    row: &HeatRow,
    (column, columns): (u64, u64),
    bucket_ns: u64,
    window_ns: u64,
) -> Option<f64> {
    let edge = |column| summary::scaled(window_ns, column, columns);
    let (from_ns, to_ns) = (edge(column), edge(column + 1));
    let mut busy_ns = 0_u64;
    let mut start_ns = 0_u64;
    for bucket_busy_ns in &row.busy_ns {
        let end_ns = start_ns.saturating_add(bucket_ns).min(window_ns);
        let overlap_ns = end_ns.min(to_ns).saturating_sub(start_ns.max(from_ns));
        // Within a bucket the busy time is taken as even.
        let length_ns = end_ns.saturating_sub(start_ns);
        busy_ns = busy_ns.saturating_add(summary::scaled(*bucket_busy_ns, overlap_ns, length_ns));
        start_ns = end_ns;
    }
    summary::ratio(busy_ns, to_ns.saturating_sub(from_ns).saturating_mul(u64::from(row.slots)))
}

const MAP_COLUMNS_U64: u64 = MAP_COLUMNS as u64;

fn shade(share: Option<f64>, charset: Charset) -> &'static str {
    let share = share.unwrap_or(0.0);
    let step = STEPS.iter().filter(|step| share >= **step).count();
    shades(charset).get(step).copied().unwrap_or(" ")
}

/// Time below the map, and what the shades mean.
fn axis(page: &mut Page, window_ns: u64) {
    let charset = page.style.charset;
    let (half, end) = (unit::duration(window_ns / 2, charset), unit::duration(window_ns, charset));
    let mut line = " ".repeat(LABEL_COLUMNS);
    line.push('0');
    for (at, label) in [(MAP_COLUMNS / 2, &half), (MAP_COLUMNS, &end)] {
        let start = LABEL_COLUMNS + at - columns(label) / if at == MAP_COLUMNS { 1 } else { 2 };
        line.push_str(&" ".repeat(start.saturating_sub(columns(&line))));
        line.push_str(label);
    }
    page.line(&page.paint(Role::Quiet, &line));
    let shades = shades(charset);
    let names = ["<5 %", "<35 %", "<65 %", "<95 %", "taken"];
    let legend: Vec<String> = shades
        .into_iter()
        .zip(names)
        .map(|(shade, name)| format!("{} {name}", if shade == " " { "blank" } else { shade }))
        .collect();
    let legend = format!("{}busy: {}", " ".repeat(LABEL_COLUMNS), legend.join("   "));
    page.line(&page.paint(Role::Quiet, &legend));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(busy_ns: Vec<u64>) -> HeatRow {
        HeatRow { tgid: 1, slots: 2, busy_ns, exhausted_ns: 0 }
    }

    #[test]
    fn more_buckets_than_columns_are_averaged_and_fewer_are_stretched() {
        let window_ns = 7_200;
        let many: Vec<u64> = (0..7_200).map(|n| if n % 2 == 0 { 2 } else { 0 }).collect();
        assert_eq!(share_of_column(&row(many), (5, MAP_COLUMNS_U64), 1, window_ns), Some(0.5));
        let few = row(vec![0, 3_600 * 2]);
        assert_eq!(share_of_column(&few, (35, MAP_COLUMNS_U64), 3_600, window_ns), Some(0.0));
        assert_eq!(share_of_column(&few, (36, MAP_COLUMNS_U64), 3_600, window_ns), Some(1.0));
    }

    #[test]
    fn a_last_bucket_cut_by_the_end_of_the_window_can_still_be_full() {
        // Buckets of 100 ns, the window ends at 144 ns: the last bucket holds 44 ns of two slots.
        let cut = row(vec![0, 88]);
        assert_eq!(share_of_column(&cut, (71, MAP_COLUMNS_U64), 100, 144), Some(1.0));
    }

    #[test]
    fn shades_go_from_blank_to_full() {
        let shown = |share| shade(Some(share), Charset::Unicode);
        assert_eq!([0.0, 0.1, 0.5, 0.8, 1.0].map(shown), [" ", "░", "▒", "▓", "█"]);
        assert_eq!(shade(None, Charset::Ascii), " ");
    }
}
