//! The questions as files of SQL: for another engine, or to begin another question from.
//!
//! In: the directory of the tables, one for the files. Out: a file for each question, and for each engine one
//! that makes the tables. Nothing that says something else is replaced.

use std::fs::{DirBuilder, read, symlink_metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::QUESTIONS;
use crate::output_file::{OutputFileError, create, plain};

/// What makes the tables, an engine each.
const TABLES: [(&str, &str); 2] = [
    ("tables-duckdb", include_str!("../../../queries/tables-duckdb.sql")),
    ("tables-spark", include_str!("../../../queries/tables-spark.sql")),
];
/// The directory that these name, in a statement and in a comment.
const NAMED: [(&str, &str, &str); 2] = [("'fleet/", "'", "/"), ("`fleet`", "`", "`")];
/// For its owner alone, as all that is written.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Why they are not written.
#[derive(Debug, thiserror::Error)]
pub enum SqlFileError {
    /// A directory whose name means something else in SQL.
    #[error("{:?} cannot be named in SQL: name the directory without quotes, backslashes and control characters", .0)]
    Name(String),
    /// No directory for them.
    #[error("{} cannot be made: {}; name a place where this user may write", path.display(), plain(source))]
    Directory {
        /// As the user named it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody has changed it.
    #[error("{} is there and says something else: name another directory, or remove it", .0.display())]
    Differs(PathBuf),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputFileError),
}

/// Writes them; how many there are.
///
/// # Errors
/// [`SqlFileError`]. Where a file is there already and says something else, none is written.
pub fn write(tables: &Path, to: &Path) -> Result<usize, SqlFileError> {
    let tables = tables.to_string_lossy();
    let tables = tables.trim_end_matches('/');
    if tables.chars().any(|c| c.is_control() || matches!(c, '\'' | '"' | '`' | '\\')) {
        return Err(SqlFileError::Name(tables.to_owned()));
    }
    let questions = QUESTIONS.iter().map(|question| (question.name, question.file().to_owned()));
    let makers = TABLES.iter().map(|(name, text)| (*name, of_tables(text, tables)));
    let files: Vec<(PathBuf, String)> =
        questions.chain(makers).map(|(name, text)| (to.join(name).with_extension("sql"), text)).collect();
    for (path, text) in &files {
        let is_file = symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
        if is_file && read(path).ok().as_deref() != Some(text.as_bytes()) {
            return Err(SqlFileError::Differs(path.clone()));
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIRECTORY)
        .create(to)
        .map_err(|source| SqlFileError::Directory { path: to.to_path_buf(), source })?;
    for (path, text) in &files {
        create(path)?
            .write_all(text.as_bytes())
            .map_err(|source| OutputFileError::from_write(path, source))?;
    }
    Ok(files.len())
}

/// What makes the tables that lie in this directory.
fn of_tables(text: &str, tables: &str) -> String {
    NAMED.iter().fold(text.to_owned(), |text, (named, before, after)| {
        text.replace(named, &format!("{before}{tables}{after}"))
    })
}
