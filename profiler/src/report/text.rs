//! The report for people: findings first, then the numbers they rest on, at most 100 columns wide.
//!
//! In: a [`Snapshot`], its findings, and a [`Style`] that says what the reader's terminal can do. Out: text
//! that can be printed as it is: everything that came from a traced process went through
//! [`escape`](super::escape).

pub(super) mod bar;
mod findings;
mod heat;
pub(super) mod page;
pub(super) mod section;
mod table;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::document::table::On;
use super::document::{self, header, losses};
use super::form::{Form, FormKind};
use super::output::Lazy;
use super::style::{Role, Style};
use page::Page;
pub use page::WIDTH;

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

/// The whole report.
pub fn render(snapshot: &Snapshot, findings: &[Finding], style: Style) -> String {
    let mut page = Page::new(style);
    if let Some(what) = losses::what_is_missing(&snapshot.coverage.losses) {
        let text = format!("{what}. See \"Losses\" near the end.");
        page.paragraph((Role::Bad, "INCOMPLETE  "), (Role::Bad, &text));
        page.blank();
    }
    findings::headline(&mut page, &document::outlook::headline(snapshot, findings));
    page.paragraph((Role::Quiet, ""), (Role::Strong, &header::server(snapshot)));
    for line in [header::settings(snapshot), header::watched(snapshot), header::traffic(snapshot)] {
        page.paragraph((Role::Quiet, ""), (Role::Plain, &line));
    }
    let sections = document::sections(snapshot, findings);
    for section in sections.iter().filter(|section| section.on.is(On::TEXT)) {
        section::write(&mut page, section);
    }
    page.into_text()
}
