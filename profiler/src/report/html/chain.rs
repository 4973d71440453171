//! A chain as a picture: a list of its steps, each with a bar below that of who waited for it.
//!
//! In: a chain of the document. Out: a figure. Its list says all in words; bars add when that was.

use super::chart;
use super::markup::Html;
use crate::report::document::chain_picture::{ChainPicture, Lane};
use crate::report::summary;

/// Width of the request's own wait in the picture's units.
const WIDTH: u64 = 10_000;

pub(super) fn picture(html: &mut Html, chain: &ChainPicture) {
    html.raw("<figure class=\"chain\"><figcaption>for example ")
        .text(&chain.request)
        .raw("</figcaption><ol>");
    for lane in &chain.lanes {
        html.raw("<li><span>");
        chart::patch(html, lane.phase.name());
        if !lane.who.is_empty() {
            html.text(&lane.who).raw(", ");
        }
        html.text(&lane.what).text(&lane.at).raw("</span>");
        bar(html, lane, chain.length_ns);
        html.raw("</li>");
    }
    html.raw("<li><span>→ ").text(&chain.leaf).raw("</span></li></ol></figure>");
}

fn bar(html: &mut Html, lane: &Lane, length_ns: u64) {
    let place = |at_ns: u64| summary::scaled(WIDTH, at_ns, length_ns).min(WIDTH);
    let (from, until) = (place(lane.span_ns.0), place(lane.span_ns.1));
    html.raw(
        "<svg class=\"bar thin\" preserveAspectRatio=\"none\" viewBox=\"0 0 10000 10\" aria-hidden=\"true\">",
    );
    if until > from {
        html.raw("<rect height=\"10\"").attribute("class", lane.phase.name());
        html.attribute("x", &from.to_string()).attribute("width", &(until - from).to_string()).raw("/>");
    }
    html.raw("</svg>");
}
