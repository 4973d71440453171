//! Where request time went, as one bar of letters, and its largest parts in words.
//!
//! In: phases. Out: the bar, and below it the word of each letter in it; a line for each phase.

use std::cmp::Reverse;

use profiler_core::phase::{Phase, Phases};
use ratatui::text::{Line, Span};

use super::paint::{Paint, Role};
use crate::report::document::phases;
use crate::report::vocabulary::Term;
use crate::report::{summary, vocabulary};

/// Lines of words below a bar.
const MOST_LINES: usize = 3;

/// The bar, as wide as `width` allows behind its label, and what its letters stand for, each with its share.
pub(super) fn lines(all: &Phases, label: &str, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let mut bar = Line::from(paint.span(Role::Strong, &format!("{label:<8}")));
    let whole_ns = all.total_ns();
    if whole_ns == 0 {
        bar.push_span(paint.span(Role::Quiet, "no request, no time"));
        return vec![bar, Line::default()];
    }
    let room = width.saturating_sub(bar.width());
    let cells = cells(all, room);
    bar.extend(letters(&cells, paint));
    let drawn = |phase: Phase| cells.iter().any(|(other, _)| *other == phase);
    let longest = phases::longest_first(all).into_iter().filter(|(phase, _)| drawn(*phase));
    let words = longest.map(|(phase, duration_ns)| {
        let share = match summary::ratio(duration_ns, whole_ns).unwrap_or(0.0) * 100.0 {
            share if share < 0.5 => "<1 %".to_owned(),
            share => format!("{share:.0} %"),
        };
        (vocabulary::of_phase(phase), format!("{} {share}", phase.name()))
    });
    let mut lines = vec![bar];
    lines.extend(legend(words.collect(), Line::from(INDENT), paint, width, MOST_LINES));
    lines
}

/// Below the label of a bar.
pub(super) const INDENT: &str = "        ";

fn letters(cells: &[(Phase, usize)], paint: Paint) -> Vec<Span<'static>> {
    let cell = |(phase, cells): &(Phase, usize)| {
        let term = vocabulary::of_phase(*phase);
        Span::styled(term.letter.to_string().repeat(*cells), paint.cell(term.colour))
    };
    cells.iter().map(cell).collect()
}

/// A bar alone, of so many columns.
pub(super) fn bar(all: &Phases, room: usize, paint: Paint) -> Vec<Span<'static>> {
    if all.total_ns() == 0 { Vec::new() } else { letters(&cells(all, room), paint) }
}

/// Letters, each with its words, behind what the first line begins with; as many lines as they need, at most
/// `rows`.
pub(super) fn legend(
    words: Vec<(Term, String)>,
    first: Line<'static>,
    paint: Paint,
    width: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut line = first;
    let mut is_empty = line.width() <= INDENT.len();
    for (term, words) in words {
        let gap = if is_empty { "" } else { "  " };
        if line.width() + gap.len() + 2 + words.len() > width {
            lines.push(std::mem::replace(&mut line, Line::from(INDENT)));
        } else {
            line.push_span(Span::raw(gap));
        }
        is_empty = false;
        line.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        line.push_span(paint.span(Role::Plain, &format!(" {words}")));
    }
    lines.push(line);
    lines.truncate(rows);
    lines
}

/// Cells of each phase: as many as there are in all, by largest remainder; what has time and room has at
/// least one.
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
