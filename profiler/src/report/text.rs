//! The report for people: findings first, then the numbers they rest on, at most 100 columns wide.
//!
//! In: a [`Snapshot`], its findings, and a [`Style`] that says what the reader's terminal can do. Out: text
//! that can be printed as it is: everything that came from a traced process went through
//! [`escape`](super::escape).

pub(super) mod bar;
mod chain;
mod findings;
mod heat;
pub(super) mod page;
mod room;
pub(super) mod section;
mod table;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::document::block::Section;
use super::document::table::On;
use super::document::{self, header, losses};
use super::form::{Form, FormKind};
use super::output::Lazy;
use super::style::{Role, Style};
use page::Page;
pub use page::WIDTH;
pub use room::LINES;
use room::{Room, TIGHTEST};

/// Reports for people.
pub const FORM: FormKind = FormKind {
    name: "text",
    help: "For reading in a terminal",
    endings: &["txt"],
    open: |writer, style| Box::new(TextForm { writer, style }),
};

struct TextForm {
    writer: Lazy,
    style: Style,
}

impl Form for TextForm {
    fn finish(&mut self, snapshot: &Snapshot, findings: &[Finding]) -> io::Result<()> {
        self.writer.write_all(render(snapshot, findings, self.style).as_bytes())?;
        self.writer.flush()
    }
}

/// Lines of the server's settings, and of each other line about it, where the report is one page.
const HEADER: usize = 2;

/// What one page leaves out.
const REST: &str =
    "--verbose prints all: why undecided, where time went, slots, GIL, listeners, processes, cost.";

/// The report: all of it if the reader wants that, else one page.
pub fn render(snapshot: &Snapshot, findings: &[Finding], style: Style) -> String {
    let sections = document::sections(snapshot, findings);
    let drawn = |mut page: Page| {
        write(&mut page, snapshot, findings, &sections);
        page
    };
    if style.verbose {
        return drawn(Page::new(style)).into_text();
    }
    let mut step = 0;
    let mut page = drawn(Page::brief(style, Room::at(step)));
    while page.length() > LINES && step < TIGHTEST {
        step += 1;
        page = drawn(Page::brief(style, Room::at(step)));
    }
    page.into_text()
}

fn write(page: &mut Page, snapshot: &Snapshot, findings: &[Finding], sections: &[Section<'_>]) {
    if let Some(what) = losses::what_is_missing(&snapshot.coverage.losses) {
        let text = format!("{what}. See \"Losses\" near the end.");
        page.paragraph((Role::Bad, "INCOMPLETE  "), (Role::Bad, &text));
        page.blank();
    }
    findings::headline(page, &document::outlook::headline(snapshot, findings));
    page.at_most(HEADER);
    page.paragraph((Role::Quiet, ""), (Role::Strong, &header::server(snapshot)));
    for line in [header::settings(snapshot), header::watched(snapshot), header::traffic(snapshot)] {
        page.at_most(HEADER);
        page.paragraph((Role::Quiet, ""), (Role::Plain, &line));
    }
    for section in sections.iter().filter(|section| section.on.is(On::TEXT)) {
        section::write(page, section);
    }
    if page.room.is_some() {
        page.blank();
        page.line(&[(Role::Quiet, REST)]);
    }
}
