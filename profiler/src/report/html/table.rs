//! Tables: a caption, headings with their scope, rows.
//!
//! In: columns and cells. Out: markup that reads without script; where a table can be sorted, the script makes buttons
//! of its headings.

use super::markup::Html;

/// A column.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Words.
    Words(&'static str),
    /// Numbers, at the right.
    Number(&'static str),
}

/// Begins a table; the caption says what it holds.
pub(super) fn begin(html: &mut Html, caption: &'static str, columns: &[Column], sortable: bool) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"").raw(caption).raw("\">");
    html.raw(if sortable { "<table class=\"sortable\">" } else { "<table>" });
    html.raw("<caption>").raw(caption).raw("</caption><thead><tr>");
    for column in columns {
        match column {
            Column::Words(name) => html.raw("<th scope=\"col\">").raw(name),
            Column::Number(name) => html.raw("<th scope=\"col\" class=\"number\">").raw(name),
        };
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
}

/// Ends it.
pub(super) fn end(html: &mut Html) {
    html.raw("</tbody></table></div>");
}

impl Html {
    /// The first cell of a row: what the row is about.
    pub(super) fn row(&mut self, text: &str) -> &mut Self {
        self.raw("<tr><th scope=\"row\">").text(text).raw("</th>")
    }

    /// Ends a row.
    pub(super) fn end_row(&mut self) {
        self.raw("</tr>");
    }

    /// A cell of words.
    pub(super) fn words(&mut self, text: &str) -> &mut Self {
        self.element("td", text)
    }

    /// A cell with a number as text.
    pub(super) fn number(&mut self, text: &str) -> &mut Self {
        self.raw("<td class=\"number\">").text(text).raw("</td>")
    }

    /// A cell with a number that also stands in the JSON report.
    pub(super) fn number_at(&mut self, pointer: &str, value: u64, shown: &str) -> &mut Self {
        self.raw("<td class=\"number\">").figure(pointer, value, shown).raw("</td>")
    }

    /// The same for one that may not be there: a dash then.
    pub(super) fn maybe_at(
        &mut self,
        pointer: &str,
        value: Option<u64>,
        shown: impl Fn(u64) -> String,
    ) -> &mut Self {
        match value {
            Some(value) => self.number_at(pointer, value, &shown(value)),
            None => self.number("-"),
        }
    }

    /// A cell with a share that also stands in the JSON report.
    pub(super) fn share_at(&mut self, pointer: &str, parts: (u64, u64), shown: &str) -> &mut Self {
        self.raw("<td class=\"number\">").share(pointer, parts, shown).raw("</td>")
    }
}
