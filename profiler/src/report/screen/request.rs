//! One request over time: what its threads did, from its first byte to its last.
//!
//! In: a kept request. Out: a ruler, a line of letters for each thread, the phases, which add up to its
//! length.

use ratatui::text::{Line, Span};

use super::look::Look;
use super::model::{Kept, Part, Shown};
use super::paint::{Paint, Role};
use super::wrapped::beside;
use super::{facts, phases, scrolled, section};
use crate::report::document::header::DOT;
use crate::report::document::{self, endpoints, gil_words, slowest};
use crate::report::unit;
use crate::report::vocabulary::{self, Term};

/// Width of the label before a line of the timeline.
const LABEL: usize = 16;
/// Lines of a sentence about the interpreter lock.
const MAX_LINES: usize = 6;
/// Threads of one request that have a line of their own.
const MAX_THREADS: usize = 8;

pub(super) fn lines(
    shown: &Shown,
    look: &Look,
    kept: &Kept,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let request = &kept.request;
    let time = |duration_ns| unit::duration(duration_ns, paint.charset);
    let mut top = vec![facts::title(shown, look, paint, width)];
    let name =
        format!("#{} {}  {}", request.id, slowest::name(request), endpoints::status(request.http.status));
    top.push(Line::from(Span::styled(paint.quote(&name, width), paint.style(Role::Strong))));
    let mut text = format!("{} in all", time(request.total_ns()));
    if let Some(service_ns) = request.service_ns() {
        text.push_str(&format!(", {} from its head to its last byte", time(service_ns)));
    }
    let (bytes_in, bytes_out) = (unit::bytes(request.http.bytes_in), unit::bytes(request.http.bytes_out));
    let who = if request.tgid == 0 { "not accepted".to_owned() } else { format!("pid {}", request.tgid) };
    text.push_str(&format!("{DOT}{who}, {bytes_in} in, {bytes_out} out"));
    top.extend(beside(paint, (Line::default(), 0), (&text, Role::Plain), width, 2));
    if let Some(before_ns) = request.http.request_start.before_ns() {
        let text = format!("{} before that from its X-Request-Start on", time(before_ns));
        top.push(paint.line(Role::Plain, &text));
    }
    top.push(Line::default());

    let mut body = timeline(kept, paint, width);
    body.push(Line::default());
    body.extend(phases::lines(&request.phases, "phases", paint, width));
    body.extend(section::block(&document::phases::detail("", &request.phases, ""), paint, width));
    let because = gil_words::because(request).map(|text| format!("It {text}."));
    let waits = gil_words::longest_waits(request);
    for text in because.into_iter().chain(waits.into_iter().map(|text| format!("A wait of {text}."))) {
        body.extend(beside(paint, (Line::default(), 0), (&text, Role::Plain), width, MAX_LINES));
    }
    for (applies, doubt) in [
        (request.seen.open, "Still open."),
        (request.seen.truncated, "Its beginning was not seen."),
        (
            !request.times.start_is_arrival && !request.seen.truncated,
            "Its arrival was not seen: it begins at first sight.",
        ),
        (request.seen.lossy, "Records of its thread were lost meanwhile: that part is unexplained."),
        (kept.thinned, "Its later calls are not drawn: it made too many."),
    ] {
        if applies {
            body.push(paint.line(Role::Doubt, doubt));
        }
    }
    scrolled(top, body, look, paint, (width, rows))
}

/// A ruler, and for each thread what it did; before it, what the request waited for.
fn timeline(kept: &Kept, paint: Paint, width: usize) -> Vec<Line<'static>> {
    let request = &kept.request;
    let room = width.saturating_sub(LABEL).max(1);
    let total = unit::duration(request.total_ns(), paint.charset);
    let mut ruler = Line::from(" ".repeat(LABEL));
    ruler.push_span(Span::raw("0"));
    ruler.push_span(
        paint.span(Role::Quiet, &paint.charset.glyph("─", "-").repeat(room.saturating_sub(total.len() + 1))),
    );
    ruler.push_span(paint.span(Role::Plain, &total));
    let mut lines = vec![ruler];
    if request.total_ns() == 0 || kept.parts.is_empty() {
        lines.push(paint.line(
            Role::Quiet,
            "What its threads did call by call was not kept; the phases below are whole.",
        ));
        return lines;
    }
    let mut threads: Vec<u32> = Vec::new();
    for part in &kept.parts {
        if !threads.contains(&part.tid) {
            threads.push(part.tid);
        }
    }
    let mut seen: Vec<Term> = Vec::new();
    if let Some(line) = waiting(kept, paint, room, &mut seen) {
        lines.push(line);
    }
    for tid in threads.iter().take(MAX_THREADS) {
        let mut line = Line::from(paint.span(Role::Quiet, &format!("{:<LABEL$}", format!("thread {tid}"))));
        let parts: Vec<Part> = kept.parts.iter().copied().filter(|part| part.tid == *tid).collect();
        for term in cells(&parts, (request.times.start_ns, request.times.end_ns), room) {
            match term {
                Some(term) => {
                    if !seen.contains(&term) {
                        seen.push(term);
                    }
                    line.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
                }
                None => line.push_span(Span::raw(" ")),
            }
        }
        lines.push(line);
    }
    if threads.len() > MAX_THREADS {
        let text = format!("{} more threads worked on it.", threads.len() - MAX_THREADS);
        lines.push(paint.line(Role::Quiet, &text));
    }
    let mut legend = Line::from(" ".repeat(LABEL));
    for term in seen {
        let text = format!(" {}  ", term.name);
        if legend.width() + text.len() + 1 > width {
            break;
        }
        legend.push_span(Span::styled(term.letter.to_string(), paint.cell(term.colour)));
        legend.push_span(paint.span(Role::Quiet, &text));
    }
    lines.push(legend);
    lines
}

/// What the request waited for before a thread took it.
fn waiting(kept: &Kept, paint: Paint, room: usize, seen: &mut Vec<Term>) -> Option<Line<'static>> {
    let request = &kept.request;
    let taken_ns = request.stretches.first()?.start_ns.saturating_sub(request.times.start_ns);
    let mut line = Line::from(paint.span(Role::Quiet, &format!("{:<LABEL$}", "before a thread")));
    let (mut passed_ns, mut drawn) = (0, 0);
    for phase in document::phases::BEFORE_THREAD {
        passed_ns += request.phases.get(phase).min(taken_ns.saturating_sub(passed_ns));
        let until = u128::from(passed_ns) * room as u128 / u128::from(request.total_ns()).max(1);
        let until = usize::try_from(until).unwrap_or(room).min(room);
        if until > drawn {
            let term = vocabulary::of_phase(phase);
            let cells = term.letter.to_string().repeat(until - drawn);
            line.push_span(Span::styled(cells, paint.cell(term.colour)));
            seen.push(term);
            drawn = until;
        }
    }
    (drawn > 0).then_some(line)
}

/// What took most of each cell's time; nothing where the thread was not at work on the request.
fn cells(parts: &[Part], (start_ns, end_ns): (u64, u64), room: usize) -> Vec<Option<Term>> {
    let total = u128::from(end_ns.saturating_sub(start_ns)).max(1);
    let wide = room as u128;
    let mut cells: Vec<Vec<(Term, u128)>> = vec![Vec::new(); room];
    for part in parts {
        // In units of one nanosecond over the number of cells, so that nothing is rounded.
        let from = u128::from(part.start_ns.max(start_ns).saturating_sub(start_ns)) * wide;
        let until = u128::from(part.end_ns.min(end_ns).saturating_sub(start_ns)) * wide;
        let term = vocabulary::of_state(part.state);
        let first = usize::try_from(from / total).unwrap_or(room);
        let last = usize::try_from(until.div_ceil(total)).unwrap_or(room).min(room);
        for index in first..last {
            let Some(cell) = cells.get_mut(index) else { break };
            let begins = index as u128 * total;
            let overlap = until.min(begins + total).saturating_sub(from.max(begins));
            match cell.iter_mut().find(|(other, _)| *other == term) {
                Some((_, sum)) => *sum += overlap,
                None => cell.push((term, overlap)),
            }
        }
    }
    let longest = |cell: Vec<(Term, u128)>| {
        cell.into_iter().filter(|(_, sum)| *sum > 0).max_by_key(|(_, sum)| *sum).map(|(term, _)| term)
    };
    cells.into_iter().map(longest).collect()
}

#[cfg(test)]
mod tests {
    use profiler_core::timeline::ThreadState;

    use super::*;

    #[test]
    fn a_cell_shows_what_took_most_of_its_time() {
        let part = |start_ns, end_ns, state| Part { tid: 1, start_ns, end_ns, state };
        let parts = [
            part(100, 104, ThreadState::Running),
            part(104, 130, ThreadState::BackendWait),
            part(130, 138, ThreadState::ClientIo),
        ];
        let letters = |room| -> String {
            cells(&parts, (90, 140), room).iter().map(|term| term.map_or(' ', |term| term.letter)).collect()
        };
        assert_eq!(letters(5), " BBBi");
        assert_eq!(letters(25), "     RRBBBBBBBBBBBBBiiii ");
        assert_eq!(letters(1), "B");
    }
}
