//! The report for people: findings first, then the numbers they rest on, at most 100 columns wide.
//!
//! In: a [`Snapshot`], its findings, and a [`Style`] that says what the reader's terminal can do. Out: text that can
//! be printed as it is: everything that came from a traced process went through [`escape`](super::escape).

pub(super) mod bar;
pub(super) mod capacity;
pub(super) mod cost;
pub(super) mod dropped;
pub(super) mod endpoints;
pub(super) mod event_loops;
mod findings;
pub(super) mod front_end;
pub(super) mod gil;
pub(super) mod gil_place;
pub(super) mod gil_words;
pub(super) mod header;
pub(super) mod heat;
mod listeners;
pub(super) mod losses;
pub(super) mod page;
pub(super) mod phases;
mod processes;
pub(super) mod queues;
pub(super) mod slots;
pub(super) mod slowest;
mod table;
pub(crate) mod unit;
pub(super) mod unseen;
pub(super) mod waiting;
mod woken;

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use super::form::{Form, FormKind};
use super::output::Lazy;
use super::style::Style;
use super::summary;
use page::Page;
pub use page::WIDTH;

/// Reports for people.
pub const FORM: FormKind = FormKind {
    name: "text",
    help: "For reading in a terminal",
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
#[must_use]
pub fn render(snapshot: &Snapshot, findings: &[Finding], style: Style) -> String {
    let mut page = Page::new(style);
    losses::warning(&mut page, snapshot);
    findings::headline(&mut page, &summary::headline(snapshot, findings));
    header::section(&mut page, snapshot);
    findings::section(&mut page, findings);
    endpoints::section(&mut page, snapshot);
    slowest::section(&mut page, snapshot);
    phases::section(&mut page, snapshot);
    slots::section(&mut page, snapshot);
    capacity::section(&mut page, snapshot);
    front_end::section(&mut page, snapshot);
    event_loops::section(&mut page, snapshot);
    gil::section(&mut page, snapshot);
    listeners::section(&mut page, snapshot);
    woken::table(&mut page, snapshot);
    waiting::entries(&mut page, snapshot);
    dropped::section(&mut page, snapshot);
    processes::section(&mut page, snapshot);
    unseen::section(&mut page, snapshot);
    losses::section(&mut page, snapshot);
    cost::section(&mut page, snapshot);
    page.into_text()
}
