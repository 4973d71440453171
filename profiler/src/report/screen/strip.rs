//! Slots as a strip: one cell for each, coloured by what it does now, with a letter that says the same.
//!
//! In: what the threads do. Out: lines of cells, grouped by process, and a legend of the letters that occur.

use std::collections::BTreeMap;

use profiler_core::model::now::ThreadNow;
use ratatui::text::{Line, Span};

use super::model::Shown;
use super::paint::{Paint, Role};
use super::phases::{self, INDENT};
use crate::report::vocabulary::{self, Term};
use crate::report::{summary, unit};

/// Lines of the legend.
const MOST_LINES: usize = 3;

/// At most `rows` lines of cells, and the legend.
pub(super) fn lines(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let slots = &shown.snapshot.slots;
    let used = summary::ratio(slots.busy_ns(), summary::capacity_ns(&shown.snapshot));
    let mut of_process: BTreeMap<u32, Vec<&ThreadNow>> = BTreeMap::new();
    for thread in shown.now.threads.iter().filter(|thread| thread.slot.is_some()) {
        of_process.entry(thread.tgid).or_default().push(thread);
    }
    let seen: usize = of_process.values().map(Vec::len).sum();
    let mut lines = Vec::new();
    let mut line = Line::from(paint.span(Role::Strong, "slots   "));
    let mut left_out = 0;
    for (tgid, threads) in &mut of_process {
        threads.sort_unstable_by_key(|thread| (thread.slot, thread.tid));
        let name = format!("{tgid} ");
        if line.width() > INDENT.len() && line.width() + name.len() + 1 + threads.len().min(8) > width {
            lines.push(std::mem::replace(&mut line, Line::from(INDENT)));
        }
        line.push_span(paint.span(Role::Quiet, &name));
        for thread in threads.iter() {
            if line.width() + 1 > width {
                lines.push(std::mem::replace(&mut line, Line::from(INDENT)));
            }
            if lines.len() >= rows {
                left_out += 1;
                continue;
            }
            let term = vocabulary::of_thread(thread);
            line.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        }
        line.push_span(Span::raw("  "));
    }
    if seen == 0 {
        let text = match slots.count() {
            0 => "none seen so far: a thread becomes one with its first request".to_owned(),
            count => format!("{count}, what they do now is not known here"),
        };
        line.push_span(paint.span(Role::Quiet, &text));
    }
    lines.push(line);
    lines.truncate(rows);
    lines.extend(legend(&of_process, paint, (used, slots.count(), slots.peak_busy, left_out), width));
    lines
}

/// How much is used, and what the letters mean, those that most slots have first.
fn legend(
    of_process: &BTreeMap<u32, Vec<&ThreadNow>>,
    paint: Paint,
    (used, count, peak, left_out): (Option<f64>, u32, u32, usize),
    width: usize,
) -> Vec<Line<'static>> {
    let mut counts: Vec<(Term, usize)> = Vec::new();
    for thread in of_process.values().flatten() {
        let term = vocabulary::of_thread(thread);
        match counts.iter_mut().find(|(other, _)| *other == term) {
            Some((_, count)) => *count += 1,
            None => counts.push((term, 1)),
        }
    }
    counts.sort_by_key(|(term, count)| (std::cmp::Reverse(*count), term.letter));
    let mut line = Line::from(INDENT);
    let text = format!("{} of {count} used, peak {peak}", unit::percent(used));
    line.push_span(paint.span(Role::Plain, &text));
    if left_out > 0 {
        line.push_span(paint.span(Role::Doubt, &format!(" ({left_out} not shown)")));
    }
    let words = counts.into_iter().map(|(term, count)| (term, format!("{count} {}", term.name)));
    phases::legend(words.collect(), line, paint, width, MOST_LINES)
}
