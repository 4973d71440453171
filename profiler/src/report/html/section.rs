//! Sections as markup: a heading, then one block after the other.
//!
//! In: sections of the document; what the stream said of requests. Out: markup that reads without script, but
//! for the timeline.

use profiler_core::model::Snapshot;

use super::chart;
use super::markup::Html;
use super::timeline::Collected;
use super::{chain, findings, flames, heat, table};
use crate::report::document::block::{Bar, Bars, Block, Blocks, Folded, Matrix, Section};
use crate::report::document::cell::Part;
use crate::report::document::table::{On, Width};
use crate::report::escape::Charset;
use crate::report::vocabulary::Term;
use crate::report::{summary, unit};

/// What a section may be drawn with.
pub(super) struct Drawer<'a> {
    pub(super) html: &'a mut Html,
    pub(super) snapshot: &'a Snapshot,
    pub(super) requests: &'a Collected,
}

impl Drawer<'_> {
    pub(super) fn section(&mut self, section: &Section<'_>) {
        let Section { id, title, note, body, .. } = section;
        let title_id = format!("{id}-title");
        self.html.raw("<section").attribute("id", id).attribute("aria-labelledby", &title_id);
        self.html.raw("><h2").attribute("id", &title_id).raw(">").raw(title).raw("</h2>");
        if !note.pieces().is_empty() {
            self.html.raw("<p class=\"note\">").words(note).raw("</p>");
        }
        self.blocks(body);
        self.html.raw("</section>\n");
    }

    pub(super) fn blocks(&mut self, body: &Blocks<'_>) {
        for block in body.on(On::PAGE) {
            match block {
                Block::Sentence(words) => drop(self.html.raw("<p>").words(words).raw("</p>")),
                Block::Aside(words) => drop(self.html.raw("<p class=\"note\">").words(words).raw("</p>")),
                Block::Entries(entries) => {
                    self.html.raw("<dl>");
                    for (label, words) in entries {
                        self.html.element("dt", label).raw("<dd>").words(words).raw("</dd>");
                    }
                    self.html.raw("</dl>");
                }
                Block::Table(table) => table::write(self.html, table),
                Block::Bars(all) => bars(self.html, all),
                Block::Chain(chain) => chain::picture(self.html, chain),
                Block::Heat(slots, window_ns) => heat::map(self.html, slots, *window_ns),
                Block::Histogram(latency, noun) => chart::histogram(self.html, latency, noun),
                Block::Folded(folded) => self.folded(folded),
                Block::Matrix(pairs) => matrix(self.html, pairs),
                Block::Verdict(verdict) => {
                    findings::article(self.html, verdict);
                    self.blocks(&verdict.evidence);
                    self.html.raw("</article>");
                }
                Block::Flames => flames::all(self.html, self.snapshot),
                Block::OverTime => self.requests.over_time(self.html, self.snapshot),
                Block::Timeline => self.requests.write(self.html, self.snapshot),
                Block::Undecided(_) | Block::RuledOut(_) | Block::Gap => {}
            }
        }
    }

    fn folded(&mut self, folded: &Folded<'_>) {
        self.html.raw("<details");
        if let Some(id) = &folded.id {
            self.html.attribute("id", id);
        }
        self.html.raw("><summary>").words(&folded.summary);
        if let Some(mostly) = &folded.mostly {
            self.html.raw(" <span class=\"mostly\">").cell(mostly).raw("</span>");
        }
        if let Some((parts, whole)) = folded.bar.as_ref().and_then(|bar| bar.parts()) {
            chart::stacked(self.html, "thin", parts, whole);
        }
        self.html.raw("</summary>");
        self.blocks(&folded.body);
        self.html.raw("</details>");
    }
}

/// One bar made of all, and a table of them.
fn bars(html: &mut Html, bars: &Bars) {
    let shown: Vec<&Bar> = bars.list.iter().filter(|bar| bar.on.is(On::PAGE)).collect();
    let taken = shown.iter().filter(|bar| !bar.term.meaning.is_empty());
    let parts: Vec<Part> = taken.map(|bar| Part { name: bar.term.name, length: bar.duration_ns }).collect();
    chart::stacked(html, "tall", &parts, bars.whole_ns);
    let [name, length, share] = bars.headings;
    let widths = [Width::Known, Width::Number, Width::Number, Width::Known];
    let headings = [name, length, share, "what it means"].into_iter().zip(widths);
    table::begin(html, bars.caption, shown.len() > 1, headings);
    for Bar { term: Term { name, meaning, .. }, duration, share, .. } in shown {
        html.raw("<tr><th scope=\"row\">");
        match meaning.is_empty() {
            true => drop(html.raw(name)),
            false => chart::swatch(html, name),
        }
        html.raw("</th>");
        for value in [duration, share] {
            table::cell(html, table::VALUE, Width::Number, value);
        }
        html.element("td", meaning).raw("</tr>");
    }
    table::end(html);
}

/// A row for who waited, a column for whom, darker where the wait was longer.
fn matrix(html: &mut Html, matrix: &Matrix) {
    let most_ns = matrix.rows.iter().flat_map(|(_, row)| row).copied().max().unwrap_or(0);
    html.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Matrix\"><table class=\"matrix\">",
    );
    html.raw("<caption>")
        .raw(matrix.caption)
        .raw("</caption><thead><tr><td>")
        .raw(matrix.corner)
        .raw("</td>");
    for column in &matrix.columns {
        html.raw("<th scope=\"col\" class=\"number\">").text(column).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for (name, row) in &matrix.rows {
        html.raw("<tr><th scope=\"row\">").text(name).raw("</th>");
        for duration_ns in row {
            html.raw(match summary::ratio(*duration_ns, most_ns).unwrap_or(0.0) {
                share if share <= 0.0 => "<td class=\"number\">",
                share if share < 0.25 => "<td class=\"number shade-1\">",
                share if share < 0.6 => "<td class=\"number shade-2\">",
                _ => "<td class=\"number shade-3\">",
            });
            match duration_ns {
                0 => html.raw("-"),
                duration_ns => html.text(&unit::duration(*duration_ns, Charset::Unicode)),
            };
            html.raw("</td>");
        }
        html.raw("</tr>");
    }
    table::end(html);
}
