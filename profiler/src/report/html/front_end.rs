//! The front end: time in it, between, and in the server.
//!
//! In: the front end of a snapshot, and what its requests say. Out: a section, where there is either.

use profiler_core::model::Snapshot;
use profiler_core::model::front_end::FrontEnd;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{front_end as words, unit};

pub(super) fn section(html: &mut Html, snapshot: &Snapshot) {
    let starts = &snapshot.requests.request_starts;
    if snapshot.front_end.is_none() && starts.is_empty() {
        return;
    }
    html.section("front-end", "Front end", "");
    if let Some(front_end) = &snapshot.front_end {
        traced(html, front_end);
    } else {
        html.element("p", "Not traced.");
    }
    if !starts.is_empty() {
        html.element("p", &words::stamped(starts, Charset::Unicode));
    }
    html.end_section();
}

fn traced(html: &mut Html, front_end: &FrontEnd) {
    const COLUMNS: [Column; 4] = [
        Column::Words("where"),
        Column::Number("of the time"),
        Column::Number("a request"),
        Column::Number("in all"),
    ];
    html.element("p", &words::joined(front_end));
    if front_end.crossed > 0 {
        html.element("p", words::WHAT_IS_WHERE);
        table::begin(html, "Where requests were", &COLUMNS, true);
        let keys = ["front_end_ns", "between_ns", "server_ns"];
        for (key, (name, sum_ns)) in keys.into_iter().zip(words::stretches(front_end)) {
            let shown = |duration_ns: u64| unit::duration(duration_ns, Charset::Unicode);
            html.row(name).number(&unit::percent(summary::ratio(sum_ns, front_end.whole_ns())));
            html.number(&shown(front_end.a_request_ns(sum_ns)));
            html.number_at(&format!("/front_end/{key}"), sum_ns, &shown(sum_ns)).end_row();
        }
        table::end(html);
    }
}
