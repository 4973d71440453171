//! A place in Python, in words.
//!
//! In: frames of a thread (hostile). Out: the application's own lines among them, the outermost first.

use profiler_core::fact::place::{PlaceSeen, PythonFrame, short_file};

/// `shop/wsgi.py:9 view › shop/db.py:3 query`; `None`: none of its frames is the application's own.
pub(crate) fn own_lines(place: &PlaceSeen) -> Option<String> {
    let lines: Vec<String> = place.own().into_iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join(" › "))
}

/// `shop/db.py:3 query`.
pub(crate) fn line(frame: &PythonFrame) -> String {
    let (file, function) = (short_file(&frame.file), &frame.function);
    match frame.line {
        0 => format!("{file} {function}"),
        line => format!("{file}:{line} {function}"),
    }
}
