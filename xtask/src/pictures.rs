//! What the pictures of the guide show, so that none grows older than it unseen.
//!
//! In: the reviewed drawings of tests (snapshots) and what gives the page its look. Out: a line for each
//! picture, which `screenshots` writes beside them and `tidy` compares.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::command;

/// Beside the pictures: what they were drawn from.
pub(crate) const DRAWN_FROM: &str = "docs/images/drawn-from.txt";

const STYLE: &str = "profiler/src/report/html/style.css";
const SCRIPT: &str = "profiler/src/report/html/script.js";
const TIMELINE: &str = "profiler/src/report/html/timeline.html";
const PAGE: &str = "profiler/src/report/snapshots/page.snap";
const TEXT: &str = "tests/snapshots/gthread-slow-upload.page.snap";
const SCREEN: &str = "tests/snapshots/top-gthread-slow-upload.half.snap";
const REQUEST: &str = "tests/snapshots/top-gthread-exhausted.request.snap";

/// A picture.
pub(crate) struct Picture {
    /// Its name without its ending.
    name: &'static str,
    /// Files that differ when what it shows is drawn otherwise.
    pub(crate) shows: &'static [&'static str],
    /// Lines of each that it shows.
    lines: usize,
}

impl Picture {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self { name: "top", shows: &[SCREEN], lines: usize::MAX },
        Self { name: "top-request", shows: &[REQUEST], lines: usize::MAX },
        Self { name: "report-text", shows: &[TEXT], lines: 50 },
        Self { name: "report-page", shows: &[PAGE, STYLE], lines: usize::MAX },
        Self { name: "report-timeline", shows: &[TIMELINE, SCRIPT, STYLE], lines: usize::MAX },
    ];

    /// Where it stands in the tree.
    pub(crate) fn path(&self) -> String {
        format!("docs/images/{}.png", self.name)
    }
}

/// The line of a picture: its name, and a digest of what it shows.
///
/// # Errors
/// The path of what it shows, if that is not there.
pub(crate) fn drawn_from<'a>(
    picture: &Picture,
    text: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, &'static str> {
    let mut digest = Digest::new();
    for path in picture.shows {
        let shown = text(path).ok_or(*path)?;
        for line in shown.lines().take(picture.lines) {
            digest.line(line);
        }
    }
    Ok(format!("{}.png {:016x}", picture.name, digest.0))
}

/// Writes the lines of all pictures, which were drawn just now.
pub(crate) fn write() -> anyhow::Result<()> {
    let mut lines = String::new();
    for picture in Picture::ALL {
        let mut texts = Vec::new();
        for path in picture.shows {
            let text = std::fs::read_to_string(command::root().join(path));
            texts.push((*path, text.with_context(|| format!("cannot read {path}"))?));
        }
        let text = |path: &str| texts.iter().find(|(known, _)| *known == path).map(|(_, text)| text.as_str());
        let line = drawn_from(&picture, text).map_err(|missing| anyhow::anyhow!("{missing} is missing"))?;
        writeln!(lines, "{line}")?;
    }
    let path = command::root().join(DRAWN_FROM);
    std::fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))
}

/// FNV-1a of 64 bits: it need not withstand anybody, only differ.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// A line without its numbers, its blanks, and what is a comment: none of them changes a look.
    fn line(&mut self, line: &str) {
        let line = line.trim();
        if line.starts_with("//") || line.starts_with("source: ") {
            return;
        }
        let mut before = ' ';
        for character in line.chars() {
            let is_same = |kind: fn(char) -> bool| kind(character) && kind(before);
            if !is_same(|c| c.is_ascii_digit() || matches!(c, '.' | ',')) && !is_same(char::is_whitespace) {
                let shown = if character.is_ascii_digit() { '0' } else { character };
                self.bytes(shown.encode_utf8(&mut [0; 4]).as_bytes());
            }
            before = character;
        }
        self.bytes(b"\n");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
