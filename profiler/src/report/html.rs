//! The report as a page: one self-contained file that opens from disk, without network, in any browser.
//!
//! In: a snapshot, its findings, and the requests of the timeline. Out: HTML with its own style and script in
//! it, which a Content-Security-Policy names by their hashes. Everything but the timeline and the list of
//! requests reads without script. Charts are SVG and one canvas written by hand: they are rectangles, and a
//! chart library would be many times the size of the page. The same recording gives the same bytes.

mod chain;
mod chart;
mod data;
mod findings;
mod flames;
mod head;
mod heat;
mod markup;
mod over_time;
mod packed;
mod policy;
mod section;
mod table;
mod threads;
mod timeline;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::timeline::Entry;

use super::document::table::{On, Width};
use super::document::{self, block::Section};
use super::form::{Form, FormKind};
use super::output::Lazy;
pub(crate) use markup::Html;
use section::Drawer;
use timeline::Collected;

/// Reports for a browser.
pub const FORM: FormKind = FormKind {
    name: "html",
    help: "One self-contained page for a browser",
    endings: &["html", "htm"],
    open: |writer, _| Box::new(HtmlForm { writer, requests: Collected::default() }),
};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

struct HtmlForm {
    writer: Lazy,
    requests: Collected,
}

impl Form for HtmlForm {
    fn wants_thread_slices(&self) -> bool {
        true
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.requests.entry(entry);
        Ok(())
    }

    fn finish(&mut self, snapshot: &Snapshot, findings: &[Finding]) -> io::Result<()> {
        self.writer.write_all(page((snapshot, findings), &self.requests, None).as_bytes())?;
        self.writer.flush()
    }
}

/// The whole page, from a window's requests.
pub fn render<'a>(
    snapshot: &Snapshot,
    findings: &[Finding],
    requests: impl IntoIterator<Item = &'a profiler_core::model::request::Request>,
) -> String {
    render_noting(None, (snapshot, findings), requests)
}

/// The same with a sentence at its top that is not of the window.
pub fn render_noting<'a>(
    notice: Option<&str>,
    (snapshot, findings): (&Snapshot, &[Finding]),
    requests: impl IntoIterator<Item = &'a profiler_core::model::request::Request>,
) -> String {
    let mut collected = Collected::default();
    requests.into_iter().for_each(|request| collected.push(request));
    page((snapshot, findings), &collected, notice)
}

/// A page of other things in the same style, without script.
pub(crate) fn sheet(title: &str, write: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    begin(&mut html, title, "");
    html.raw("<body id=\"top\">\n");
    write(&mut html);
    html.raw("<footer><p>wsgi-trace ")
        .raw(env!("CARGO_PKG_VERSION"))
        .raw("</p></footer>\n</body>\n</html>\n");
    html.into_text()
}

/// Begins a table of such a page up to its rows; the caption says what it holds.
pub(crate) fn begin_table(html: &mut Html, caption: &'static str, headings: &[&'static str]) {
    table::begin(html, caption, false, headings.iter().map(|heading| (*heading, Width::Known)));
}

/// Ends it.
pub(crate) fn end_table(html: &mut Html) {
    table::end(html);
}

/// A page up to its body.
fn begin(html: &mut Html, title: &str, script: &str) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\"");
    // Its quotes come out as character references, which a browser reads as quotes.
    html.attribute("content", &policy::policy(STYLE, script));
    html.raw(">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    html.element("title", title).raw("\n<style>").raw(STYLE).raw("</style>\n</head>\n");
}

fn page((snapshot, findings): (&Snapshot, &[Finding]), requests: &Collected, notice: Option<&str>) -> String {
    let sections = document::sections(snapshot, findings);
    let sections: Vec<Section<'_>> = sections.into_iter().filter(|section| section.on.is(On::PAGE)).collect();
    let mut html = Html::default();
    begin(&mut html, &head::title(snapshot), SCRIPT);
    html.raw("<body id=\"top\">\n<a class=\"skip\" href=\"#findings\">To the findings</a>\n");
    head::section(&mut html, (snapshot, findings), notice);
    html.raw("<nav aria-label=\"Sections\"><ul>");
    for section in &sections {
        html.raw("<li><a href=\"#").raw(section.id).raw("\">").raw(section.short).raw("</a></li>");
    }
    html.raw("<li><a href=\"#top\">Top</a></li></ul></nav>\n<main>\n");
    let mut drawer = Drawer { html: &mut html, snapshot, requests };
    sections.iter().for_each(|section| drawer.section(section));
    html.raw("</main>\n<footer><p>wsgi-trace ").text(&snapshot.session.tool_version);
    html.raw("</p></footer>\n<script>").raw(SCRIPT).raw("</script>\n</body>\n</html>\n");
    html.into_text()
}
