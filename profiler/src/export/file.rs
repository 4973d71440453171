//! One file of the export: nobody sees it before it is whole.
//!
//! In: row groups. Out: the file under its name, after everything in it has reached the disk; or nothing at
//! all: what was begun is removed when it is dropped.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::ExportError;
use super::buffer::Buffer;
use super::place::Place;

/// Attempts to make a file whose directory somebody removes meanwhile.
const ATTEMPTS: usize = 3;

/// End of the name of a file that is not whole yet; its first character is a dot.
pub(super) const UNFINISHED: &str = ".part";
/// Readable and writable by the owner alone, as every file of ours.
const PRIVATE_FILE: u32 = 0o600;

/// A file in the making.
pub(super) struct PartFile {
    /// `None` once it is sealed.
    writer: Option<SerializedFileWriter<File>>,
    /// Kept until it is published: the lock on it says that somebody writes it.
    sealed: Option<File>,
    /// Where it is written: no reader takes it for a part of the table.
    temporary: PathBuf,
    path: PathBuf,
    is_published: bool,
    bytes: u64,
}

impl PartFile {
    /// Begins the file of a table's rows of one day.
    ///
    /// # Errors
    /// If its directory or the file cannot be made.
    pub(super) fn create(
        place: &Place,
        (table, day): (&str, i64),
        schema: TypePtr,
        properties: WriterPropertiesPtr,
    ) -> Result<Self, ExportError> {
        let (directory, name) = place.of(table, day);
        let temporary = directory.join(format!(".{name}.{}{UNFINISHED}", std::process::id()));
        let path = directory.join(name);
        let file = open(place, &directory, &temporary).map_err(|error| match error {
            Failed::ToMake(error) => error,
            Failed::ToOpen(source) => ExportError::of_write(&path, source),
        })?;
        // Without locks, as on some network file systems, nobody takes it for abandoned either.
        let _ = file.try_lock();
        // Whatever fails from here on: the file is removed.
        let mut part = Self { writer: None, sealed: None, temporary, path, is_published: false, bytes: 0 };
        let writer = SerializedFileWriter::new(file, schema, properties);
        part.writer = Some(writer.map_err(|error| part.failure(error))?);
        Ok(part)
    }

    /// Writes what the columns hold as one row group.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write_row_group(&mut self, buffers: &mut [Buffer]) -> Result<(), ExportError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = (|| {
            let mut group = writer.next_row_group()?;
            for buffer in buffers {
                if let Some(column) = group.next_column()? {
                    buffer.write(column)?;
                }
            }
            group.close().map(|_metadata| ())
        })();
        written.map_err(|error| self.failure(error))
    }

    /// Ends the file and waits until it is on the disk; it is not visible yet.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn seal(&mut self) -> Result<(), ExportError> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        // Writes the footer, and what was held back. `into_inner` would do so too, but makes words of the
        // system's error, such as a full disk.
        writer.finish().map_err(|error| self.failure(error))?;
        let file = writer.inner().try_clone().map_err(|source| ExportError::of_write(&self.path, source))?;
        file.sync_all().map_err(|source| ExportError::of_write(&self.path, source))?;
        self.bytes = file.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        self.sealed = Some(file);
        Ok(())
    }

    /// Gives the sealed file its name, in place of one that had it; the length of the file in bytes.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub(super) fn publish(mut self) -> Result<u64, ExportError> {
        self.seal()?;
        let renamed = std::fs::rename(&self.temporary, &self.path);
        renamed.map_err(|source| ExportError::of_write(&self.path, source))?;
        self.is_published = true;
        // The name has to last as the bytes do. A file system that cannot sync a directory loses no more than
        // the name.
        if let Some(directory) = self.path.parent() {
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(self.bytes)
    }

    fn failure(&self, error: ParquetError) -> ExportError {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(source) => ExportError::of_write(&self.path, *source),
                Err(other) => ExportError::Encode(ParquetError::External(other)),
            },
            other => ExportError::Encode(other),
        }
    }
}

enum Failed {
    ToMake(ExportError),
    ToOpen(io::Error),
}

/// Opens a file in its directory, which is made. Another agent may remove an empty directory just then: it is
/// made again.
fn open(place: &Place, directory: &Path, path: &Path) -> Result<File, Failed> {
    let mut attempt = 1;
    loop {
        place.make(directory).map_err(Failed::ToMake)?;
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(PRIVATE_FILE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            opened => return opened.map_err(Failed::ToOpen),
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        // What the writer still holds back must not be written after this.
        drop(self.writer.take());
        let _ = std::fs::remove_file(&self.temporary);
    }
}
