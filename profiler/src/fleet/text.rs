//! The page of a fleet for reading in a terminal.
//!
//! In: a [`Page`], a [`Style`]. Out: text of at most 100 columns, with everything hostile escaped: what
//! stands out first, then the answers.

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::{Answer, Page, SOURCE, shown};
use crate::report::escape::{Charset, line};
use crate::report::style::{Role, Style};
use crate::report::unit;

/// Width of text.
const WIDTH: usize = 98;
/// Longest value in a table.
const VALUE_WIDTH: usize = 30;
/// Rows of an answer that are shown.
const MAX_ROWS: usize = 10;

/// The whole page.
pub fn render(page: &Page, style: Style) -> String {
    let mut out = String::new();
    let role = if page.stands_out.is_empty() { Role::Good } else { Role::Bad };
    paragraph(&mut out, ("", ""), &page.headline(), role, style);
    paragraph(&mut out, ("", ""), &extent(page), Role::Plain, style);
    for doubt in page.doubts() {
        paragraph(&mut out, ("!  ", "   "), &doubt, Role::Doubt, style);
    }
    if !page.stands_out.is_empty() {
        heading(&mut out, "What stands out", style);
    }
    for (place, notable) in page.stands_out.iter().enumerate() {
        let number = format!("{:>2}  ", place.saturating_add(1));
        let since = notable.since.as_ref().map(|day| format!(" Since {day}.")).unwrap_or_default();
        paragraph(&mut out, (&number, "    "), &format!("{}{since}", notable.sentence), Role::Strong, style);
        let arrow = style.charset.glyph("    → ", "    > ");
        paragraph(&mut out, (arrow, "      "), &notable.advice, Role::Plain, style);
    }
    for answer in &page.answers {
        heading(&mut out, answer.question.asks, style);
        answer_rows(&mut out, answer, style);
    }
    out.push('\n');
    out.push_str(SOURCE);
    out.push('\n');
    out
}

/// How much there is, in one line.
pub(super) fn extent(page: &Page) -> String {
    let extent = &page.extent;
    let days = extent.days.as_ref().map(|(first, last)| format!(", {first} to {last}")).unwrap_or_default();
    format!(
        "{}: services {}, hosts {}, windows {}, requests {}{days}",
        page.directory,
        extent.services,
        extent.hosts,
        unit::count(extent.windows),
        unit::count(extent.requests),
    )
}

fn heading(out: &mut String, text: &str, style: Style) {
    out.push('\n');
    out.push_str(&style.paint(Role::Strong, text));
    out.push('\n');
}

fn paragraph(out: &mut String, (first, then): (&str, &str), text: &str, role: Role, style: Style) {
    let mut written = first.to_owned();
    let mut width = first.chars().count();
    for (index, word) in line(text, 2_000, style.charset).split(' ').enumerate() {
        let columns = word.chars().count();
        if index > 0 && width.saturating_add(columns) >= WIDTH {
            written.push('\n');
            written.push_str(then);
            width = then.chars().count();
        } else if index > 0 {
            written.push(' ');
            width = width.saturating_add(1);
        }
        written.push_str(word);
        width = width.saturating_add(columns);
    }
    for each in written.lines() {
        out.push_str(&style.paint(role, each));
        out.push('\n');
    }
}

fn answer_rows(out: &mut String, answer: &Answer, style: Style) {
    if answer.rows.is_empty() {
        out.push_str(&style.paint(Role::Quiet, "  none"));
        out.push('\n');
        return;
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    let columns = answer.question.columns;
    table.set_header(columns.iter().map(|name| name.replace('_', " ")));
    for row in answer.rows.iter().take(MAX_ROWS) {
        table.add_row(columns.iter().map(|name| line(&shown(row.get(*name)), VALUE_WIDTH, style.charset)));
    }
    for (place, name) in columns.iter().enumerate() {
        let is_number =
            answer.rows.iter().any(|row| row.get(*name).is_some_and(serde_json::Value::is_number));
        if is_number && let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for each in table.lines() {
        out.push_str("  ");
        out.push_str(each.trim_end());
        out.push('\n');
    }
    let more = answer.rows.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        let at_least = if style.charset == Charset::Unicode { "…" } else { "..." };
        out.push_str(&format!("  {at_least} {more} more; all: --format json\n"));
    }
}
