//! Sections as text: a heading, then one block after the other.
//!
//! In: sections of the document. Out: lines on the page.

use profiler_core::phase::Phase;

use super::bar::bar;
use super::page::Page;
use super::{chain, findings, heat, table};
use crate::report::document::block::{Bar, Bars, Block, Section};
use crate::report::document::cell::Words;
use crate::report::document::table::On;
use crate::report::escape::columns;
use crate::report::style::Role;
use crate::report::{summary, vocabulary};

/// Columns that a bar takes at most, and at least.
const MOST_BAR: usize = 26;
const LEAST_BAR: usize = 4;
/// Columns beside it: name, duration, share, blanks; its meaning is not among them.
const BESIDE_BAR: usize = 43;

/// Before a sentence.
const INDENT: (Role, &str) = (Role::Quiet, "  ");

/// A section, whatever place it is for; where the report is to be one page, what of it stands there.
pub(in crate::report) fn write(page: &mut Page, section: &Section<'_>) {
    let mut lines = 0;
    if let Some(room) = &mut page.room {
        let Some(brief) = section.brief.filter(|brief| room.has_room_for(*brief)) else { return };
        lines = room.enter(brief);
    }
    page.heading(section.title, &section.note.as_text());
    let mut is_sentence = false;
    for block in section.body.on(page.place()) {
        // Sentences in a row share their lines; after the first none is cut.
        match block {
            Block::Sentence(words) if std::mem::replace(&mut is_sentence, true) => {
                if !page.fits(INDENT.1, &words.as_text()) {
                    continue;
                }
            }
            Block::Sentence(_) => page.at_most(lines),
            _ => {
                is_sentence = false;
                page.at_most(lines);
            }
        }
        write_block(page, block);
    }
}

/// One thing of a section.
pub(in crate::report) fn write_block(page: &mut Page, block: &Block<'_>) {
    match block {
        Block::Sentence(words) => page.paragraph(INDENT, (Role::Plain, &words.as_text())),
        Block::Aside(words) => page.paragraph(INDENT, (Role::Quiet, &words.as_text())),
        Block::Entries(all) => entries(page, all),
        Block::Table(table) => table::write(page, table),
        Block::Bars(all) => bars(page, all),
        Block::Chain(chain) => chain::picture(page, chain),
        Block::Heat(slots, window_ns) => heat::map(page, slots, *window_ns),
        Block::Folded(folded) => folded.body.on(On::TEXT).for_each(|block| write_block(page, block)),
        Block::Verdict(verdict) => findings::one(page, verdict),
        Block::Undecided(text) => page.paragraph((Role::Doubt, " ?  "), (Role::Plain, text)),
        Block::RuledOut(text) => page.paragraph((Role::Quiet, "    "), (Role::Quiet, text)),
        Block::Gap => page.blank(),
        Block::Histogram(..) | Block::Matrix(_) | Block::OverTime | Block::Flames | Block::Timeline => {}
    }
}

/// Labels with their words. Where lines are few, each label has one, and the first have the others.
fn entries(page: &mut Page, entries: &[(String, Words)]) {
    let lines = page.lines_left;
    let shown = if entries.len() > lines && lines > 1 { lines.saturating_sub(1) } else { lines };
    let mut left = lines;
    for (index, (label, words)) in entries.iter().take(shown).enumerate() {
        let after = entries.len().saturating_sub(index + 1).min(left.saturating_sub(1));
        page.at_most(left.saturating_sub(after));
        let before = page.length();
        page.entry(label, &words.as_text());
        left = left.saturating_sub(page.length().saturating_sub(before));
    }
    if let Some(more) = entries.len().checked_sub(shown).filter(|more| *more > 0 && lines > 1) {
        page.line(&[(Role::Quiet, format!("  and {more} more").as_str())]);
    }
}

/// A line for each: `  name    duration  share  bar  meaning`; with letters closer together, and its letter
/// first.
fn bars(page: &mut Page, bars: &Bars) {
    let shown: Vec<&Bar> = bars.list.iter().filter(|bar| bar.on.is(On::TEXT)).collect();
    // No meaning is cut; all bars of phases are of one width.
    let phases = Phase::ALL.into_iter().map(vocabulary::of_phase);
    let terms = phases.chain(shown.iter().map(|bar| bar.term));
    let meaning = terms.map(|term| columns(term.meaning)).max().unwrap_or(0);
    let room = page.width.saturating_sub(BESIDE_BAR + meaning).clamp(LEAST_BAR, MOST_BAR);
    let gap = if page.has_letters { " " } else { "  " };
    for Bar { term, duration_ns, duration, share, .. } in shown {
        let charset = page.style.charset;
        let part = summary::ratio(*duration_ns, bars.whole_ns).filter(|_| !term.meaning.is_empty());
        let bar = bar(part, room, charset);
        let padding = " ".repeat(room.saturating_sub(columns(&bar)));
        let letter = if page.has_letters { term.letter.to_string() } else { String::new() };
        let name = format!(
            "{}{:<18} {:>9}{gap}{:>7}  ",
            if page.has_letters { " " } else { "" },
            term.name,
            duration.shown(charset),
            share.shown(charset)
        );
        page.line(&[
            (Role::Plain, "  "),
            (Role::Letter(term.colour), &letter),
            (Role::Plain, &name),
            (Role::Graph, &bar),
            (Role::Plain, &format!("{padding}{gap}")),
            (Role::Quiet, term.meaning),
        ]);
    }
}
