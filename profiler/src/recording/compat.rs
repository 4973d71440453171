//! Which recordings this version reads.
//!
//! In: the version number and the layout hash of a file. Out: yes, or which error. A change of the file's
//! format adds a row here; a change of the kernel records changes the layout hash by itself.

use super::layout::LAYOUT_HASH;

/// One version of the file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatVersion {
    /// Number in the file.
    pub number: u16,
    /// What it brought.
    pub brought: &'static str,
}

/// All versions that this version of the program reads, oldest first.
pub const FORMAT_VERSIONS: &[FormatVersion] = &[
    FormatVersion { number: 1, brought: "frames of raw kernel records and facts, LZ4 blocks, CRC-32" },
    FormatVersion { number: 2, brought: "packed frames: a stream for each field, less than half the bytes" },
];

/// The version that is written.
pub const FORMAT_VERSION: u16 = 2;

/// How a file's version and layout relate to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Readable.
    Supported,
    /// Of a version that did not exist yet.
    Newer,
    /// No version at all.
    Unknown,
    /// The format is known, but the kernel records in it are laid out differently.
    OtherLayout,
}

/// Judges a file.
pub(super) fn judge(version: u16, layout_hash: u64) -> Verdict {
    if version > FORMAT_VERSION {
        Verdict::Newer
    } else if !FORMAT_VERSIONS.iter().any(|known| known.number == version) {
        Verdict::Unknown
    } else if layout_hash != LAYOUT_HASH {
        Verdict::OtherLayout
    } else {
        Verdict::Supported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_is_written_is_the_newest_one_read() {
        assert_eq!(FORMAT_VERSIONS.last().map(|version| version.number), Some(FORMAT_VERSION));
        assert!(FORMAT_VERSIONS.is_sorted_by_key(|version| version.number));
    }

    #[test]
    fn only_known_versions_of_our_layout_are_read() {
        assert_eq!(judge(FORMAT_VERSION, LAYOUT_HASH), Verdict::Supported);
        assert_eq!(judge(FORMAT_VERSION + 1, LAYOUT_HASH), Verdict::Newer);
        assert_eq!(judge(FORMAT_VERSION + 1, 0), Verdict::Newer);
        assert_eq!(judge(0, LAYOUT_HASH), Verdict::Unknown);
        assert_eq!(judge(FORMAT_VERSION, LAYOUT_HASH ^ 1), Verdict::OtherLayout);
    }
}
