//! Opening files that we write as root: private, never through a link, never anything but a file.
//!
//! In: a path that the user named. Out: an open file of mode 0600, or a typed error that says what to do
//! instead.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Readable and writable by the owner alone.
const PRIVATE_MODE: u32 = 0o600;

/// Why an output file could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum OutputFileError {
    /// The path names a symbolic link.
    #[error("{} is a symbolic link; output never follows a link: name the file itself", path.display())]
    Link {
        /// As the user named it.
        path: PathBuf,
    },
    /// The path names a directory.
    #[error("{} is a directory; name a file in it", path.display())]
    Directory {
        /// As the user named it.
        path: PathBuf,
    },
    /// The path names a device, a FIFO or a socket.
    #[error("{} is not a regular file; name a regular file, or leave -o out and use a pipe", path.display())]
    NotRegular {
        /// As the user named it.
        path: PathBuf,
    },
    /// The directory of the path does not exist.
    #[error("cannot create {}: its directory does not exist; create it first", path.display())]
    NoDirectory {
        /// As the user named it.
        path: PathBuf,
    },
    /// The file could not be opened, for another reason.
    #[error("cannot open {} for writing: {}; name a place where this user may write", path.display(), plain(source))]
    Open {
        /// As the user named it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is full, or a quota or size limit is reached.
    #[error("no space left for {}: what is there is incomplete; free some space or name another place", path.display())]
    Full {
        /// As the user named it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed, for another reason.
    #[error("cannot write {}: what is there is incomplete: {}; name another place", path.display(), plain(source))]
    Write {
        /// As the user named it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OutputFileError {
    /// What an error of a write to `path` means: the disk is full, or something rarer.
    pub fn from_write(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Write { path, source },
        }
    }

    fn from_open(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.raw_os_error() {
            // O_NOFOLLOW says ELOOP for a link as the last component; so does a loop of links before it.
            Some(libc::ELOOP) => Self::Link { path },
            Some(libc::EISDIR) => Self::Directory { path },
            // A FIFO without a reader, or a socket.
            Some(libc::ENXIO) => Self::NotRegular { path },
            Some(libc::ENOENT) => Self::NoDirectory { path },
            Some(libc::ENOSPC | libc::EDQUOT) => Self::Full { path, source },
            _ => Self::Open { path, source },
        }
    }
}

/// What the system said, without its number, in the middle of a sentence.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A file that is open for writing but whose old content is still there.
///
/// Opened before the work begins, so that a path that cannot be written is refused before anybody has waited.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    path: PathBuf,
}

impl OutputFile {
    /// Opens or creates `path` with mode 0600; refuses links, directories and everything that is not a
    /// regular file (`/dev/null` and its like are accepted). An existing file keeps its content until
    /// [`Self::begin`].
    ///
    /// # Errors
    /// See [`OutputFileError`].
    pub fn open(path: &Path) -> Result<Self, OutputFileError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_MODE)
            // O_NONBLOCK: a FIFO without a reader must be an error, not a wait.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|source| OutputFileError::from_open(path, source))?;
        let open_error = |source| OutputFileError::Open { path: path.to_path_buf(), source };
        let metadata = file.metadata().map_err(open_error)?;
        if metadata.is_file() {
            // A file that existed may be readable by others; a device must keep its mode.
            file.set_permissions(Permissions::from_mode(PRIVATE_MODE)).map_err(open_error)?;
        } else if !metadata.file_type().is_char_device() {
            return Err(OutputFileError::NotRegular { path: path.to_path_buf() });
        }
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Drops the old content; the file is then written from its start.
    ///
    /// # Errors
    /// See [`OutputFileError`].
    pub fn begin(self) -> Result<File, OutputFileError> {
        let regular = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        if regular {
            self.file.set_len(0).map_err(|source| OutputFileError::from_write(&self.path, source))?;
        }
        Ok(self.file)
    }

    /// The path, as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether two paths name one regular file, be it there already or not.
pub fn same_file(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), Err(_)) => {
            let place = |path: &Path| {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
                Some(directory.join(path.file_name()?))
            };
            place(one).is_some_and(|one| place(other) == Some(one))
        }
        _ => false,
    }
}

/// Opens `path` as [`OutputFile::open`] does and drops its old content at once.
///
/// # Errors
/// See [`OutputFileError`].
pub fn create(path: &Path) -> Result<File, OutputFileError> {
    OutputFile::open(path)?.begin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn two_names_of_one_file_are_told_from_two_files() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        let roundabout = directory.path().join(".").join("one");
        assert!(same_file(&one, &roundabout) && !same_file(&one, &other));
        std::fs::write(&one, "").unwrap();
        assert!(same_file(&one, &roundabout) && !same_file(&one, &other));
        std::fs::hard_link(&one, &other).unwrap();
        assert!(same_file(&one, &other));
        assert!(!same_file(Path::new("/dev/null"), Path::new("/dev/null")));
    }

    #[test]
    fn a_new_file_is_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        create(&path).unwrap().write_all(b"text").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn an_existing_file_becomes_private_and_loses_its_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        std::fs::write(&path, b"a longer text of old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        create(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn opening_alone_destroys_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        std::fs::write(&path, b"old").unwrap();
        drop(OutputFile::open(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_link_is_refused_and_its_target_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("precious");
        std::fs::write(&target, b"precious").unwrap();
        for (name, to) in [("link", target.clone()), ("dangling", directory.path().join("nowhere"))] {
            let link = directory.path().join(name);
            symlink(&to, &link).unwrap();
            assert!(matches!(create(&link), Err(OutputFileError::Link { .. })), "{name}");
        }
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
        assert!(!directory.path().join("nowhere").exists());
    }

    #[test]
    fn directories_and_fifos_are_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(create(directory.path()), Err(OutputFileError::Directory { .. })));
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(matches!(create(&fifo), Err(OutputFileError::NotRegular { .. })));
        // With a reader the open itself succeeds; what it is must be looked at.
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        assert!(matches!(create(&fifo), Err(OutputFileError::NotRegular { .. })));
        drop(reader);
    }

    #[test]
    fn a_missing_directory_is_named_as_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let error = create(&directory.path().join("no/such/report")).unwrap_err();
        assert!(matches!(error, OutputFileError::NoDirectory { .. }));
        assert!(error.to_string().contains("does not exist"));
    }

    #[test]
    fn a_full_device_is_told_from_other_failures() {
        let path = Path::new("/dev/full");
        let before = mode(path);
        let source = create(path).unwrap().write_all(b"text").unwrap_err();
        assert!(matches!(OutputFileError::from_write(path, source), OutputFileError::Full { .. }));
        assert_eq!(mode(path), before, "a device keeps its mode");
    }
}
