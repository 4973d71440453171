//! Where a report goes: standard output, or a file that the user named.
//!
//! In: the path of `-o`, if there was one; the rendered report, whole or as a stream. Out: bytes, or a typed
//! error. A reader of standard output that has seen enough (`| head`) is not a failure.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::output_file::{OutputFile, OutputFileError, plain};

/// Why a report could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file of `-o`.
    #[error(transparent)]
    File(#[from] OutputFileError),
    /// Standard output.
    #[error("cannot write the report to standard output: {}; name a file for it with -o", plain(.0))]
    Stdout(io::Error),
}

/// Where a report goes; made before the window begins, so that a bad path is refused at once.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file; its old content stays until the report is written.
    File(OutputFile),
}

impl Destination {
    /// Standard output, or the file of `-o` (`-` is standard output).
    ///
    /// # Errors
    /// The file cannot be opened, is a link, a directory, or no regular file.
    pub fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        match path {
            None => Ok(Self::Stdout),
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => Ok(Self::File(OutputFile::open(path)?)),
        }
    }

    /// Starts a report that is written piece by piece (ndjson, the timeline).
    ///
    /// # Errors
    /// The file's old content could not be dropped.
    pub fn stream(self) -> Result<Stream, OutputError> {
        Ok(match self {
            Self::Stdout => Stream::Stdout(BufWriter::new(io::stdout())),
            Self::File(file) => Stream::File(BufWriter::new(file.begin()?)),
        })
    }
}

/// A report being written.
#[derive(Debug)]
pub enum Stream {
    /// To standard output.
    Stdout(BufWriter<io::Stdout>),
    /// To a file.
    File(BufWriter<File>),
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File(writer) => writer.flush(),
        }
    }
}

/// A destination that is opened by the first write: until then a file keeps what it held.
#[derive(Debug)]
pub enum Lazy {
    /// Nothing was written yet; none: opening failed.
    ToCome(Option<Destination>),
    /// Open.
    Open(Stream),
}

impl Lazy {
    /// Nothing is opened yet.
    pub const fn new(destination: Destination) -> Self {
        Self::ToCome(Some(destination))
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        if let Self::ToCome(destination) = self {
            let destination =
                destination.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
            // Carried through the writers above as it is; [`failure`] takes it out again.
            *self = Self::Open(destination.stream().map_err(io::Error::other)?);
        }
        match self {
            Self::Open(stream) => Ok(stream),
            Self::ToCome(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Lazy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream()?.flush()
    }
}

/// What an error of writing to the file `path` (none: standard output) means; nothing, if its reader left.
pub fn failure(error: io::Error, path: Option<&Path>) -> Option<OutputError> {
    match (error.downcast::<OutputError>(), path) {
        (Ok(error), _) => Some(error),
        (Err(error), Some(path)) if path != Path::new("-") => {
            Some(OutputFileError::from_write(path, error).into())
        }
        (Err(error), _) if error.kind() == io::ErrorKind::BrokenPipe => None,
        (Err(error), _) => Some(OutputError::Stdout(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_it_held_until_the_report_comes_and_then_receives_it_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        std::fs::write(&path, "old").unwrap();
        let mut lazy = Lazy::new(Destination::open(Some(&path)).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let report = vec![b'x'; 100_000];
        lazy.write_all(&report).unwrap();
        lazy.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), report);
    }

    #[test]
    fn a_full_disk_is_one_clear_error() {
        let path = Path::new("/dev/full");
        let mut lazy = Lazy::new(Destination::open(Some(path)).unwrap());
        let error = lazy.write_all(b"report").and_then(|()| lazy.flush()).unwrap_err();
        let error = failure(error, Some(path)).unwrap();
        assert!(matches!(error, OutputError::File(OutputFileError::Full { .. })));
        assert!(error.to_string().contains("no space left for /dev/full"), "{error}");
    }

    #[test]
    fn a_dash_means_standard_output() {
        assert!(matches!(Destination::open(Some(Path::new("-"))).unwrap(), Destination::Stdout));
        assert!(matches!(Destination::open(None).unwrap(), Destination::Stdout));
    }

    #[test]
    fn a_reader_that_left_standard_output_is_success_and_a_failing_disk_is_not() {
        assert!(failure(io::ErrorKind::BrokenPipe.into(), None).is_none());
        assert!(matches!(failure(io::ErrorKind::StorageFull.into(), None), Some(OutputError::Stdout(_))));
        assert!(failure(io::ErrorKind::BrokenPipe.into(), Some(Path::new("pipe"))).is_some());
    }
}
