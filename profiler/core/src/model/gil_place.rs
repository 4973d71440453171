//! Where in Python the holder of an interpreter lock was while others waited for it, and where those stood
//! that waited long.
//!
//! In: sums by frame. Out: [`Places`], a part of the snapshot. Each is a sample taken as a wait began,
//! weighed with the length of that wait: not an account of the holder.

use super::gil_contender::Contender;
use crate::fact::place::short_file;

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
    /// Of those: the holder had gone on to another function before its frames were read, so they are not
    /// used.
    pub unstable: u64,
    /// Of those: it ran no Python function, or none that could be read.
    pub unreadable: u64,
    /// Where those stood that waited.
    pub blocked: Blocked,
}

/// Where threads stood that waited long (`profiler_common::record::frames::LONG_NS`). No sample: who waits
/// goes nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// By waiter and place, the longest sum first (bounded).
    pub listed: Vec<Block>,
    /// Time waited in others than those.
    pub other_ns: u64,
    /// Waits in which the waiter looked at itself.
    pub samples: u64,
    /// Of those: it has no readable frame in the interpreter whose thread had the lock last. It runs another
    /// one that shares the lock, as under `mod_wsgi`, or no Python function.
    pub elsewhere: u64,
    /// Of those: its frames could not be read, or nothing is known of them.
    pub unreadable: u64,
    /// Long waits in which it did not. Their last call began before they were long (an interpreter whose
    /// switch interval is longer than that), or they were under way as the window began.
    pub without_sample: u64,
}

/// Long waits of one waiter in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Whom the thread served, or itself.
    pub waiter: Contender,
    /// What it was about to go on with.
    pub at: Spot,
    /// As [`Place::called_from`].
    pub called_from: Option<Spot>,
    /// For how long all together, from the begin of each attempt to its end.
    pub wait_ns: u64,
    /// Attempts to take the lock.
    pub waits: u64,
    /// The longest of them.
    pub longest_ns: u64,
}

/// A place in which the lock was held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What ran.
    pub at: Spot,
    /// Where the application called it, if it is a library's; else who called it. `None`: nobody, or further
    /// out than was read.
    pub called_from: Option<Spot>,
    /// For how long others waited from the moment they found the holder there.
    pub wait_ns: u64,
    /// How often they found it there.
    pub waits: u64,
}

impl Block {
    /// The application's line: what called the library that the waiter was in, if it was in one and that is
    /// known.
    pub fn applications(&self) -> &Spot {
        self.called_from.as_ref().filter(|_| self.at.is_library()).unwrap_or(&self.at)
    }
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
    pub fn short_file(&self) -> &str {
        short_file(&self.file)
    }

    /// Whether the file belongs to Python or to an installed package, not to the application.
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
