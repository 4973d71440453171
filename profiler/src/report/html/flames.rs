//! Flame graphs: what an endpoint computed and waited for, functions below those that call them.
//!
//! In: stacks of endpoints. Out: one SVG each, which reads without script: nested ones cut text off where
//! their frame ends, and a title says all of it.

use std::collections::BTreeMap;

use profiler_core::fact::place::short_file;
use profiler_core::model::Snapshot;

use super::markup::Html;
use crate::report::escape::Charset;
use crate::report::flame::{Frame, Stack, endpoints, time_ns};
use crate::report::unit;

/// Endpoints that have a picture.
const MAX_ENDPOINTS: usize = 4;
/// Frames below one another.
const MAX_DEPTH: usize = 60;
/// Part of the endpoint's time from which on a frame is drawn.
const NARROWEST: f64 = 0.004;
/// Part from which on there is room for its name.
const NAMED: f64 = 0.02;
/// Height of a frame in pixels, and where its text stands.
const ROW: usize = 18;
const TEXT_AT: &str = "13";

/// Time in one function, and in those that it called.
#[derive(Default)]
struct Node<'a> {
    time_ns: u64,
    below: BTreeMap<Frame<'a>, Self>,
}

impl<'a> Node<'a> {
    fn add(&mut self, stack: Stack<'a>) {
        self.time_ns = self.time_ns.saturating_add(stack.time_ns);
        let mut node = self;
        for frame in stack.frames.into_iter().take(MAX_DEPTH) {
            node = node.below.entry(frame).or_default();
            node.time_ns = node.time_ns.saturating_add(stack.time_ns);
        }
    }

    /// Those of its functions that are wide enough to be drawn.
    fn drawn(&self, whole_ns: u64) -> impl Iterator<Item = (&Frame<'a>, &Self)> {
        let is_wide = move |below: &Self| share(below.time_ns, whole_ns) >= NARROWEST;
        self.below.iter().filter(move |(_, below)| is_wide(below))
    }

    /// Rows below it.
    fn depth(&self, whole_ns: u64) -> usize {
        let below = self.drawn(whole_ns).map(|(_, below)| below.depth(whole_ns).saturating_add(1));
        below.max().unwrap_or(0)
    }
}

fn share(part_ns: u64, whole_ns: u64) -> f64 {
    part_ns as f64 / whole_ns.max(1) as f64
}

/// Those of the endpoints with the most time.
pub(super) fn all(html: &mut Html, snapshot: &Snapshot) {
    html.raw("<p class=\"note\">Widths are the time of all requests of the endpoint. Blue: functions, each with the ");
    html.raw("line it was at. Brown: waits. Point at a frame for all of its name.</p>");
    for (name, stacks) in endpoints(snapshot).into_iter().take(MAX_ENDPOINTS) {
        let whole_ns = time_ns(&stacks);
        let mut root = Node::default();
        stacks.into_iter().for_each(|stack| root.add(stack));
        let time = unit::duration(whole_ns, Charset::Unicode);
        html.raw("<h3>").text(&name).raw(" <span class=\"note\">").text(&time).raw("</span></h3>");
        html.raw("<svg role=\"img\" class=\"flame\" width=\"100%\"");
        html.attribute("height", &(root.depth(whole_ns) * ROW).to_string());
        html.attribute("aria-label", &format!("flame graph of {name}, {time} in all")).raw(">");
        let mut drawing = Drawing { html: &mut *html, whole_ns };
        drawing.below(&root, 0.0, 0);
        html.raw("</svg>");
    }
}

struct Drawing<'h> {
    html: &'h mut Html,
    whole_ns: u64,
}

impl Drawing<'_> {
    /// Frames side by side, those with the most time first.
    fn below(&mut self, node: &Node<'_>, from: f64, row: usize) {
        let mut frames: Vec<(&Frame<'_>, &Node<'_>)> = node.drawn(self.whole_ns).collect();
        frames.sort_by_key(|(_, below)| std::cmp::Reverse(below.time_ns));
        let mut at = from;
        for (frame, below) in frames {
            let width = share(below.time_ns, self.whole_ns);
            self.frame(frame, below.time_ns, (at, width), row);
            self.below(below, at, row + 1);
            at += width;
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, time_ns: u64, (at, width): (f64, f64), row: usize) {
        let Frame { name, file, line, is_code } = frame;
        let place = file.map_or_else(String::new, |file| format!(" {file}:{line}"));
        let share = unit::percent(Some(width));
        let title = format!("{name}{place}: {share}, {}", unit::duration(time_ns, Charset::Unicode));
        self.html.raw("<svg").attribute("x", &format!("{:.3}%", at * 100.0));
        self.html.attribute("y", &(row * ROW).to_string());
        self.html.attribute("width", &format!("{:.3}%", width * 100.0));
        self.html.attribute("height", &ROW.to_string()).raw("><title>").text(&title).raw("</title>");
        self.html.raw("<rect width=\"100%\" height=\"100%\" class=\"");
        self.html.raw(if *is_code { "runs" } else { "waits" }).raw("\"/>");
        if width >= NAMED {
            let place = file.map_or_else(String::new, |file| format!(" {}:{line}", short_file(file)));
            self.html.raw("<text x=\"3\"").attribute("y", TEXT_AT).raw(">");
            self.html.text(name).text(&place).raw("</text>");
        }
        self.html.raw("</svg>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn frames_are_as_wide_as_their_time_and_below_their_callers() {
        let mut html = Html::default();
        all(&mut html, &fixture::exhausted().0);
        let page = html.into_text();
        assert!(page.contains("[recvfrom]") && page.contains("Checkout.post"), "{page}");
        let outermost = |markup: &&str| markup.starts_with(" x=") && markup.contains(" y=\"0\" ");
        for graph in page.split("class=\"flame\"").skip(1) {
            let width = |markup: &str| {
                let (_, rest) = markup.split_once("width=\"").expect("a width");
                rest.split_once('%').and_then(|(width, _)| width.parse::<f64>().ok()).expect("a number")
            };
            let all: f64 = graph.split("<svg").filter(outermost).map(width).sum();
            assert!((98.0..=100.1).contains(&all), "{all} of 100: {graph}");
        }
    }

    #[test]
    fn a_hostile_name_is_text() {
        let mut html = Html::default();
        let frame = Frame { name: "<script>".to_owned(), file: Some("\"><b>"), line: 1, is_code: true };
        Drawing { html: &mut html, whole_ns: 10 }.frame(&frame, 10, (0.0, 1.0), 0);
        let page = html.into_text();
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    }
}
