//! The top of the page: whether the report is whole, what is wrong and what to change, which server, how
//! busy, how slow.
//!
//! In: a snapshot, its findings. Out: banner, verdict, heading, a few large numbers.

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::findings::headline;
use super::markup::Html;
use crate::report::document::{header, losses};

/// The page's title.
pub(super) fn title(snapshot: &Snapshot) -> String {
    let server = header::server(snapshot);
    format!("{} - wsgi-trace", server.split(header::DOT).next().unwrap_or_default())
}

pub(super) fn section(html: &mut Html, (snapshot, findings): (&Snapshot, &[Finding]), notice: Option<&str>) {
    html.raw("<header>");
    if let Some(what) = losses::what_is_missing(&snapshot.coverage.losses) {
        html.raw("<p class=\"incomplete\" role=\"alert\"><strong>INCOMPLETE</strong> ").text(&what);
        html.raw(". See <a href=\"#losses\">Losses</a>.</p>");
    }
    headline(html, snapshot, findings);
    if let Some(notice) = notice {
        html.element("p", notice);
    }
    html.element("h1", &header::server(snapshot));
    for line in [header::settings(snapshot), header::watched(snapshot)] {
        html.element("p", &line);
    }
    html.raw("<ul class=\"tiles\">");
    for (name, value) in header::tiles(snapshot) {
        html.raw("<li><strong>").cell(&value).raw("</strong> ").raw(name).raw("</li>");
    }
    html.raw("</ul></header>\n");
}
