//! The numbers of the window, a line for each question.
//!
//! In: a moment. Out: lines: title, traffic, interpreter lock, listeners, slow clients, losses and own cost.

use profiler_core::model::Listener;
use profiler_core::model::dropped::Cause;
use profiler_core::model::slot::Holding;
use profiler_core::timeline::ThreadState;
use ratatui::text::{Line, Span};

use super::look::Look;
use super::model::{Shown, Source};
use super::paint::{Paint, Role, ends, ends_with};
use super::wrapped::{LABEL, beside, labelled};
use crate::report::document::cell::{duration, maybe, quantile};
use crate::report::document::gil_words::contender_in_sentence as contender;
use crate::report::document::header::{self, DOT};
use crate::report::document::losses;
use crate::report::vocabulary::IDLE_CONNECTIONS;
use crate::report::{summary, unit};

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

/// The server, and what is shown of it: live, window, pause, position.
pub(super) fn title(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Line<'static> {
    let right = state(shown, look, paint);
    ends(server(shown, paint, width.saturating_sub(right.width() + 1)), right, width)
}

/// The title as a line between what to know first and the rest.
pub(super) fn divider(shown: &Shown, look: &Look, paint: Paint, width: usize) -> Line<'static> {
    let mut right = Line::from(" ");
    right.extend(state(shown, look, paint).spans);
    let mut left = server(shown, paint, width.saturating_sub(right.width() + 2));
    left.push_span(Span::raw(" "));
    ends_with(left, right, width, |gap| paint.span(Role::Quiet, &paint.charset.glyph("─", "-").repeat(gap)))
}

fn server(shown: &Shown, paint: Paint, room: usize) -> Line<'static> {
    let server = header::server_in_brief(&shown.snapshot);
    Line::from(Span::styled(paint.quote(&server, room), paint.style(Role::Strong)))
}

fn state(shown: &Shown, look: &Look, paint: Paint) -> Line<'static> {
    let shown_ns = |duration_ns| unit::duration(duration_ns, paint.charset);
    let length = shown_ns(shown.snapshot.window.length_ns());
    let mut line = Line::default();
    match shown.source {
        _ if look.paused => line.push_span(paint.span(Role::Bar, " PAUSED ")),
        Source::Live { ended_ago_ns: None, .. } => {
            line.push_span(paint.span(Role::Good, "live"));
            line.push_span(paint.span(Role::Plain, &format!(", last {length}")));
        }
        Source::Live { ended_ago_ns: Some(ago_ns), .. } => {
            line.push_span(paint.span(Role::Good, "live"));
            let text = format!(", the {length} up to {} ago", shown_ns(ago_ns));
            line.push_span(paint.span(Role::Plain, &text));
        }
        Source::Recording { position_ns, length_ns, speed, paused, ended } => {
            let (role, word) = match (ended, paused) {
                (true, _) => (Role::Bar, " END ".to_owned()),
                (false, true) => (Role::Bar, " STOPPED ".to_owned()),
                (false, false) if speed == 0 => (Role::Good, "playing".to_owned()),
                (false, false) => (Role::Good, format!("playing x{speed}")),
            };
            line.push_span(paint.span(role, &word));
            let text = format!(" {} of {}", shown_ns(position_ns), shown_ns(length_ns));
            line.push_span(paint.span(Role::Plain, &text));
        }
    }
    line
}

/// What is missing, if anything is.
pub(super) fn incomplete(shown: &Shown, paint: Paint, width: usize) -> Vec<Line<'static>> {
    // While a recording plays, its end is only not there yet.
    let playing = matches!(shown.source, Source::Recording { ended: false, .. });
    let mut losses = shown.snapshot.coverage.losses.clone();
    losses.recording_truncated &= !playing && matches!(shown.source, Source::Recording { .. });
    let Some(what) = losses::what_is_missing(&losses) else { return Vec::new() };
    beside(paint, (Line::default(), 0), (&format!("INCOMPLETE  {what}"), Role::Bad), width, 2)
}

/// Rate, times, requests in flight; how the rate went.
pub(super) fn traffic(shown: &Shown, paint: Paint, width: usize) -> Line<'static> {
    let requests = &shown.snapshot.requests;
    let rate = summary::per_second(requests.completed, shown.snapshot.window.length_ns());
    let mut line = labelled(paint, "traffic");
    line.push_span(paint.span(Role::Strong, &unit::rate(rate)));
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        line.push_span(paint.span(Role::Quiet, &format!("  {name} ")));
        line.push_span(paint.span(Role::Plain, &quantile(&requests.total, part).shown(paint.charset)));
    }
    line.push_span(paint.span(Role::Quiet, "  in flight "));
    line.push_span(paint.span(Role::Plain, &unit::count(unit::number(shown.now.requests.len()))));
    let failed: u64 = (requests.by_status.iter()).filter(|(status, _)| *status >= 500).map(|(_, n)| *n).sum();
    if failed > 0 {
        line.push_span(paint.span(Role::Bad, &format!("  {} 5xx", unit::count(failed))));
    }
    let room = width.saturating_sub(line.width() + 2).min(40);
    let graph = paint.line(Role::Plain, &sparkline(&shown.rates, room, paint));
    ends(line, graph, width)
}

/// The latest seconds as heights, the present one at the right.
fn sparkline(rates: &[u64], room: usize, paint: Paint) -> String {
    let heights: &[char] = match paint.charset {
        crate::report::escape::Charset::Unicode => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        crate::report::escape::Charset::Ascii => &['_', '.', '-', '=', '+', '*', '#'],
    };
    let rates = rates.get(rates.len().saturating_sub(room)..).unwrap_or_default();
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    let top = u64::try_from(heights.len() - 1).unwrap_or(0);
    let height = |rate: &u64| usize::try_from(rate.saturating_mul(top).div_ceil(most)).unwrap_or(0);
    rates.iter().map(|rate| heights.get(height(rate)).copied().unwrap_or(' ')).collect()
}

/// Who waits for the interpreter lock now and who has it, and what it cost in the window; at most `rows`
/// lines.
pub(super) fn gil(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let gil = &shown.snapshot.gil;
    let mut line = labelled(paint, "GIL");
    if let Some(reason) = &gil.not_measured {
        let text = format!("not measured: {reason}");
        return beside(paint, (line, LABEL), (&text, Role::Quiet), width, rows.min(2));
    }
    let waiting: Vec<_> =
        shown.now.threads.iter().filter(|thread| thread.state == ThreadState::GilWait).collect();
    let mut holders: Vec<u32> =
        waiting.iter().map(|thread| thread.holder_tid).filter(|tid| *tid > 0).collect();
    holders.sort_unstable();
    holders.dedup();
    let role = if waiting.is_empty() { Role::Plain } else { Role::Doubt };
    let mut text = format!("{} waiting", unit::counted(unit::number(waiting.len()), "thread"));
    if let Some(tid) = holders.first() {
        text.push_str(&format!(" for {}", holder(shown, *tid)));
        if holders.len() > 1 {
            text.push_str(&format!(" and {} more", holders.len() - 1));
        }
    }
    let length_ns = shown.snapshot.window.length_ns();
    let in_a_second = (length_ns > 0).then(|| summary::scaled(gil.waits.sum_ns(), SECOND_NS, length_ns));
    let waited = maybe(in_a_second, duration).shown(paint.charset);
    let waits = unit::rate(summary::per_second(gil.waits.count(), length_ns));
    // What is always short first: who has it may be a long path.
    line.push_span(paint.span(Role::Quiet, &format!("{waits} waits, {waited} waited a second{DOT}")));
    let room = width.saturating_sub(line.width());
    line.push_span(Span::styled(paint.quote(&text, room), paint.style(role)));
    let mut lines = vec![line];
    for edge in gil.edges.iter().take(rows.saturating_sub(1)) {
        let mut line = Line::from(" ".repeat(LABEL));
        let half = width.saturating_sub(LABEL + 30) / 2;
        let (waiter, holder) =
            (paint.quote(&contender(&edge.waiter), half), paint.quote(&contender(&edge.holder), half));
        line.push_span(Span::raw(waiter));
        line.push_span(paint.span(Role::Quiet, " waited for "));
        line.push_span(Span::raw(holder));
        let waited = unit::duration(edge.total_ns, paint.charset);
        line.push_span(paint.span(Role::Quiet, &format!(": {waited}")));
        lines.push(line);
    }
    lines
}

/// A thread by what it serves, or by its name. Hostile input.
fn holder(shown: &Shown, tid: u32) -> String {
    let thread = shown.now.threads.iter().find(|thread| thread.tid == tid);
    let request = thread
        .and_then(|thread| thread.request)
        .and_then(|id| shown.now.requests.iter().find(|request| request.id == id));
    match (request, thread) {
        (Some(request), _) => format!("thread {tid}, {} {}", request.method, request.path),
        (None, Some(thread)) => format!("thread {tid} ({})", thread.comm),
        (None, None) => format!("thread {tid}"),
    }
}

/// Listeners: woken per connection, waits for accept; at most `rows` lines.
pub(super) fn listeners(shown: &Shown, paint: Paint, width: usize, rows: usize) -> Vec<Line<'static>> {
    let mut listeners: Vec<&Listener> = shown.snapshot.sockets.listeners.iter().collect();
    listeners.sort_by_key(|listener| std::cmp::Reverse(listener.accepted));
    let mut lines = Vec::new();
    for (index, listener) in listeners.iter().take(rows.max(1)).enumerate() {
        let mut line = labelled(paint, if index == 0 { "listen" } else { "" });
        line.push_span(Span::raw(paint.quote(&listener.seen.address, 24)));
        let rate = summary::per_second(listener.accepted, shown.snapshot.window.length_ns());
        let rate = if listener.is_queue_alone { "-".to_owned() } else { unit::rate(rate) };
        line.push_span(paint.span(Role::Quiet, &format!("  {rate} accepted")));
        let woken = match listener.woken_per_connection() {
            Some(woken) => format!("{woken:.2} woken/conn"),
            None => "woken/conn -".to_owned(),
        };
        let herd = listener.woken_per_connection().is_some_and(|woken| woken >= 2.0);
        line.push_span(Span::raw("  "));
        line.push_span(paint.span(if herd { Role::Doubt } else { Role::Plain }, &woken));
        let wait = match listener.accept_wait.count() {
            0 => "-".to_owned(),
            _ => unit::duration(listener.accept_wait.quantile_ns(0.99), paint.charset),
        };
        line.push_span(paint.span(Role::Quiet, "  wait p99 "));
        line.push_span(paint.span(Role::Plain, &wait));
        if let Some(queue) = &listener.queue {
            let refused = queue.refused.unwrap_or(0) > 0 || queue.full_ns > 0;
            let depth = format!("{}/{}", queue.depth, queue.limit);
            if line.width() + "  queue ".len() + depth.len() <= width {
                line.push_span(paint.span(Role::Quiet, "  queue "));
                line.push_span(paint.span(if refused { Role::Doubt } else { Role::Plain }, &depth));
            }
        }
        let left = listeners.len().saturating_sub(rows.max(1));
        if left > 0 && index + 1 == rows.max(1) && line.width() + 10 < width {
            line.push_span(paint.span(Role::Quiet, &format!("  +{left} more")));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        let mut line = labelled(paint, "listen");
        line.push_span(paint.span(Role::Quiet, "no listening socket was seen"));
        lines.push(line);
    }
    lines
}

/// Connections that were not served and why, if there are any; the most frequent causes, as far as there is
/// room.
pub(super) fn dropped(shown: &Shown, paint: Paint, width: usize) -> Option<Line<'static>> {
    let dropped = &shown.snapshot.dropped;
    let mut causes: Vec<_> = Cause::ALL.iter().map(|cause| (dropped.count(*cause), cause.name())).collect();
    causes.retain(|(count, _)| *count > 0);
    causes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    if causes.is_empty() {
        return None;
    }
    let mut line = labelled(paint, "dropped");
    line.push_span(paint.span(Role::Bad, &unit::counted(dropped.total(), "connection")));
    for (count, name) in causes {
        let text = format!("{DOT}{} {}", unit::count(count), name.replace('_', " "));
        let span = paint.span(Role::Quiet, &text);
        if line.width() + span.width() > width {
            break;
        }
        line.push_span(span);
    }
    Some(line)
}

/// How much slot-time clients hold, and how many hold a slot now.
pub(super) fn clients(shown: &Shown, paint: Paint) -> Line<'static> {
    let slots = &shown.snapshot.slots;
    let now = shown.now.threads.iter();
    let now = now.filter(|thread| thread.slot.is_some() && thread.state == ThreadState::ClientWait);
    let held_ns =
        |kinds: &[Holding]| kinds.iter().map(|kind| slots.held_ns(*kind)).fold(0, u64::saturating_add);
    let slow_ns = held_ns(&[Holding::ClientReadStall, Holding::ClientWriteStall]);
    let idle_ns = held_ns(&IDLE_CONNECTIONS);
    let share = |part_ns| unit::percent(summary::ratio(part_ns, slots.busy_ns()));
    let mut line = labelled(paint, "clients");
    let count = unit::number(now.count());
    let verb = if count == 1 { "holds" } else { "hold" };
    let role = if count > 0 { Role::Doubt } else { Role::Plain };
    line.push_span(paint.span(role, &format!("{} {verb} a slot now", unit::count(count))));
    let text = format!(
        "{DOT}busy slot-time: slow {} ({}), idle {}",
        share(slow_ns),
        unit::duration(slow_ns, paint.charset),
        share(idle_ns)
    );
    line.push_span(paint.span(Role::Quiet, &text));
    line
}

/// What was lost, and what watching costs.
pub(super) fn trust(shown: &Shown, paint: Paint) -> Line<'static> {
    let snapshot = &shown.snapshot;
    let mut line = labelled(paint, "trust");
    let losses = &snapshot.coverage.losses;
    let lost = losses::lost_records(losses);
    let (role, text) = match lost {
        0 => (Role::Good, "nothing lost".to_owned()),
        lost => (Role::Bad, format!("{} lost", unit::counted(lost, "record"))),
    };
    line.push_span(paint.span(role, &text));
    let broken =
        snapshot.coverage.conservation.slices_broken + snapshot.coverage.conservation.requests_broken;
    let sums = match broken {
        0 => "all sums hold".to_owned(),
        broken => format!("{} sums broken", unit::count(broken)),
    };
    let role = if broken > 0 { Role::Bad } else { Role::Quiet };
    line.push_span(paint.span(role, &format!("{DOT}{sums}")));
    let cost = match summary::cost(snapshot) {
        Some(cost) => {
            let of_cpu = unit::percent(summary::ratio(cost.total_ns, snapshot.window.length_ns()));
            let of_server = match cost.share_of_target {
                Some(share) => format!(", {} of target's", unit::percent(Some(share))),
                None => String::new(),
            };
            format!("cost {of_cpu} of a CPU{of_server}")
        }
        None => "own cost: known at the end".to_owned(),
    };
    line.push_span(paint.span(Role::Quiet, &format!("{DOT}{cost}")));
    line
}
