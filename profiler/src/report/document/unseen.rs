//! What this run could not see, so that nobody takes silence for health.
//!
//! In: phases not measured, missing programs and doubts of a snapshot. Out: a section.

use profiler_core::fact::Attached;
use profiler_core::model::Snapshot;
use profiler_core::phase::Phase;

use super::block::{Blocks, Section};
use super::table::On;
use crate::report::{left_out, summary, unit};

/// Lines where the text report is one page.
const BRIEFLY: usize = 4;

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let mut body = Blocks::default();
    entries(&mut body, snapshot, On::BOTH);
    entries(&mut body, snapshot, On::BRIEF);
    Section::new("unseen", "Not seen", body).brief(0, BRIEFLY)
}

/// All there is to say there; where room is least, of what is missing only what that means.
fn entries(body: &mut Blocks<'_>, snapshot: &Snapshot, on: On) {
    if snapshot.attached.is_light() {
        // One reason for nearly all of them; which they are is said beside those that are measured.
        body.entry_on(on, "other phases", Attached::LIGHT_SEES_NO_CALLS);
    }
    for left_out in &snapshot.coverage.left_out {
        let clause = left_out::clause(left_out, snapshot.session.wall_clock_offset_ns);
        body.entry_on(on, "left out", clause);
    }
    for phase in Phase::ALL {
        match summary::not_measured(snapshot, phase) {
            Some(Attached::LIGHT_SEES_NO_CALLS) | None => {}
            Some(reason) => body.entry_on(on, phase.name(), reason),
        }
    }
    for sentence in &snapshot.dropped.not_seen {
        body.entry_on(on, "dropped connections", sentence.as_str());
    }
    let mut said: Vec<&str> = Vec::new();
    for program in &snapshot.attached.missing {
        // Programs that serve one question are missed once.
        if !said.contains(&program.consequence.as_str()) {
            said.push(&program.consequence);
            let reason = if on == On::BRIEF { "" } else { &format!("{}: ", program.reason) };
            body.entry_on(on, &program.program, format!("{reason}{}", program.consequence));
        }
    }
    for blind_spot in &snapshot.coverage.blind_spots {
        body.entry_on(on, "blind spot", blind_spot.as_str());
    }
    doubts(body, snapshot, on);
}

/// What is counted but less certain than the rest.
fn doubts(body: &mut Blocks<'_>, snapshot: &Snapshot, on: On) {
    let requests = &snapshot.requests;
    let attached = &snapshot.attached;
    if !attached.arrival_measured {
        let text = "not measured: requests begin at the read of their first byte";
        body.entry_on(on, "arrival of data", text);
    }
    for (number, label, text) in [
        (requests.truncated, "begun before", "began before the window or before their connection was known"),
        (
            requests.inferred_framing,
            "inferred framing",
            "framed by when each side sent: chunked bodies, or heads that could not be read",
        ),
        (
            requests.not_http,
            "not readable",
            "were encrypted (TLS in the server), or not HTTP: without method, path and status",
        ),
    ] {
        if number > 0 {
            body.entry_on(on, label, format!("{} {text}", unit::counted(number, "request")));
        }
    }
    if attached.other_profilers > 0 {
        let others = unit::counted(u64::from(attached.other_profilers), "other wsgi-trace process");
        let text = format!("{others} watched the same server; their cost is in the figures");
        body.entry_on(on, "other profilers", text);
    }
}
