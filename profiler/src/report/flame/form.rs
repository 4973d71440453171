//! What the forms of stacks have in common: they write once, when all is known.
//!
//! In: a snapshot. Out: the bytes of a form.

use std::io::{self, Write as _};

use profiler_core::finding::Finding;
use profiler_core::model::Snapshot;

use crate::report::form::Form;
use crate::report::output::Lazy;

/// A form that is made of the snapshot alone.
pub(super) struct AtTheEnd {
    pub(super) writer: Lazy,
    pub(super) render: fn(&Snapshot) -> io::Result<Vec<u8>>,
}

impl Form for AtTheEnd {
    fn finish(&mut self, snapshot: &Snapshot, _: &[Finding]) -> io::Result<()> {
        self.writer.write_all(&(self.render)(snapshot)?)?;
        self.writer.flush()
    }
}
