//! A difference as one JSON document.
//!
//! In: a [`Difference`]. Out: indented JSON, units in the keys, hostile text escaped as in reports.

use std::io::{self, Write};

use serde::Serialize as _;

use super::difference::Difference;
use crate::report::json::safe::Safe;

/// Writes the document with a newline at its end.
///
/// # Errors
/// What the writer says.
pub fn write<W: Write>(mut writer: W, difference: &Difference) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut writer, Safe::pretty());
    difference.serialize(&mut serializer)?;
    writer.write_all(b"\n")
}
