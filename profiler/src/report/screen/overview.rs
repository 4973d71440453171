//! Everything at a glance, and a list below.
//!
//! In: a moment and what the reader looks at. Out: as many lines as the screen has rows. First what to know
//! in three seconds: the verdict, what to change, one bar. Below the line that names the server: what it
//! rests on. A taller screen shows more of reasons, of slots, of listeners, and the rest of it goes to the
//! list.

use ratatui::text::Line;

use super::look::Look;
use super::model::Shown;
use super::paint::Paint;
use super::{facts, phases, strip, verdict, with_table};

pub(super) fn lines(
    shown: &Shown,
    look: &Look,
    paint: Paint,
    width: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    // Rows beyond those of the smallest screen, a part of which goes to each section.
    let more = rows.saturating_sub(usize::from(super::MIN_ROWS));
    let mut lines = facts::incomplete(shown, paint, width);
    let verdict = verdict::lines(shown, paint, width);
    // Where the verdict is short there is room for more of its reasons.
    let reasons = 6_usize.saturating_sub(verdict.len()).max(2) + more.min(4);
    lines.extend(verdict);
    lines.extend(phases::lines(&shown.snapshot.requests.phases, "time", paint, width));
    lines.push(facts::divider(shown, look, paint, width));
    lines.extend(verdict::why(shown, paint, width, reasons));
    lines.extend(verdict::also(shown, paint, width, more.min(4)));
    lines.push(facts::traffic(shown, paint, width));
    lines.extend(strip::lines(shown, paint, width, 1 + more / 4));
    lines.extend(facts::gil(shown, paint, width, 1 + more.min(3)));
    lines.extend(facts::listeners(shown, paint, width, 1 + more.min(2)));
    lines.extend(facts::dropped(shown, paint, width));
    lines.push(facts::clients(shown, paint));
    lines.push(facts::trust(shown, paint));
    with_table(lines, shown, look, paint, (width, rows))
}
