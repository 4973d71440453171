//! Bounded reads.
//!
//! In: a path. Out: at most so many bytes, lines or entries of it.

use std::fs::{File, read_dir, read_link};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

/// Longest line looked at.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The first `limit` bytes of a file.
pub(super) fn bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut result = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut result)?;
    Ok(result)
}

/// Whether the first `limit` bytes of a file hold `wanted`. Of a large file only a piece is in memory at a
/// time: room for all of it takes the kernel longer to give than the search.
pub(super) fn contains(path: &Path, limit: u64, wanted: &[u8]) -> io::Result<bool> {
    const PIECE_BYTES: u64 = 128 * 1024;
    let finder = memchr::memmem::Finder::new(wanted);
    let mut file = File::open(path)?.take(limit);
    let mut piece = Vec::new();
    loop {
        if (&mut file).take(PIECE_BYTES).read_to_end(&mut piece)? == 0 {
            return Ok(false);
        }
        if finder.find(&piece).is_some() {
            return Ok(true);
        }
        // What is wanted may lie across the border of two pieces.
        let done = piece.len().saturating_sub(wanted.len().saturating_sub(1));
        piece.drain(..done);
    }
}

/// The first `limit` bytes of a file as text; what is not UTF-8 is replaced.
pub(super) fn text(path: &Path, limit: u64) -> io::Result<String> {
    bytes(path, limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Calls `each` with every line of the first `limit` bytes until it returns `false`.
pub(super) fn lines(path: &Path, limit: u64, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path)?.take(limit));
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if !each(&String::from_utf8_lossy(&line)) {
            return Ok(());
        }
    }
}

/// Where a link points; what is not UTF-8 is replaced.
pub(super) fn link(path: &Path) -> io::Result<String> {
    read_link(path).map(|target| target.to_string_lossy().into_owned())
}

/// The entries of a directory whose names are numbers, ascending, at most `limit`.
pub(super) fn numbers(path: &Path, limit: usize) -> io::Result<Vec<u32>> {
    let mut result: Vec<u32> = read_dir(path)?
        .map_while(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .take(limit)
        .collect();
    result.sort_unstable();
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_lies_across_a_border_of_pieces_is_found_and_what_lies_behind_the_limit_is_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![b'x'; 128 * 1024 - 3]).unwrap();
        file.write_all(b"wanted").unwrap();
        file.write_all(&vec![b'x'; 300_000]).unwrap();
        let holds = |limit, wanted: &[u8]| contains(file.path(), limit, wanted).unwrap();
        assert!(holds(u64::MAX, b"wanted"));
        assert!(!holds(128 * 1024, b"wanted"));
        assert!(!holds(u64::MAX, b"wantedy"));
        assert!(contains("/nowhere".as_ref(), 1, b"wanted").is_err());
    }
}
