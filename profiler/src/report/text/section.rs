//! Sections as text: a heading, then one block after the other.
//!
//! In: sections of the document. Out: lines on the page.

use super::bar::bar;
use super::page::Page;
use super::{findings, heat, table};
use crate::report::document::block::{Bar, Block, Blocks, Section};
use crate::report::document::table::On;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::summary;

const BAR_COLUMNS: usize = 26;

pub(super) fn write(page: &mut Page, section: &Section<'_>) {
    if section.on.is(On::Text) {
        page.heading(section.title, &section.note.as_text());
        blocks(page, &section.body);
    }
}

fn blocks(page: &mut Page, body: &Blocks<'_>) {
    const INDENT: (Role, &str) = (Role::Quiet, "  ");
    for block in body.on(On::Text) {
        match block {
            Block::Sentence(words) => page.paragraph(INDENT, (None, &words.as_text())),
            Block::Aside(words) => page.paragraph(INDENT, (Some(Role::Quiet), &words.as_text())),
            Block::Entries(entries) => {
                entries.iter().for_each(|(label, words)| page.entry(label, &words.as_text()));
            }
            Block::Table(table) => table::write(page, table),
            Block::Bars(bars) => {
                let shown = bars.list.iter().filter(|bar| bar.on.is(On::Text));
                shown.for_each(|bar| row(page, bar, bars.whole_ns));
            }
            Block::Heat(slots, window_ns) => heat::map(page, slots, *window_ns),
            Block::Folded(folded) => blocks(page, &folded.body),
            Block::Verdict(verdict) => findings::one(page, verdict),
            Block::Undecided(text) => page.paragraph((Role::Doubt, " ?  "), (None, text)),
            Block::RuledOut(text) => page.paragraph((Role::Quiet, "    "), (Some(Role::Quiet), text)),
            Block::Gap => page.blank(),
            Block::Histogram(..) | Block::Matrix(_) | Block::OverTime | Block::Timeline => {}
        }
    }
}

/// `  name    duration  share  bar  meaning`.
fn row(page: &mut Page, shown: &Bar, whole_ns: u64) {
    let charset = page.style.charset;
    let share = summary::ratio(shown.duration_ns, whole_ns);
    let bar = bar(share.filter(|_| !shown.meaning.is_empty()), BAR_COLUMNS, charset);
    let padding = " ".repeat(BAR_COLUMNS.saturating_sub(columns(&bar)));
    let line = format!(
        "  {:<18} {:>9}  {:>7}  {}{padding}  {}",
        shown.name,
        shown.duration.shown(charset),
        shown.share.shown(charset),
        page.paint(Role::Graph, &bar),
        page.paint(Role::Quiet, shown.meaning),
    );
    page.line(&line);
}
