//! Tables: a caption, headings with their scope, rows.
//!
//! In: a table of the document. Out: markup that reads without script; where a table can be sorted, the
//! script makes buttons of its headings.

use super::chart;
use super::markup::Html;
use crate::report::document::cell::Cell;
use crate::report::document::table::{Column, On, Row, Table, Width};

/// Begins a table up to its rows; the caption says what it holds.
pub(super) fn begin(
    html: &mut Html,
    caption: &'static str,
    sortable: bool,
    headings: impl IntoIterator<Item = (&'static str, Width)>,
) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"").raw(caption).raw("\">");
    html.raw(if sortable { "<table class=\"sortable\">" } else { "<table>" });
    html.raw("<caption>").raw(caption).raw("</caption><thead><tr>");
    for (heading, width) in headings {
        html.raw("<th scope=\"col\"").raw(class(width)).raw(">").raw(heading).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
}

/// Ends it.
pub(super) fn end(html: &mut Html) {
    html.raw("</tbody></table></div>");
}

pub(super) fn write(html: &mut Html, table: &Table) {
    // Where rows have something below them, they cannot change places.
    let has_bars = table.rows.iter().any(|row| row.below.is_some());
    let drawn: Vec<(usize, Column)> =
        table.columns.iter().copied().enumerate().filter(|(_, column)| column.on.is(On::PAGE)).collect();
    // The cell that says what a row is about: its name if it has one, else what stands first.
    let is_name = |(_, column): &&(usize, Column)| column.width == Width::Shrinking;
    let head = drawn.iter().find(is_name).or(drawn.first()).map_or(0, |(index, _)| *index);
    let headings = drawn.iter().map(|(_, column)| (column.heading, column.width));
    begin(html, table.caption, table.rows.len() > 1 && !has_bars, headings);
    for row in &table.rows {
        cells(html, row, &drawn, head);
        if let Some((parts, whole)) = &row.below {
            html.raw("<tr class=\"map\"><td").attribute("colspan", &drawn.len().to_string()).raw(">");
            chart::counted(html, parts, *whole);
            html.raw("</td></tr>");
        }
    }
    let feet: Vec<&Row> = table.feet.iter().filter(|(on, _)| on.is(On::PAGE)).map(|(_, row)| row).collect();
    html.raw("</tbody>");
    if !feet.is_empty() {
        html.raw("<tfoot>");
        feet.into_iter().for_each(|row| cells(html, row, &drawn, head));
        html.raw("</tfoot>");
    }
    html.raw("</table></div>");
}

const fn class(width: Width) -> &'static str {
    match width {
        Width::Number => " class=\"number\"",
        Width::Known | Width::Narrow | Width::Shrinking => "",
    }
}

fn cells(html: &mut Html, row: &Row, drawn: &[(usize, Column)], head: usize) {
    html.raw("<tr>");
    for (index, column) in drawn {
        let Some(of_column) = row.cells.get(*index) else { continue };
        cell(html, if *index == head { NAME } else { VALUE }, column.width, of_column);
    }
    html.raw("</tr>");
}

/// Begin and end of the cell that names its row.
const NAME: (&str, &str) = ("<th scope=\"row\"", "</th>");
/// Of any other.
pub(super) const VALUE: (&str, &str) = ("<td", "</td>");

/// A bar, or a value. A number that does not stand in the JSON report has its exact value here, by which it
/// is sorted.
pub(super) fn cell(html: &mut Html, tag: (&'static str, &'static str), width: Width, cell: &Cell) {
    html.raw(tag.0).raw(class(width));
    if let (None, Some(exact)) = (cell.figure(), cell.exact()) {
        html.attribute("data-value", &exact);
    }
    html.raw(">");
    match cell.parts() {
        Some((parts, whole)) => chart::stacked(html, "thin", parts, whole),
        None => drop(html.cell(cell)),
    }
    html.raw(tag.1);
}
