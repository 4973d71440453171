//! Two reports in JSON through `diff`: nothing panics, and what it says is harmless text and JSON.
//!
//! In: two documents with a NUL between them; one alone is compared with itself. Out: nothing.

use std::path::Path;

use wsgi_trace::compare::{Side, compare, json, text};
use wsgi_trace::report::escape::Charset;
use wsgi_trace::report::style::Style;

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let middle = bytes.iter().position(|byte| *byte == 0);
    let (a, b) = middle.map_or((bytes, bytes), |middle| {
        (bytes.get(..middle).unwrap_or_default(), bytes.get(middle + 1..).unwrap_or_default())
    });
    let side = |bytes| Side::parse(bytes, Path::new("fuzz"));
    let (Ok(a), Ok(b)) = (side(a), side(b)) else { return };
    let difference = compare(&a, &b);
    let said = text::render(&difference, ["a", "b"], Style::plain(Charset::Ascii));
    assert!(said.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{said:?}");
    let mut document = Vec::new();
    assert!(json::write(&mut document, &difference).is_ok(), "memory takes it");
    assert!(serde_json::from_slice::<serde_json::Value>(&document).is_ok(), "no JSON");
}
