//! Where request time went, as one bar of letters, and its largest parts in words.
//!
//! In: phases. Out: two lines.

use std::cmp::Reverse;

use profiler_core::phase::{Phase, Phases};
use ratatui::text::{Line, Span};

use super::paint::{Paint, Role};
use crate::report::document::phases;
use crate::report::{summary, unit, vocabulary};

/// The bar, as wide as `width` allows behind its label, and the largest phases with their share.
pub(super) fn lines(all: &Phases, label: &str, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let mut bar = Line::from(paint.span(Role::Strong, &format!("{label:<8}")));
    let whole_ns = all.total_ns();
    if whole_ns == 0 {
        bar.push_span(paint.span(Role::Quiet, "no request, no time"));
        return vec![bar, Line::default()];
    }
    let room = width.saturating_sub(bar.width());
    for (phase, cells) in cells(all, room) {
        let term = vocabulary::of_phase(phase);
        bar.push_span(Span::styled(term.letter.to_string().repeat(cells), paint.cell(term.colour)));
    }
    let mut words = Line::from("        ");
    for (phase, duration_ns) in phases::longest_first(all) {
        let term = vocabulary::of_phase(phase);
        let share = unit::percent(summary::ratio(duration_ns, whole_ns));
        let text = format!(" {} {share}  ", phase.name());
        if words.width() + text.len() + 1 > width {
            break;
        }
        words.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        words.push_span(paint.span(Role::Plain, &text));
    }
    vec![bar, words]
}

/// Cells of each phase: as many as there are in all, by largest remainder; what has time and room has at least one.
fn cells(all: &Phases, room: usize) -> Vec<(Phase, usize)> {
    let whole_ns = u128::from(all.total_ns()).max(1);
    let mut parts: Vec<(Phase, usize, u128)> = all
        .iter()
        .map(|(phase, duration_ns)| {
            let product = u128::from(duration_ns) * room as u128;
            let cells = usize::try_from(product / whole_ns).unwrap_or(0);
            (phase, cells, product % whole_ns)
        })
        .collect();
    let used: usize = parts.iter().map(|(_, cells, _)| cells).sum();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| parts.get(*index).map(|(_, _, rest)| Reverse(*rest)));
    for index in order.into_iter().take(room.saturating_sub(used)) {
        if let Some((_, cells, _)) = parts.get_mut(index) {
            *cells += 1;
        }
    }
    parts.into_iter().filter(|(_, cells, _)| *cells > 0).map(|(phase, cells, _)| (phase, cells)).collect()
}

/// A row for each phase that has time, longest first: letter, name, time, share, meaning.
pub(super) fn table(all: &Phases, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let whole_ns = all.total_ns();
    let row = |(phase, duration_ns): (Phase, u64)| {
        let term = vocabulary::of_phase(phase);
        let share = summary::ratio(duration_ns, whole_ns);
        let bar = crate::report::text::bar::bar(share, 20, paint.charset);
        let mut line = Line::from("  ");
        line.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        let text = format!(
            " {:<18} {:>9} {:>7}  ",
            phase.name(),
            unit::duration(duration_ns, paint.charset),
            unit::percent(share)
        );
        line.push_span(paint.span(Role::Plain, &text));
        line.push_span(paint.span(Role::Plain, &bar));
        let padding = 63_usize.min(width).saturating_sub(line.width());
        line.push_span(Span::raw(" ".repeat(padding)));
        line.push_span(paint.span(Role::Quiet, term.meaning));
        line
    };
    phases::longest_first(all).into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_of_a_bar_are_as_many_as_there_is_room_for() {
        let mut all = Phases::default();
        for (phase, duration_ns) in [(Phase::Cpu, 1), (Phase::Write, 333), (Phase::PoolWait, 666)] {
            all.add(phase, duration_ns);
        }
        for room in [1, 2, 3, 10, 71, 1000] {
            let cells = cells(&all, room);
            assert_eq!(cells.iter().map(|(_, cells)| cells).sum::<usize>(), room);
        }
    }
}
