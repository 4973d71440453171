//! The heat map: how busy the slots of each process were, over time.
//!
//! In: busy slot-time per process and bucket. Out: a row per process, a shade per stretch of time.

use profiler_core::model::slot::Slots;

use super::page::Page;
use crate::report::document::heat::{share_of, share_of_column};
use crate::report::escape::{Charset, columns};
use crate::report::style::Role;
use crate::report::unit;

/// Columns before the map.
const LABEL_COLUMNS: usize = 14;
/// Columns before it and behind it.
const BESIDE: usize = 2 * LABEL_COLUMNS;
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
    let map_columns = page.width.saturating_sub(BESIDE);
    let columns = unit::number(map_columns);
    page.blank();
    for row in slots.heat.iter().take(ROWS) {
        let share = |column| share_of_column(row, (column, columns), slots.heat_bucket_ns, window_ns);
        let cells: String = (0..columns).map(|column| shade(share(column), page.style.charset)).collect();
        let label = format!("pid {}", row.tgid);
        let edge = page.style.charset.glyph("│", "|");
        let before = format!("  {label:<width$}{edge}", width = LABEL_COLUMNS - 3);
        let after = format!("{edge}{:>8}", unit::percent(share_of(row, window_ns)));
        page.line(&[(Role::Plain, before.as_str()), (Role::Graph, &cells), (Role::Plain, &after)]);
    }
    if let Some(more) = slots.heat.len().checked_sub(ROWS).filter(|more| *more > 0) {
        page.line(&[(Role::Plain, format!("  and {more} more").as_str())]);
    }
    axis(page, map_columns, window_ns);
}

fn shade(share: Option<f64>, charset: Charset) -> &'static str {
    let share = share.unwrap_or(0.0);
    let step = STEPS.iter().filter(|step| share >= **step).count();
    shades(charset).get(step).copied().unwrap_or(" ")
}

/// Time below the map, and what the shades mean.
fn axis(page: &mut Page, map_columns: usize, window_ns: u64) {
    let charset = page.style.charset;
    let (half, end) = (unit::duration(window_ns / 2, charset), unit::duration(window_ns, charset));
    let mut line = " ".repeat(LABEL_COLUMNS);
    line.push('0');
    for (at, label, share) in [(map_columns / 2, &half, 2), (map_columns, &end, 1)] {
        let start = (LABEL_COLUMNS + at).saturating_sub(columns(label) / share);
        line.push_str(&" ".repeat(start.saturating_sub(columns(&line))));
        line.push_str(label);
    }
    page.line(&[(Role::Quiet, line.as_str())]);
    let shades = shades(charset);
    let names = ["<5 %", "<35 %", "<65 %", "<95 %", "taken"];
    let legend: Vec<String> = shades
        .into_iter()
        .zip(names)
        .map(|(shade, name)| format!("{} {name}", if shade == " " { "blank" } else { shade }))
        .collect();
    let legend = format!("{}busy: {}", " ".repeat(LABEL_COLUMNS), legend.join("   "));
    page.line(&[(Role::Quiet, legend.as_str())]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_blank_to_full() {
        let shown = |share| shade(Some(share), Charset::Unicode);
        assert_eq!([0.0, 0.1, 0.5, 0.8, 1.0].map(shown), [" ", "░", "▒", "▓", "█"]);
        assert_eq!(shade(None, Charset::Ascii), " ");
    }
}
