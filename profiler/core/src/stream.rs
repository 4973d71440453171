//! What a source delivers, live or from a recording.
//!
//! In: nothing. Out: [`Item`]. Everything after this type is shared by both sources.

use crate::fact::FactRecord;

/// One item of the stream, in the order in which the source met it (not yet in the order of time).
#[derive(Clone, Debug, PartialEq)]
pub enum Item<B> {
    /// One raw kernel record, as `profiler-common` lays it out; heads are redacted already.
    Kernel(B),
    /// Something learned outside the kernel programs.
    Fact(Box<FactRecord>),
}
