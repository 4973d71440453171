//! Messages that the guide quotes: the program must still say them.
//!
//! In: the page that explains messages, the sources of the program. Out: offences: words between quotation
//! marks that no source has.

use super::{File, Offence};

/// The page: what it has between quotation marks is what the program prints, with `…` for what differs from
/// time to time.
const PAGE: &str = "docs/troubleshooting.md";
/// Where messages are.
const SOURCES: [&str; 2] = ["profiler/src/", "profiler/core/src/"];
/// What may stand at either end of a quoted part, and is not looked for.
const ENDS: [char; 5] = [' ', ',', ';', ':', '('];

/// Every part of a quotation that no source has.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    let is_source = |file: &&File| SOURCES.iter().any(|start| file.path.starts_with(start));
    let sources: String = files.iter().filter(is_source).map(|file| joined(&file.text)).collect();
    let text = without_code(&page.text);
    let quoted = text.split('"').skip(1).step_by(2);
    quoted
        .flat_map(|quote| quote.split('…').map(|part| part.trim_matches(ENDS)))
        .filter(|part| !part.is_empty() && !sources.contains(*part))
        .map(|part| format!("{PAGE}: the program does not say: {part}"))
        .collect()
}

/// A source in which strings that go on in the next line stand in one.
fn joined(text: &str) -> String {
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + part.trim_start())
}

/// Prose in one line, without `code`.
fn without_code(text: &str) -> String {
    let prose: String = text.split('`').step_by(2).collect();
    prose.split_whitespace().collect::<Vec<&str>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_quoted_message_that_no_source_has_is_an_offence() {
        let source = file("profiler/src/a.rs", "bail!(\"no such {pid}: it has \\\n        ended, or so\");");
        let page = |text: &str| file(PAGE, text);
        let said = |text: &str| offences(&[page(text), file("profiler/src/a.rs", &source.text)]);
        assert_eq!(said("\"no such …: it\nhas ended\", or `\"what` you \"… or so\""), Vec::<Offence>::new());
        assert_eq!(said("\"it is gone\""), [format!("{PAGE}: the program does not say: it is gone")]);
    }
}
