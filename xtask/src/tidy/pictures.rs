//! Pictures of the guide: none is older than what it shows.
//!
//! In: the pictures, and the file beside them that says what they were drawn from. Out: offences.

use super::{File, Offence};
use crate::pictures::{DRAWN_FROM, Picture, drawn_from};

/// Every picture that what it shows has left behind, or that nobody makes.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let noted = text(DRAWN_FROM).unwrap_or_default();
    let mut offences = Vec::new();
    for picture in Picture::ALL {
        match drawn_from(&picture, text) {
            Ok(line) if noted.lines().any(|noted| noted == line) => {}
            Ok(_) => offences
                .push(format!("{}:1: shows what is drawn otherwise now: make screenshots", picture.path())),
            Err(missing) => offences.push(format!("{missing}:1: is missing: {} shows it", picture.path())),
        }
    }
    let is_picture = |file: &&File| file.path.starts_with("docs/images/") && file.path.ends_with(".png");
    for file in files.iter().filter(is_picture) {
        if Picture::ALL.iter().all(|picture| picture.path() != file.path) {
            offences.push(format!("{}:1: xtask/src/pictures.rs does not say what it shows", file.path));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    /// All that pictures show, with this text.
    fn tree(shown: &str) -> Vec<File> {
        let mut paths: Vec<&str> = Picture::ALL.iter().flat_map(|picture| picture.shows).copied().collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter().map(|path| file(path, shown)).collect()
    }

    fn noted(files: &[File]) -> File {
        let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
        let lines: Vec<String> = Picture::ALL.iter().map(|it| drawn_from(it, text).unwrap()).collect();
        file(DRAWN_FROM, &lines.join("\n"))
    }

    #[test]
    fn a_picture_is_old_when_what_it_shows_is_drawn_otherwise_and_not_when_a_number_or_a_comment_differs() {
        let before = tree("slots 12 of 34\n// why\n");
        let note = noted(&before);
        let old = |shown: &str| {
            let mut files = tree(shown);
            files.push(file(DRAWN_FROM, &note.text));
            offences(&files).len()
        };
        assert_eq!(old("slots 12 of 34\n// why\n"), 0);
        assert_eq!(old("slots 7 of 8\n// because\n"), 0);
        assert_eq!(old("slots  7   of 8\n"), 0);
        assert_eq!(old("slots 12 of them\n"), Picture::ALL.len());
    }

    #[test]
    fn a_picture_of_which_nobody_knows_what_it_shows_is_an_offence() {
        let mut files = tree("x");
        files.push(noted(&files));
        files.push(file("docs/images/other.png", ""));
        assert_eq!(offences(&files).len(), 1);
        assert!(!offences(&tree("x")).is_empty(), "without the note none is known to be young");
    }
}
