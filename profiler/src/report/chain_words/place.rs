//! A place in Python, in words.
//!
//! In: frames of a thread (hostile). Out: the application's own lines among them, the outermost first.

use profiler_core::fact::place::{OwnBy, OwnCode, PlaceSeen, PythonFrame, Whose, short_file};

/// `shop/wsgi.py:9 view › shop/db.py:3 query`; `None`: none of its frames is the application's own.
pub(crate) fn own_lines(place: &PlaceSeen) -> Option<String> {
    let lines: Vec<String> = place.own().into_iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join(" › "))
}

/// `a lock at shop/db.py:3 query`, `a pool (pool/impl.py:166 QueuePool._do_get), called at shop/db.py:3
/// query`; `None`: only the standard library's frames are known.
pub(crate) fn lock(place: &PlaceSeen) -> Option<String> {
    let first =
        place.frames.iter().find(|frame| !matches!(frame.whose, Whose::Standard | Whose::Launcher))?;
    if first.whose == Whose::Own {
        return Some(format!("a lock at {}", line(first)));
    }
    let own = place.own().last().map(|own| format!(", called at {}", line(own))).unwrap_or_default();
    let called = place.frames.iter().take_while(|frame| frame.whose != Whose::Own);
    Some(match called.into_iter().find(|frame| is_of_pool(frame)) {
        Some(frame) => format!("a pool ({}){own}", line(frame)),
        None => format!("a lock ({}){own}", line(first)),
    })
}

/// Whether a package calls this a pool, in the function's name or in the file's.
fn is_of_pool(frame: &PythonFrame) -> bool {
    let names = [short_file(&frame.file), &frame.function];
    frame.whose == Whose::Package && names.iter().any(|name| name.to_lowercase().contains("pool"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(frames: &[(&str, u32, &str, Whose)]) -> PlaceSeen {
        let frame = |(file, line, function, whose): &(&str, u32, &str, Whose)| PythonFrame {
            file: (*file).to_owned(),
            line: *line,
            function: (*function).to_owned(),
            whose: *whose,
        };
        PlaceSeen { frames: frames.iter().map(frame).collect(), ..PlaceSeen::default() }
    }

    #[test]
    fn a_lock_is_named_by_the_first_line_that_is_not_the_standard_librarys() {
        let wait = ("/usr/lib/python3/threading.py", 331, "Condition.wait", Whose::Standard);
        let own = ("/srv/shop/db.py", 6, "query", Whose::Own);
        let queue = ("/venv/sqlalchemy/util/queue.py", 180, "Queue.get", Whose::Package);
        let pool = ("/venv/sqlalchemy/pool/impl.py", 166, "QueuePool._do_get", Whose::Package);
        let flask = ("/venv/flask/app.py", 902, "Flask.dispatch_request", Whose::Package);
        for (frames, said) in [
            (vec![wait, own], Some("a lock at shop/db.py:6 query")),
            (
                vec![wait, queue, own],
                Some("a lock (util/queue.py:180 Queue.get), called at shop/db.py:6 query"),
            ),
            (
                vec![wait, pool, own, flask],
                Some("a pool (pool/impl.py:166 QueuePool._do_get), called at shop/db.py:6 query"),
            ),
            (vec![wait, pool], Some("a pool (pool/impl.py:166 QueuePool._do_get)")),
            (vec![wait], None),
        ] {
            assert_eq!(lock(&place(&frames)).as_deref(), said);
        }
    }
}
