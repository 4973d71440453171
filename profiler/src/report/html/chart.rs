//! Charts as inline SVG: bars made of parts, histograms, the heat map's cells.
//!
//! In: durations by phase or holding, counts, shares. Out: SVG that says the same in words to who cannot see
//! it. No chart library: these are rectangles, and without one the page needs no script for them, and its
//! policy no exception.

use profiler_core::model::latency::Latency;

use super::markup::Html;
use crate::report::document::cell::Part;
use crate::report::escape::Charset;
use crate::report::{summary, unit};

/// Width of a bar in its own units.
const WIDTH: u64 = 10_000;
/// Parts that a bar is described by.
const DESCRIBED: usize = 4;

/// A bar made of parts, nothing of none; its full width stands for `whole`.
pub(super) fn stacked(html: &mut Html, class: &'static str, parts: &[Part], whole: u64) {
    // Nothing has no name that could be read out.
    if parts.is_empty() {
        return;
    }
    let percent = |part: &Part| unit::percent(summary::ratio(part.length, whole));
    let mut longest: Vec<&Part> = parts.iter().collect();
    longest.sort_by_key(|part| std::cmp::Reverse(part.length));
    let words: Vec<String> =
        longest.iter().take(DESCRIBED).map(|part| format!("{} {}", part.name, percent(part))).collect();
    draw(html, class, parts, whole, &words.join(", "), |part| {
        format!("{} {}, {}", part.name, unit::duration(part.length, Charset::Unicode), percent(part))
    });
}

fn draw(
    html: &mut Html,
    class: &'static str,
    parts: &[Part],
    whole: u64,
    words: &str,
    title: impl Fn(&Part) -> String,
) {
    html.raw("<svg role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 10000 10\" class=\"bar ");
    html.raw(class).raw("\"").attribute("aria-label", words).raw(">");
    let mut before = 0_u64;
    for part in parts {
        let from = summary::scaled(WIDTH, before, whole).min(WIDTH);
        before = before.saturating_add(part.length);
        let to = summary::scaled(WIDTH, before, whole).min(WIDTH);
        // What is too thin to be seen is left out here, not in the table.
        if to > from {
            html.raw("<rect height=\"10\"").attribute("class", part.name).attribute("x", &from.to_string());
            html.attribute("width", &(to - from).to_string()).raw("><title>");
            html.text(&title(part)).raw("</title></rect>");
        }
    }
    html.raw("</svg>");
}

/// A bar of counts: what of them was used, what was wasted.
pub(super) fn counted(html: &mut Html, parts: &[Part], whole: u64) {
    let words: Vec<String> =
        parts.iter().map(|part| format!("{} {}", unit::count(part.length), part.name)).collect();
    draw(html, "thin", parts, whole, &words.join(", "), |part| {
        format!("{}: {}", part.name, unit::count(part.length))
    });
}

/// A patch of the colour of a phase, thread state or holding, before its name.
pub(super) fn swatch(html: &mut Html, name: &'static str) {
    patch(html, name);
    html.raw(name);
}

/// The patch alone.
pub(super) fn patch(html: &mut Html, name: &'static str) {
    html.raw("<svg class=\"swatch\" viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect width=\"10\" height=\"10\" class=\"");
    html.raw(name).raw("\"/></svg>");
}

/// What the colours of a chart stand for, for whom the script looks by this id.
pub(super) fn legend(html: &mut Html, id: &'static str, names: impl Iterator<Item = &'static str>) {
    html.raw("<ul class=\"legend\"").attribute("id", id).raw(">");
    for name in names {
        html.raw("<li>");
        swatch(html, name);
        html.raw("</li>");
    }
    html.raw("</ul>");
}

/// Below a chart over the window: when it begins, its middle, its end.
pub(super) fn axis(html: &mut Html, class: &'static str, window_ns: u64) {
    html.raw("<div class=\"").raw(class).raw("\"><span>0</span>");
    for at_ns in [window_ns / 2, window_ns] {
        html.element("span", &unit::duration(at_ns, Charset::Unicode));
    }
    html.raw("</div>");
}

/// Bars of a histogram per decade, at these multiples of its start.
const STEPS: [u64; 10] = [100, 126, 158, 200, 251, 316, 398, 501, 631, 794];

/// Counts between edges that are even on a logarithmic scale: (from, to, count), without empty ones at the
/// ends.
pub(super) fn bins(latency: &Latency) -> Vec<(u64, u64, u64)> {
    let decades = (0..13).map(|power| 10_u64.pow(power));
    let edges: Vec<u64> = decades.flat_map(|decade| STEPS.map(|step| step.saturating_mul(decade))).collect();
    let starts = std::iter::once(0).chain(edges.iter().copied());
    let mut bins: Vec<(u64, u64, u64)> =
        starts.zip(edges.iter().copied().chain([u64::MAX])).map(|(from, to)| (from, to, 0)).collect();
    for (duration_ns, count) in latency.recorded() {
        if let Some(bin) = bins.iter_mut().find(|(from, to, _)| (*from..*to).contains(&duration_ns)) {
            bin.2 += count;
        }
    }
    let first = bins.iter().position(|bin| bin.2 > 0).unwrap_or(bins.len());
    let last = bins.iter().rposition(|bin| bin.2 > 0).map_or(first, |last| last + 1);
    bins.get(first..last).unwrap_or_default().to_vec()
}

/// A histogram of durations of what `noun` names, on a logarithmic scale; nothing where nothing was counted.
pub(super) fn histogram(html: &mut Html, latency: &Latency, noun: &str) {
    const HEIGHT: u64 = 100;
    let bins = bins(latency);
    let Some(highest) = bins.iter().map(|bin| bin.2).max() else { return };
    let shown = |duration_ns| unit::duration(duration_ns, Charset::Unicode);
    let range = |from, to| match (from, to) {
        (0, to) => format!("below {}", shown(to)),
        (from, u64::MAX) => format!("{} and more", shown(from)),
        (from, to) => format!("{} to {}", shown(from), shown(to)),
    };
    html.raw("<figure><svg role=\"img\" preserveAspectRatio=\"none\" class=\"histogram\"");
    let width = bins.len() * 10;
    html.attribute("viewBox", &format!("0 0 {width} {HEIGHT}"));
    let label = format!("How many {noun}s took how long; the numbers beside it have the percentiles");
    html.attribute("aria-label", &label).raw(">");
    for (place, (from, to, count)) in bins.iter().enumerate() {
        let height = summary::scaled(*count, HEIGHT, highest).max(u64::from(*count > 0));
        let words = format!("{}: {}", range(*from, *to), unit::counted(*count, noun));
        html.raw("<rect width=\"9\"").attribute("x", &(place * 10).to_string());
        html.attribute("y", &(HEIGHT - height).to_string()).attribute("height", &height.to_string());
        html.raw("><title>").text(&words).raw("</title></rect>");
    }
    html.raw("</svg><div class=\"axis\">");
    let last = bins.len().saturating_sub(1);
    let middle = bins.get(bins.len() / 2).filter(|_| bins.len() > 2);
    let ends = (bins.first(), middle, bins.get(last));
    for (from, _, _) in [ends.0, ends.1].into_iter().flatten() {
        html.element("span", &shown(*from));
    }
    if let Some((from, to, _)) = ends.2 {
        html.element("span", &shown(if *to == u64::MAX { *from } else { *to }));
    }
    html.raw("</div><figcaption>Number of ").text(noun);
    html.raw("s by duration, logarithmic scale; highest bar ")
        .text(&unit::counted(highest, noun))
        .raw("</figcaption></figure>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_one_bin_and_the_empty_ends_are_left_out() {
        let mut latency = Latency::default();
        for duration_ns in [50, 1_000, 1_000, 20_000_000, 86_400_000_000_000] {
            latency.record(duration_ns);
        }
        let bins = bins(&latency);
        assert_eq!(bins.iter().map(|bin| bin.2).sum::<u64>(), latency.count());
        assert!(bins.first().unwrap().2 > 0 && bins.last().unwrap().2 > 0);
        assert!(bins.windows(2).all(|pair| pair[0].1 == pair[1].0), "the bins leave no gap");
        assert!(super::bins(&Latency::default()).is_empty());
    }

    #[test]
    fn the_parts_of_a_bar_meet_and_never_leave_it() {
        let mut html = Html::default();
        let parts = [3, 3, 3].map(|length| Part { name: "cpu", length });
        stacked(&mut html, "wide", &parts, 9);
        let text = html.into_text();
        for place in [" x=\"0\" width=\"3333\"", " x=\"3333\" width=\"3333\"", " x=\"6666\" width=\"3334\""] {
            assert!(text.contains(place), "{text}");
        }
        let mut html = Html::default();
        stacked(&mut html, "wide", &parts, 0);
        assert!(!html.into_text().contains("<rect"), "nothing is drawn of nothing");
    }
}
