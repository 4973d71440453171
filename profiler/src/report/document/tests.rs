//! The document against those who draw it: what it says is said wherever it is drawn.

use std::sync::Arc;

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::block::{Block, Blocks, Section};
use super::sections;
use super::table::{On, Row, Table};
use crate::report::escape::Charset;
use crate::report::screen::look::{Look, Page};
use crate::report::screen::model::Shown;
use crate::report::screen::paint::Paint;
use crate::report::style::Style;
use crate::report::{fixture, html, screen, text};

/// All words of a document, one for each sentence, label, heading and cell that is drawn there.
fn said(body: &Blocks<'_>, place: On, words: &mut Vec<String>) {
    for block in body.on(place) {
        match block {
            Block::Sentence(sentence) | Block::Aside(sentence) => words.push(sentence.as_text()),
            Block::Entries(entries) => {
                words.extend(entries.iter().flat_map(|(label, value)| [label.clone(), value.as_text()]));
            }
            Block::Table(table) => in_table(table, place, words),
            Block::Bars(bars) => {
                let drawn = bars.list.iter().filter(|bar| bar.on.is(place));
                words.extend(
                    drawn.flat_map(|bar| [bar.term.name.to_owned(), bar.duration.shown(Charset::Unicode)]),
                );
            }
            Block::Chain(chain) => {
                words.extend([chain.request.clone(), chain.leaf.clone()]);
                words.extend(chain.lanes.iter().map(|lane| lane.what.clone()));
            }
            Block::Folded(folded) => said(&folded.body, place, words),
            Block::Verdict(verdict) => words.push(verdict.sentence.to_owned()),
            Block::Undecided(sentence) | Block::RuledOut(sentence) => words.push(sentence.clone()),
            Block::Heat(..)
            | Block::Histogram(..)
            | Block::Matrix(_)
            | Block::OverTime
            | Block::Flames
            | Block::Timeline
            | Block::Gap => {}
        }
    }
}

fn in_table(table: &Table, place: On, words: &mut Vec<String>) {
    let most = if place == On::TEXT { table.most_in_text } else { usize::MAX };
    let feet = table.feet.iter().filter(|(on, _)| on.is(place)).map(|(_, row)| row);
    let rows: Vec<&Row> = table.rows.iter().take(most).chain(feet).collect();
    for (index, column) in table.columns.iter().enumerate().filter(|(_, column)| column.on.is(place)) {
        words.push(column.heading.to_owned());
        let cells = rows.iter().map(|row| &row.cells[index]).filter(|cell| cell.parts().is_none());
        words.extend(cells.map(|cell| cell.shown(Charset::Unicode)));
    }
}

/// What is drawn as one string, however lines are broken.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands within a line of words on a page, and parts none from the next.
const INLINE: [&str; 5] = ["a", "code", "data", "span", "strong"];

/// What a browser shows of a page, cells apart from one another.
fn visible(page: &str) -> String {
    let mut text = String::new();
    for piece in page.split('<') {
        let (tag, words) = piece.split_once('>').unwrap_or(("span", piece));
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        if !INLINE.contains(&name) {
            text.push(' ');
        }
        text.push_str(words);
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (entity, character)| text.replace(entity, character))
}

/// The section of this id on a page.
fn on_page<'a>(page: &'a str, id: &str) -> &'a str {
    let begun = page.split_once(&format!("<section id=\"{id}\"")).map(|(_, begun)| begun);
    let section = begun.and_then(|begun| begun.split_once("</section>")).map(|(section, _)| section);
    section.unwrap_or_else(|| panic!("{id} is not on the page"))
}

/// Each of these sections in a text report: from its heading to that of the next one.
fn in_text<'a>(report: &'a str, sections: &[&Section<'_>]) -> Vec<&'a str> {
    let mut rest = report;
    let mut drawn = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let heading = format!("\n{} ─", section.title);
        let (before, after) =
            rest.split_once(&heading).unwrap_or_else(|| panic!("{} is not in the text report", section.id));
        // What stands before the first heading belongs to none.
        if index > 0 {
            drawn.push(before);
        }
        rest = after;
    }
    drawn.push(rest);
    drawn
}

/// The section of this id on a large live screen.
fn on_screen(snapshot: &Snapshot, findings: &[Finding], id: &'static str) -> String {
    let (snapshot, findings) = (Arc::new(snapshot.clone()), Arc::new(findings.to_vec()));
    let shown = Shown { snapshot, findings, ..Shown::default() };
    let mut look = Look::default();
    look.enter(Page::Section(Some(id)));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 300));
    screen::draw(&shown, &look, Paint { colour: false, charset: Charset::Unicode }, buffer.area, &mut buffer);
    let rows = buffer.content.chunks(120);
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}

/// Whether words stand there as they are, and not within others: a cell that says `0` is not found in `10`.
/// Where there is little room, an ellipsis stands for the end of a long name.
fn stands(drawn: &str, words: &str) -> bool {
    const ENOUGH: usize = 24;
    const LEAST: usize = 6;
    let (drawn, words) = (format!(" {} ", joined(drawn)), joined(words));
    let start = |characters: usize| words.chars().take(characters).collect::<String>();
    let length = words.chars().count();
    let whole = if length <= ENOUGH { format!(" {words} ") } else { format!(" {}", start(ENOUGH)) };
    words.is_empty()
        || drawn.contains(&whole)
        || (LEAST..length.min(ENOUGH)).any(|cut| drawn.contains(&format!(" {}… ", start(cut))))
}

#[test]
fn words_stand_where_they_are_not_part_of_others() {
    assert!(stands("a  0\n  10", "0") && stands("a 10", "10") && stands("a", ""));
    assert!(!stands("a 10 0.5 0ms", "0"));
    assert!(stands("of a long na…  12", "a long name") && !stands("of a…  12", "a long name"));
    let long = "a sentence of more than twenty-four characters";
    assert!(stands(&format!("So: {long}, and so on"), long));
    assert_eq!(joined(&visible(" id=\"x\"><td>1</td><td><data value=\"2\">2</data>, so</td>")), "1 2, so");
}

#[test]
fn what_a_section_says_stands_in_it_in_the_text_report_on_the_page_and_on_the_live_screen() {
    for (snapshot, findings) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let text =
            text::render(&snapshot, &findings, Style { verbose: true, ..Style::plain(Charset::Unicode) });
        let page = html::render(&snapshot, &findings, &snapshot.requests.slowest);
        let all = sections(&snapshot, &findings);
        let of = |place: On| all.iter().filter(|section| section.on.is(place)).collect::<Vec<_>>();
        let (of_text, of_page) = (of(On::TEXT), of(On::PAGE));
        let in_text = in_text(&text, &of_text).into_iter().map(str::to_owned);
        let on_page = of_page.iter().map(|section| visible(on_page(&page, section.id)));
        let on_screen = of_text.iter().map(|section| on_screen(&snapshot, &findings, section.id));
        let drawn: Vec<(On, &Section<'_>, String)> = of_text
            .iter()
            .zip(in_text)
            .map(|(section, drawn)| (On::TEXT, *section, drawn))
            .chain(of_page.iter().zip(on_page).map(|(section, drawn)| (On::PAGE, *section, drawn)))
            .chain(of_text.iter().zip(on_screen).map(|(section, drawn)| (On::TEXT, *section, drawn)))
            .collect();
        for (place, Section { id, note, body, title, .. }, drawn) in drawn {
            let mut words = vec![note.as_text()];
            if place == On::PAGE {
                words.push((*title).to_owned());
            }
            said(body, place, &mut words);
            for words in words {
                assert!(stands(&drawn, &words), "{id}, {place:?}: {words:?}");
            }
        }
    }
}

#[test]
fn every_section_has_its_place_in_the_contents_once() {
    let (snapshot, findings) = fixture::healthy();
    let mut ids: Vec<&str> = sections(&snapshot, &findings).iter().map(|section| section.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
