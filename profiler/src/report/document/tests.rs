//! The document against those who draw it: what it says is said wherever it is drawn.

use super::block::{Block, Blocks, Section};
use super::sections;
use super::table::{On, Row, Table};
use crate::report::escape::Charset;
use crate::report::style::Style;
use crate::report::{fixture, html, text};

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
                    drawn.flat_map(|bar| [bar.name.to_owned(), bar.duration.shown(Charset::Unicode)]),
                );
            }
            Block::Folded(folded) => said(&folded.body, place, words),
            Block::Verdict(verdict) => words.push(verdict.sentence.to_owned()),
            Block::Undecided(sentence) | Block::RuledOut(sentence) => words.push(sentence.clone()),
            Block::Heat(..) | Block::Histogram(..) | Block::Matrix(_) | Block::Timeline | Block::Gap => {}
        }
    }
}

fn in_table(table: &Table, place: On, words: &mut Vec<String>) {
    let most = if place == On::Text { table.most_in_text } else { usize::MAX };
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

/// What a browser shows of a page.
fn visible(page: &str) -> String {
    let pieces = page.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    let text: String = pieces.collect();
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (entity, character)| text.replace(entity, character))
}

#[test]
fn what_a_section_says_stands_in_the_text_report_and_on_the_page() {
    for (snapshot, findings) in [fixture::healthy(), fixture::exhausted(), fixture::lossy()] {
        let text = joined(&text::render(&snapshot, &findings, Style::plain(Charset::Unicode)));
        let page = joined(&visible(&html::render(&snapshot, &findings, &snapshot.requests.slowest)));
        for (place, drawn) in [(On::Text, &text), (On::Page, &page)] {
            for Section { id, title, note, on, body, .. } in sections(&snapshot, &findings) {
                if !on.is(place) {
                    continue;
                }
                let mut words = vec![title.to_owned(), note.as_text()];
                said(&body, place, &mut words);
                for words in words {
                    // Where there is little room, an ellipsis stands for the end of a long name.
                    let start: String = joined(&words).chars().take(24).collect();
                    assert!(drawn.contains(&start), "{id}, {place:?}: {words:?}");
                }
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
