//! A chain as a picture: a line for each step, its bar below that of who waited for it.
//!
//! In: a chain of the document. Out: lines. What lies outside the request's own wait is cut off.

use super::page::Page;
use crate::report::document::chain_picture::{ChainPicture, Lane};
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary;

/// Columns of who it was, and of what that was in.
const WHO: usize = 36;
const WHAT: usize = 26;
/// Columns before them, between them, and before the bar.
const BLANKS: usize = 6;
/// Columns of the longest bar.
const MOST_BAR: usize = 32;

pub(super) fn picture(page: &mut Page, chain: &ChainPicture) {
    page.paragraph((Role::Quiet, "  for example "), (Role::Strong, &chain.request));
    let room = page.width.saturating_sub(BLANKS + WHO + WHAT).min(MOST_BAR);
    for lane in &chain.lanes {
        let who = if lane.who.is_empty() { "the request itself" } else { &lane.who };
        let who = page.quote(who, WHO);
        let what = page.quote(&lane.what, WHAT);
        let (before, bar) = bar(page, lane, chain.length_ns, room);
        page.line(&[
            (Role::Plain, "  "),
            (Role::Plain, &format!("{who}{}", blanks(WHO, &who))),
            (Role::Plain, &format!("  {what}{}  ", blanks(WHAT, &what))),
            (Role::Plain, &before),
            (Role::Graph, &bar),
        ]);
        if !lane.at.is_empty() {
            page.paragraph((Role::Plain, "    "), (Role::Quiet, lane.at.trim_start()));
        }
    }
    let arrow = page.style.charset.glyph("→", "->");
    page.paragraph((Role::Quiet, &format!("  {arrow} ")), (Role::Plain, &chain.leaf));
}

fn blanks(width: usize, text: &str) -> String {
    " ".repeat(width.saturating_sub(columns(text)))
}

/// What stands before a lane's bar, and the bar. One that has any length is never drawn as nothing.
fn bar(page: &Page, lane: &Lane, length_ns: u64, room: usize) -> (String, String) {
    let place = |at_ns: u64| {
        let column = summary::scaled(at_ns, u64::try_from(room).unwrap_or(0), length_ns);
        usize::try_from(column).unwrap_or(room).min(room)
    };
    let (from_ns, until_ns) = lane.span_ns;
    if until_ns <= from_ns {
        return (String::new(), String::new());
    }
    let from = place(from_ns).min(room.saturating_sub(1));
    let until = place(until_ns).max(from + 1);
    let full = page.style.charset.glyph("█", "#");
    (" ".repeat(from), full.repeat(until - from))
}

#[cfg(test)]
mod tests {
    use crate::report::escape::Charset;
    use crate::report::style::Style;
    use crate::report::{fixture, text};

    #[test]
    fn bars_of_a_chain_stand_below_one_another_on_one_scale() {
        let (mut snapshot, findings) = fixture::exhausted();
        let example = snapshot.chains.leaves.iter_mut().find_map(|time| time.example.as_mut()).unwrap();
        for (hop, span) in example.hops.iter_mut().zip([(0, 4_000_000), (2_000_000, 4_000_000)]) {
            (hop.start_ns, hop.end_ns) = span;
        }
        let style = Style { verbose: true, ..Style::plain(Charset::Unicode) };
        let report = text::render(&snapshot, &findings, style);
        let bars: Vec<&str> = report.lines().filter(|line| line.ends_with('█')).collect();
        let length = |bar: &str| bar.chars().filter(|one| *one == '█').count();
        let [first, second, ..] = bars.as_slice() else { panic!("{report}") };
        assert_eq!((length(first), length(second)), (32, 16), "{report}");
        assert_eq!(first.chars().count(), second.chars().count(), "both end with the wait");
    }
}
