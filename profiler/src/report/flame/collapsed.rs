//! Stacks as lines of text: frames with `;` between them, a space, nanoseconds (Brendan Gregg's
//! `flamegraph.pl`, inferno and speedscope read it).
//!
//! In: stacks. Out: one line each, which begins with the endpoint.

use std::fmt::Write as _;
use std::io;

use profiler_core::model::Snapshot;

use super::form::AtTheEnd;
use super::{Frame, endpoints};
use crate::report::escape::{Charset, line};
use crate::report::form::FormKind;

/// Stacks as text.
pub const FORM: FormKind = FormKind {
    name: "collapsed",
    help: "Stacks in nanoseconds, for flamegraph.pl and its like",
    endings: &["collapsed", "folded"],
    open: |writer, _| Box::new(AtTheEnd { writer, render }),
};

/// Columns of one frame at most.
const MAX_COLUMNS: usize = 200;

fn render(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    for (endpoint, stacks) in endpoints(snapshot) {
        for stack in stacks {
            text.push_str(&word(&endpoint));
            for frame in &stack.frames {
                let _ = write!(text, ";{}", of_frame(frame));
            }
            let _ = writeln!(text, " {}", stack.time_ns);
        }
    }
    Ok(text.into_bytes())
}

fn of_frame(frame: &Frame<'_>) -> String {
    let Frame { name, file, line, .. } = frame;
    match file {
        Some(file) => word(&format!("{name} ({file}:{line})")),
        None => word(name),
    }
}

/// A name that ends no frame and no line.
fn word(text: &str) -> String {
    line(text, MAX_COLUMNS, Charset::Unicode).replace(';', ",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn each_line_is_an_endpoint_its_frames_and_nanoseconds() {
        let text = String::from_utf8(render(&fixture::exhausted().0).expect("memory")).expect("text");
        assert!(text.lines().count() > 3);
        for line in text.lines() {
            let (stack, time_ns) = line.rsplit_once(' ').expect("a space");
            assert!(stack.contains(';') && time_ns.parse::<u64>().expect("nanoseconds") > 0, "{line}");
        }
        assert!(text.contains(");[recvfrom] "), "{text}");
    }

    #[test]
    fn a_hostile_name_stays_in_its_frame() {
        let frame = Frame { name: "a;b\nc\u{1b}[2J".to_owned(), file: Some("x;y"), line: 3, is_code: true };
        let text = of_frame(&frame);
        assert!(!text.contains([';', '\n', '\u{1b}']), "{text}");
    }
}
