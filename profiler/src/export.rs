//! Rows for other engines: a recording as Parquet files, which DuckDB, Spark and others read.
//!
//! In: recordings. Out: a directory with one subdirectory a table, partitioned as Hive does it.
//! `docs/parquet.md` has every column, made from the columns in `tables`. Each file is written whole or not
//! at all.

mod buffer;
mod column;
mod context;
mod endpoints;
mod file;
mod place;
mod recording;
pub mod reference;
mod rows;
mod stream;
mod table;
mod tables;

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

pub use context::Labels;
pub use recording::export;
pub use rows::Written;
pub use stream::{Courier, Settings, Totals};
pub use table::SCHEMA_VERSION;

use crate::output_file::plain;
use crate::session::SessionError;

/// Why a recording was not exported. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A directory of the export cannot be made.
    #[error("cannot make the directory {}: {}; name a place where this user may write", path.display(), plain(source))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is full, or a quota or size limit is reached.
    #[error("no space left for {}: nothing of this recording is left there; free some space or name another place", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed, for another reason.
    #[error("cannot write {}: {}; nothing of this recording is left there", path.display(), plain(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The rows cannot be encoded: a fault of this program.
    #[error("the rows cannot be encoded as Parquet: {0}; please report this with the recording")]
    Encode(ParquetError),
}

impl ExportError {
    fn of_write(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Write { path, source },
        }
    }
}
