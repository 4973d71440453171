//! The top of the page: which server, what is wrong, how busy, how slow, and whether the report is whole.
//!
//! In: a snapshot, its findings. Out: heading, banner, a few large numbers, contents.

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

pub(super) fn section(html: &mut Html, snapshot: &Snapshot, findings: &[Finding]) {
    html.raw("<header>").element("h1", &header::server(snapshot));
    if let Some(what) = losses::what_is_missing(&snapshot.coverage.losses) {
        html.raw("<p class=\"incomplete\" role=\"alert\"><strong>INCOMPLETE</strong> ").text(&what);
        html.raw(": figures may be too small. See <a href=\"#losses\">Losses</a>.</p>");
    }
    headline(html, snapshot, findings);
    for line in [header::settings(snapshot), header::watched(snapshot)] {
        html.element("p", &line);
    }
    html.raw("<ul class=\"tiles\">");
    for (name, value) in header::tiles(snapshot) {
        html.raw("<li><strong>").cell(&value).raw("</strong> ").raw(name).raw("</li>");
    }
    html.raw("</ul></header>\n");
}
