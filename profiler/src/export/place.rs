//! Where a file of the export lies: a directory for each table, and in it a partition for each service, date
//! and host.
//!
//! In: the directory that the user named, what the rows are of. Out: paths that any engine reads as Hive
//! partitions (`requests/service=shop/date=2026-01-31/host=web-1/ID.parquet`).

use std::cell::RefCell;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::ExportError;

/// For their owner alone, as every file of ours.
pub(super) const PRIVATE_DIRECTORY: u32 = 0o700;
/// Longest value of a partition, in bytes as written: file systems allow 255 with its key.
const MAX_VALUE_BYTES: usize = 200;

/// What names the files of one recording, or of one set of it. Directories that were made for them go with
/// it, unless something is in them.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    service: String,
    host: String,
    /// Name of the files, without its end.
    stem: String,
    /// Directories that were made, each after the one that holds it.
    made: RefCell<Vec<PathBuf>>,
}

impl Place {
    pub(super) const fn new(root: PathBuf, service: String, host: String, stem: String) -> Self {
        Self { root, service, host, stem, made: RefCell::new(Vec::new()) }
    }

    /// Makes a directory below the root, and those that it lies in.
    ///
    /// # Errors
    /// If one of them cannot be made.
    pub(super) fn make(&self, directory: &Path) -> Result<(), ExportError> {
        for directory in std::iter::once(self.root.clone()).chain(below(&self.root, directory)) {
            match DirBuilder::new().mode(PRIVATE_DIRECTORY).create(&directory) {
                Ok(()) => self.made.borrow_mut().push(directory),
                // Another run may have made it just now.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ExportError::Directory { path: directory, source }),
            }
        }
        Ok(())
    }

    /// The directory and the name of a table's file of one day.
    pub(super) fn of(&self, table: &str, day: i64) -> (PathBuf, String) {
        let directory = self
            .root
            .join(table)
            .join(format!("service={}", value(&self.service)))
            .join(format!("date={}", date(day)))
            .join(format!("host={}", value(&self.host)));
        (directory, format!("{}.parquet", self.stem))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Files that were published keep theirs: a directory that holds something cannot be removed like
        // this.
        for directory in self.made.borrow().iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// The parents of `directory` up to and without `root`, the outermost first.
fn below(root: &Path, directory: &Path) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> =
        directory.ancestors().take_while(|ancestor| *ancestor != root).map(Path::to_path_buf).collect();
    list.reverse();
    list
}

/// A partition's value as a part of a path: what is neither letter, digit, `.`, `_` nor `-` as `%` and two
/// digits, as Hive writes it. Names come from recordings, so they are hostile.
pub(super) fn value(text: &str) -> String {
    if text.is_empty() {
        return "unknown".to_owned();
    }
    let mut written = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let next = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        if written.len().saturating_add(next.len()) > MAX_VALUE_BYTES {
            break;
        }
        written.push_str(&next);
    }
    written
}

/// A day since 1970 as `2026-01-31`.
fn date(day: i64) -> String {
    let moment = crate::report::unit::moment(day.saturating_mul(86_400_000_000_000));
    moment.split(' ').next().unwrap_or_default().to_owned()
}

/// The day of a moment, both since 1970.
pub(super) const fn day_of(unix_ns: i64) -> i64 {
    unix_ns.div_euclid(86_400_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_in_the_partitions_that_engines_expect() {
        let name = |text: &str| text.to_owned();
        let place = Place::new(PathBuf::from("out"), name("shop"), name("web-1"), name("abc"));
        let (directory, name) = place.of("requests", day_of(1_706_659_200_000_000_000));
        assert_eq!(directory, Path::new("out/requests/service=shop/date=2024-01-31/host=web-1"));
        assert_eq!(name, "abc.parquet");
        assert_eq!(
            below(Path::new("out"), &directory).first().map(PathBuf::as_path),
            Some(Path::new("out/requests"))
        );
    }

    #[test]
    fn no_name_leads_out_of_its_directory_or_is_too_long_for_one() {
        assert_eq!(value("../../etc/passwd"), "..%2F..%2Fetc%2Fpasswd");
        assert_eq!(value("unknown_service:wsgi"), "unknown_service%3Awsgi");
        assert_eq!(value(""), "unknown");
        assert!(value(&"é".repeat(500)).len() <= MAX_VALUE_BYTES);
        assert!(!value(&"é".repeat(500)).ends_with('%'));
    }

    #[test]
    fn days_before_1970_are_whole_too() {
        assert_eq!(date(day_of(-1)), "1969-12-31");
        assert_eq!(date(day_of(0)), "1970-01-01");
    }
}
