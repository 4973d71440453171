//! A place in Python, in words.
//!
//! In: frames of a thread (hostile). Out: the application's own lines among them, the outermost first.

use profiler_core::fact::place::{OwnBy, OwnCode, PlaceSeen, PythonFrame, short_file};

/// `shop/wsgi.py:9 view › shop/db.py:3 query`; `None`: none of its frames is the application's own.
pub(crate) fn own_lines(place: &PlaceSeen) -> Option<String> {
    let lines: Vec<String> = place.own().into_iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join(" › "))
}

/// `/srv/shop (named with --own), payments (named by the server's command line)`; `None`: nothing is known.
pub(crate) fn own_code(own: &[OwnCode]) -> Option<String> {
    const SHOWN: usize = 4;
    let why = |by| match by {
        OwnBy::Option => "named with --own",
        OwnBy::CommandLine => "named by the server's command line",
        OwnBy::Origin => "installed from a folder or a repository",
        OwnBy::Unlisted => "no installed package lists it",
    };
    let said = own.iter().take(SHOWN).map(|own| format!("{} ({})", own.what, why(own.by)));
    let said = said.collect::<Vec<_>>().join(", ");
    let further = own.len().saturating_sub(SHOWN);
    let further = if further > 0 { format!(", and {further} more") } else { String::new() };
    (!own.is_empty()).then(|| format!("{said}{further}"))
}

/// `shop/db.py:3 query`.
pub(crate) fn line(frame: &PythonFrame) -> String {
    let (file, function) = (short_file(&frame.file), &frame.function);
    match frame.line {
        0 => format!("{file} {function}"),
        line => format!("{file}:{line} {function}"),
    }
}
