//! The front end: time in it, between, and in the server; where it stamps requests, how long these were on
//! their way.
//!
//! In: the front end of a snapshot, and what its requests say. Out: a section, where there is either.

use profiler_core::model::Snapshot;
use profiler_core::model::front_end::FrontEnd;
use profiler_core::model::request_start::RequestStarts;

use super::block::{Blocks, Section};
use super::cell::{duration, share, words};
use super::shown;
use super::table::Rows;
use crate::report::unit;

/// What the three stretches are.
const WHAT_IS_WHERE: &str = "In the front end: its accept queue and its clients' stalls \
    included. Between: sent by the one and not yet there for the other. In the server: from the first byte at its socket \
    to its last write.";

/// How its requests were joined with the server's.
fn joined(front_end: &FrontEnd) -> String {
    let FrontEnd { joined, ambiguous, unpaired, .. } = front_end;
    let mut text =
        format!("{} joined with the server's by their connection", unit::counted(*joined, "request"));
    if *ambiguous > 0 {
        text.push_str(&format!(", {} of them by order alone", unit::count(*ambiguous)));
    }
    if *unpaired > 0 {
        text.push_str(&format!("; of {} only one half is known", unit::count(*unpaired)));
    }
    text.push('.');
    text
}

/// How long requests were on their way, by their `X-Request-Start`.
fn stamped(starts: &RequestStarts) -> String {
    let before = &starts.before;
    let at = |quantile| shown(before.quantile_ns(quantile));
    let mut text = format!("X-Request-Start of {}", unit::counted(before.count(), "request"));
    if before.count() > 0 {
        text.push_str(&format!(
            ": {} at the median, {} for 99 %, {} at most from the stamp to the first byte at the server's socket, stamps \
             going by {}",
            at(0.5),
            at(0.99),
            shown(before.max_ns()),
            shown(starts.unit_ns)
        ));
    }
    let refused = [
        (starts.not_a_time, "not a time"),
        (starts.ahead, "later than the request's first byte"),
        (starts.too_old, "more than 10 minutes before it"),
    ];
    let refused: Vec<String> = refused
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{} {why}", unit::count(*count)))
        .collect();
    if !refused.is_empty() {
        text.push_str(&format!("; refused: {}", refused.join(", ")));
    }
    text.push('.');
    text
}

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let starts = &snapshot.requests.request_starts;
    let mut body = Blocks::default();
    let note = match &snapshot.front_end {
        Some(front_end) => {
            traced(&mut body, front_end);
            let processes = unit::number(front_end.tgids.len());
            format!("{}, {}", front_end.name, unit::counted(processes, "process"))
        }
        None if starts.is_empty() => return None,
        None => "not traced".to_owned(),
    };
    if !starts.is_empty() {
        body.say(stamped(starts));
    }
    Some(Section::new("front-end", "Front end", body).note(note))
}

fn traced(body: &mut Blocks<'_>, front_end: &FrontEnd) {
    body.say(joined(front_end));
    if front_end.crossed == 0 {
        return;
    }
    let stretches = [
        ("in the front end", "front_end_ns", front_end.front_end_ns),
        ("between", "between_ns", front_end.between_ns),
        ("in the server", "server_ns", front_end.server_ns),
    ];
    body.table(
        Rows::of(
            "Where requests were",
            Vec::from(stretches.map(|(name, key, sum_ns)| (format!("/front_end/{key}"), (name, sum_ns)))),
        )
        .shrinking("where", |(name, _)| words(name))
        .right("of the time", |(_, sum_ns)| share(sum_ns, front_end.whole_ns()))
        .right("a request", |(_, sum_ns)| duration(front_end.a_request_ns(sum_ns)))
        .right("in all", |(_, sum_ns)| duration(sum_ns).at(""))
        .table(),
    );
    body.say(WHAT_IS_WHERE);
}
