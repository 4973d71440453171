//! Sections of the report: what there is to say of a signal, as the text report says it, as wide as the
//! screen.
//!
//! In: a moment, the section that is wanted (none: all of them), blocks of the document. Out: lines. A signal
//! that the document gains is here without a line of its own.

use ratatui::text::{Line, Span};

use super::look::Look;
use super::model::Shown;
use super::paint::Paint;
use super::{facts, scrolled};
use crate::report::document;
use crate::report::document::block::Block;
use crate::report::text::page::{Page, Run};
use crate::report::text::section;

pub(super) fn lines(
    shown: &Shown,
    look: &Look,
    wanted: Option<&str>,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let sections = document::sections(&shown.snapshot, &shown.findings);
    let body = drawn(paint, width, |page| {
        let is_it = |id: &str| wanted.is_none_or(|wanted| wanted == id);
        sections.iter().filter(|section| is_it(section.id)).for_each(|of| section::write(page, of));
    });
    scrolled(vec![facts::title(shown, look, paint, width)], body, look, paint, (width, rows))
}

/// One thing of a section.
pub(super) fn block(block: &Block<'_>, paint: Paint, width: usize) -> Vec<Line<'static>> {
    drawn(paint, width, |page| section::write_block(page, block))
}

fn drawn(paint: Paint, width: usize, write: impl FnOnce(&mut Page)) -> Vec<Line<'static>> {
    let mut page = Page::on_screen(paint.charset, width);
    write(&mut page);
    let span = |(role, text): Run| Span::styled(text, paint.style(role));
    page.into_lines().into_iter().map(|runs| runs.into_iter().map(span).collect()).collect()
}
