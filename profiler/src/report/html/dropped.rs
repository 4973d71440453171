//! Connections that were not served, each by its cause.
//!
//! In: what became of a snapshot's connections. Out: a section.

use profiler_core::model::Snapshot;

use super::markup::Html;
use super::table::{self, Column};
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::{dropped as words, unit};

pub(super) fn section(html: &mut Html, snapshot: &Snapshot) {
    const COLUMNS: [Column; 5] = [
        Column::Words("cause"),
        Column::Number("connections"),
        Column::Number("of ended"),
        Column::Words("what happened"),
        Column::Words("the first of them"),
    ];
    let dropped = &snapshot.dropped;
    html.section("dropped", "Dropped connections", "");
    if snapshot.attached.is_light() {
        html.element("p", &summary::none_seen(snapshot, "connection"));
        html.end_section();
        return;
    }
    html.element("p", &words::account(dropped));
    if !dropped.causes.is_empty() {
        table::begin(html, "Connections that were not served, by cause", &COLUMNS, true);
        for (place, counted) in dropped.causes.iter().enumerate() {
            let at = |key: &str| format!("/drops/causes/{place}/{key}");
            html.row(counted.cause.name());
            html.number_at(&at("count"), counted.count, &unit::count(counted.count));
            html.number(&words::share(counted, dropped));
            html.words(counted.cause.words());
            html.words(counted.examples.first().map_or("-", |example| example.evidence.as_str())).end_row();
        }
        table::end(html);
    }
    for failure in words::failures(dropped) {
        html.element("p", &format!("accept failed in {failure}."));
    }
    for end in &dropped.worker_ends {
        html.element("p", &format!("Process {}: {}.", end.tgid, words::worker_end(end, Charset::Unicode)));
    }
    html.end_section();
}
