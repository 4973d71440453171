//! The report as a page: one self-contained file that opens from disk, without network, in any browser.
//!
//! In: a snapshot, its findings, and the requests of the timeline. Out: HTML with its own style and script in it, which
//! a Content-Security-Policy names by their hashes. Everything but the timeline reads without script. Charts are SVG and
//! one canvas written by hand: they are rectangles, and a chart library would be many times the size of the page.
//! The same recording gives the same bytes.

mod capacity;
mod chart;
mod dropped;
mod event_loops;
mod findings;
mod front_end;
mod gil;
mod head;
mod inventory;
mod markup;
mod notes;
mod phases;
mod policy;
mod queues;
mod requests;
mod slots;
mod table;
mod threads;
mod timeline;
mod woken;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;
use profiler_core::timeline::Entry;

use super::escape::Charset;
use super::form::{Form, FormKind};
use super::output::Lazy;
use super::style::Style;
use super::text::page::Page;
use markup::Html;
use timeline::Collected;

/// Reports for a browser.
pub const FORM: FormKind = FormKind {
    name: "html",
    help: "One self-contained page for a browser",
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
        self.writer.write_all(page(snapshot, findings, &self.requests).as_bytes())?;
        self.writer.flush()
    }
}

/// The whole page, from a window's requests.
pub fn render<'a>(
    snapshot: &Snapshot,
    findings: &[Finding],
    requests: impl IntoIterator<Item = &'a profiler_core::model::request::Request>,
) -> String {
    let mut collected = Collected::default();
    requests.into_iter().for_each(|request| collected.push(request));
    page(snapshot, findings, &collected)
}

/// Where the contents lead, in the order of the page.
const CONTENTS: [(&str, &str); 15] = [
    ("#findings", "Findings"),
    ("#endpoints", "Endpoints"),
    ("#slowest", "Slowest"),
    ("#time", "Time"),
    ("#slots", "Slots"),
    ("#timeline", "Timeline"),
    ("#latency", "Latency"),
    ("#gil", "GIL"),
    ("#listeners", "Listeners"),
    ("#dropped", "Dropped"),
    ("#processes", "Processes"),
    ("#unseen", "Not seen"),
    ("#losses", "Losses"),
    ("#cost", "Own cost"),
    ("#top", "Top"),
];

fn page(snapshot: &Snapshot, findings: &[Finding], requests: &Collected) -> String {
    let words = Page::new(Style::plain(Charset::Unicode));
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\"");
    // Its quotes come out as character references, which a browser reads as quotes.
    html.attribute("content", &policy::policy(STYLE, SCRIPT));
    html.raw(">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    html.element("title", &head::title(&words, snapshot))
        .raw("\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n");
    html.raw("<body id=\"top\">\n<a class=\"skip\" href=\"#findings\">To the findings</a>\n");
    head::section(&mut html, &words, snapshot, findings);
    html.raw("<nav aria-label=\"Sections\"><ul>");
    for (target, name) in CONTENTS {
        html.raw("<li><a href=\"").raw(target).raw("\">").raw(name).raw("</a></li>");
    }
    html.raw("</ul></nav>\n<main>\n");
    findings::section(&mut html, snapshot, findings);
    requests::endpoints(&mut html, snapshot);
    requests::slowest(&mut html, snapshot);
    phases::section(&mut html, snapshot);
    slots::section(&mut html, snapshot);
    front_end::section(&mut html, snapshot);
    event_loops::section(&mut html, snapshot);
    requests.section(&mut html, snapshot);
    requests::latency(&mut html, snapshot);
    gil::section(&mut html, &words, snapshot);
    inventory::listeners(&mut html, snapshot);
    dropped::section(&mut html, snapshot);
    inventory::processes(&mut html, snapshot);
    notes::unseen(&mut html, snapshot);
    notes::losses(&mut html, snapshot);
    notes::cost(&mut html, snapshot);
    html.raw("</main>\n<footer><p>wsgi-trace ").text(&snapshot.session.tool_version);
    html.raw("</p></footer>\n<script>").raw(SCRIPT).raw("</script>\n</body>\n</html>\n");
    html.into_text()
}
