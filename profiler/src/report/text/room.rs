//! One page of text: how its lines are given out.
//!
//! In: what sections ask for, and how tight it is. Out: rows, lines and findings that there is room for.
//!
//! Where all together is longer than a page, sections that may be spared go first. Then the sections lose a
//! row or a line each in turn, the last one first: rows of tables down to three, then lines of lists down to
//! one. Then findings lose sentence and advice, the last one first; if they are too many even so, the last
//! are counted in the heading alone.

use crate::report::document::block::Brief;

/// Lines of the page.
pub const LINES: usize = 60;

/// The tightest step.
pub(super) const TIGHTEST: usize = ALL_IN_FULL + MOST_IN_FULL;
/// Up to this step sections lose rows and lines.
const ALL_IN_FULL: usize = 1 + SECTIONS * MOST_LOST;
/// Sections that take turns in that, and how much each of them loses.
const SECTIONS: usize = 8;
const MOST_LOST: usize = 6;
/// Findings with their sentence at the step after it.
const MOST_IN_FULL: usize = 5;
/// Findings that are named at the tightest step.
const NAMED: usize = 10;
/// Rows of a table, and lines of a list, that are never lost.
const LEAST_ROWS: usize = 3;
const LEAST_LINES: usize = 1;

/// What there is room for in the section that is drawn.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Room {
    step: usize,
    /// Sections above it.
    entered: usize,
    rows: usize,
}

impl Room {
    pub(super) const fn at(step: usize) -> Self {
        Self { step, entered: 0, rows: 0 }
    }

    pub(super) const fn has_room_for(self, section: Brief) -> bool {
        self.step == 0 || !section.is_spare
    }

    /// Enters a section: lines of its sentences in a row, and of its labels.
    pub(super) fn enter(&mut self, section: Brief) -> usize {
        let step = self.step.clamp(1, ALL_IN_FULL) - 1;
        let lost = (step + self.entered.min(SECTIONS - 1)) / SECTIONS;
        self.entered += 1;
        self.rows = section.rows.saturating_sub(lost).max(section.rows.min(LEAST_ROWS));
        let lost = lost.saturating_sub(section.rows - self.rows);
        section.lines.saturating_sub(lost).max(LEAST_LINES)
    }

    /// Rows of its tables.
    pub(super) const fn rows(self) -> usize {
        self.rows
    }

    /// Whether the finding of this number has its sentence and advice.
    pub(super) const fn is_in_full(self, number: usize) -> bool {
        self.step <= ALL_IN_FULL || number <= TIGHTEST + 1 - self.step
    }

    /// Whether it has a line.
    pub(super) const fn is_named(self, number: usize) -> bool {
        self.step < TIGHTEST || number <= NAMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: Brief = Brief { rows: 6, lines: 3, is_spare: false };

    /// Whether there is a spare section, rows and lines of the first section and of the second, findings with
    /// their sentence, findings.
    fn measured(step: usize) -> (bool, [[usize; 2]; 2], [usize; 2]) {
        let mut room = Room::at(step);
        let sections = [(); 2].map(|()| {
            let lines = room.enter(SECTION);
            [room.rows(), lines]
        });
        let findings = [Room::is_in_full, Room::is_named]
            .map(|is_there| (1..=30).filter(|number| is_there(room, *number)).count());
        (room.has_room_for(Brief { is_spare: true, ..SECTION }), sections, findings)
    }

    #[test]
    fn sections_lose_rows_in_turn_then_lines_then_findings_their_sentences() {
        assert_eq!(measured(0), (true, [[6, 3], [6, 3]], [30, 30]));
        assert_eq!(measured(1), (false, [[6, 3], [6, 3]], [30, 30]));
        assert_eq!(measured(SECTIONS), (false, [[6, 3], [5, 3]], [30, 30]));
        assert_eq!(measured(1 + SECTIONS), (false, [[5, 3], [5, 3]], [30, 30]));
        assert_eq!(measured(1 + 4 * SECTIONS), (false, [[3, 2], [3, 2]], [30, 30]));
        assert_eq!(measured(ALL_IN_FULL), (false, [[3, 1], [3, 1]], [30, 30]));
        assert_eq!(measured(ALL_IN_FULL + 1), (false, [[3, 1], [3, 1]], [5, 30]));
        assert_eq!(measured(TIGHTEST), (false, [[3, 1], [3, 1]], [1, 10]));
    }
}
