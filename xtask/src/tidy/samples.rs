//! Snapshots, and samples of the guide: what a page shows as an output is one that a reviewed test makes.
//!
//! In: pages whose samples no command prints, and snapshots. Out: offences, also where there are more
//! snapshots than a person reads. What a command prints is compared by `tests/docs`.

use super::{File, Offence};

/// Pages whose blocks of `text` are parts of reports and screens.
const PAGES: [&str; 2] = ["docs/reading-the-report.md", "docs/top.md"];

/// Snapshots that a person still reads after a change.
const MAX_SNAPSHOTS: usize = 40;

/// Every sample that stands in no snapshot, and snapshots that are too many.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let snapshots: Vec<&str> =
        files.iter().filter(|file| file.path.ends_with(".snap")).map(|file| file.text.as_str()).collect();
    let pages = files.iter().filter(|file| PAGES.contains(&file.path.as_str()));
    let too_many = (snapshots.len() > MAX_SNAPSHOTS).then(|| {
        let count = snapshots.len();
        format!("tests/snapshots: {count} snapshots, more than {MAX_SNAPSHOTS}: assert what matters of the new one")
    });
    pages.flat_map(|page| of_page(page, &snapshots)).chain(too_many).collect()
}

fn of_page(page: &File, snapshots: &[&str]) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut sample: Option<(usize, String)> = None;
    for (index, line) in page.text.lines().enumerate() {
        match &mut sample {
            None if line == "```text" => sample = Some((index + 1, String::new())),
            None => {}
            Some((begins, text)) if line == "```" => {
                if !snapshots.iter().any(|snapshot| snapshot.contains(text.as_str())) {
                    let path = &page.path;
                    offences.push(format!("{path}:{begins}: no snapshot has this sample: copy it from one"));
                }
                sample = None;
            }
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    #[test]
    fn a_sample_that_no_snapshot_has_is_an_offence() {
        let snapshot = file("a/screen.snap", "---\nsource: x\n---\none\ntwo\nthree\n");
        let page =
            |sample: &str| file("docs/top.md", &format!("# A\n\n```text\n{sample}```\n\n```sh\nls\n```\n"));
        let of = |sample: &str| offences(&[page(sample), file("a/screen.snap", &snapshot.text)]).len();
        assert_eq!((of("two\nthree\n"), of("two\nfour\n"), of("one\nthree\n")), (0, 1, 1));
        assert_eq!(offences(&[file("docs/other.md", "```text\nfour\n```\n")]).len(), 0);
    }

    #[test]
    fn more_snapshots_than_a_person_reads_are_an_offence() {
        let of = |count: usize| {
            let all: Vec<File> =
                (0..count).map(|number| file(&format!("a/{number}.snap"), "one\n")).collect();
            offences(&all).len()
        };
        assert_eq!((of(MAX_SNAPSHOTS), of(MAX_SNAPSHOTS + 1)), (0, 1));
    }
}
