//! Where a report goes: standard output, or a file that the user named.
//!
//! In: the path of `-o`, if there was one; the rendered report, whole or as a stream. Out: bytes, or a typed error.
//! A reader of standard output that has seen enough (`| head`) is not a failure.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

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

    /// Writes a whole report.
    ///
    /// # Errors
    /// It could not be written completely.
    pub fn write(self, report: &[u8]) -> Result<(), OutputError> {
        let mut stream = self.stream()?;
        let written = stream.write_all(report);
        stream.finish(written)
    }

    /// Starts a report that is written piece by piece (ndjson, the timeline).
    ///
    /// # Errors
    /// The file's old content could not be dropped.
    pub fn stream(self) -> Result<Stream, OutputError> {
        Ok(match self {
            Self::Stdout => Stream::Stdout(BufWriter::new(io::stdout())),
            Self::File(file) => {
                let path = file.path().to_path_buf();
                Stream::File(BufWriter::new(file.begin()?), path)
            }
        })
    }
}

/// A report being written. Hand the outcome of the last write to [`Stream::finish`].
#[derive(Debug)]
pub enum Stream {
    /// To standard output.
    Stdout(BufWriter<io::Stdout>),
    /// To a file, with its path for errors.
    File(BufWriter<File>, PathBuf),
}

impl Stream {
    /// Flushes and says how all went: `written` is what the writing itself came to.
    ///
    /// # Errors
    /// Something was not written. That the reader of standard output left is success.
    pub fn finish(mut self, written: io::Result<()>) -> Result<(), OutputError> {
        let outcome = written.and_then(|()| self.flush());
        // On an error the buffer is taken apart: dropped whole, it would try to write once more.
        match (self, outcome) {
            (_, Ok(())) => Ok(()),
            (Self::Stdout(writer), Err(error)) => {
                drop(writer.into_parts());
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Ok(())
                } else {
                    Err(OutputError::Stdout(error))
                }
            }
            (Self::File(writer, path), Err(error)) => {
                drop(writer.into_parts());
                Err(OutputFileError::from_write(&path, error).into())
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File(writer, _) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File(writer, _) => writer.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_receives_the_whole_report() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let report = vec![b'x'; 100_000];
        Destination::open(Some(&path)).unwrap().write(&report).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), report);
    }

    #[test]
    fn a_full_disk_is_one_clear_error() {
        let destination = Destination::open(Some(Path::new("/dev/full"))).unwrap();
        let error = destination.write(b"report").unwrap_err();
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
        let stream = || Destination::Stdout.stream().unwrap();
        assert!(stream().finish(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(matches!(
            stream().finish(Err(io::ErrorKind::StorageFull.into())),
            Err(OutputError::Stdout(_))
        ));
    }
}
