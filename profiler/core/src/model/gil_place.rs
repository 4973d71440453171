//! Where in Python the holder of an interpreter lock was while others waited for it.
//!
//! In: sums by frame. Out: [`Places`], a part of the snapshot. Each is a sample taken as a wait began, weighed with the length of
//! that wait: not an account of the holder.

/// One window's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The places, the one that others waited for longest first (bounded).
    pub places: Vec<Place>,
    /// Time waited because of places that are not listed.
    pub other_ns: u64,
    /// Time waited for which there is no sample that can be read: see the counts.
    pub unknown_ns: u64,
    /// Samples taken.
    pub samples: u64,
    /// Of those: the holder had gone on to another function before its frames were read, so they are not used.
    pub unstable: u64,
    /// Of those: it ran no Python function, or none that could be read.
    pub unreadable: u64,
}

/// A place in which the lock was held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What ran.
    pub at: Spot,
    /// Where the application called it, if it is a library's; else who called it. `None`: nobody, or further out than was read.
    pub called_from: Option<Spot>,
    /// For how long others waited from the moment they found the holder there.
    pub wait_ns: u64,
    /// How often they found it there.
    pub waits: u64,
}

/// A line of a function. Hostile input.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The file, as Python has it.
    pub file: String,
    /// Qualified name of the function.
    pub function: String,
    /// Line; 0: not known.
    pub line: u32,
}

impl Spot {
    /// The file's name with the folder that it is in: enough to find it, short enough to read.
    #[must_use]
    pub fn short_file(&self) -> &str {
        let mut cuts = self.file.rmatch_indices('/').map(|(at, _)| at + 1);
        let _name = cuts.next();
        cuts.next().and_then(|at| self.file.get(at..)).unwrap_or(&self.file)
    }

    /// Whether the file belongs to Python or to an installed package, not to the application.
    #[must_use]
    pub fn is_library(&self) -> bool {
        let file = self.file.as_str();
        file.starts_with('<')
            || ["/site-packages/", "/dist-packages/", "/lib/python3"].iter().any(|part| file.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(file: &str) -> Spot {
        Spot { file: file.to_owned(), ..Spot::default() }
    }

    #[test]
    fn file_is_named_with_its_folder() {
        assert_eq!(spot("/usr/lib/python3.11/json/encoder.py").short_file(), "json/encoder.py");
        assert_eq!(spot("/srv/app.py").short_file(), "srv/app.py");
        assert_eq!(spot("/app.py").short_file(), "/app.py");
        assert_eq!(spot("app.py").short_file(), "app.py");
        assert_eq!(spot("").short_file(), "");
    }

    #[test]
    fn installed_packages_and_the_standard_library_are_not_the_application() {
        for file in [
            "/usr/lib/python3.11/json/encoder.py",
            "/srv/venv/lib/python3.12/site-packages/flask/app.py",
            "/usr/lib/python3/dist-packages/django/x.py",
            "<frozen importlib._bootstrap>",
        ] {
            assert!(spot(file).is_library(), "{file}");
        }
        assert!(!spot("/srv/shop/views.py").is_library());
    }
}
