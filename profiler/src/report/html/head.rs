//! The top of the page: which server, what is wrong, how busy, how slow, and whether the report is whole.
//!
//! In: a snapshot, its findings. Out: heading, banner, a few large numbers, contents.

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::findings::headline;
use super::markup::Html;
use crate::report::escape::Charset;
use crate::report::summary;
use crate::report::text::page::Page;
use crate::report::text::{header, losses, unit};

/// The page's title.
pub(super) fn title(page: &Page, snapshot: &Snapshot) -> String {
    let server = header::server(page, snapshot);
    format!("{} - wsgi-trace", server.split(page.dot()).next().unwrap_or_default())
}

pub(super) fn section(html: &mut Html, page: &Page, snapshot: &Snapshot, findings: &[Finding]) {
    html.raw("<header>").element("h1", &header::server(page, snapshot));
    if let Some(what) = losses::what_is_missing(snapshot) {
        html.raw("<p class=\"incomplete\" role=\"alert\"><strong>INCOMPLETE</strong> ").text(&what);
        html.raw(": figures may be too small. See <a href=\"#losses\">Losses</a>.</p>");
    }
    headline(html, snapshot, findings);
    for line in [header::settings(page, snapshot), header::watched(page, snapshot)] {
        html.element("p", &line);
    }
    let requests = &snapshot.requests;
    html.raw("<ul class=\"tiles\">");
    tile(html, "requests", |html| {
        html.figure("/requests/completed", requests.completed, &unit::count(requests.completed));
    });
    tile(html, "per second", |html| {
        let rate = summary::per_second(requests.completed, snapshot.window.length_ns());
        html.text(&unit::rate(rate));
    });
    let counted = requests.total.count() > 0;
    for (name, pointer, value_ns) in [
        ("median", "/requests/total/p50_ns", requests.total.quantile_ns(0.5)),
        ("p99", "/requests/total/p99_ns", requests.total.quantile_ns(0.99)),
        ("longest", "/requests/total/max_ns", requests.total.max_ns()),
    ] {
        tile(html, name, |html| match counted {
            true => drop(html.figure(pointer, value_ns, &unit::duration(value_ns, Charset::Unicode))),
            false => drop(html.text("-")),
        });
    }
    if requests.open > 0 {
        tile(html, "still open", |html| {
            html.figure("/requests/open", requests.open, &unit::count(requests.open));
        });
    }
    tile(html, "of capacity used", |html| {
        let slots = &snapshot.slots;
        let capacity_ns = snapshot.window.length_ns().saturating_mul(u64::from(slots.count()));
        let parts = (slots.busy_ns(), capacity_ns);
        html.share("/slots/capacity_used_ratio", parts, &unit::percent(summary::ratio(parts.0, parts.1)));
    });
    html.raw("</ul></header>\n");
}

fn tile(html: &mut Html, name: &'static str, write: impl FnOnce(&mut Html)) {
    html.raw("<li><strong>");
    write(html);
    html.raw("</strong> ").raw(name).raw("</li>");
}
