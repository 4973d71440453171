//! An initial file system for the emulated machine, in the kernel's "newc" cpio format.
//!
//! In: trees of Debian's or none, each laid over those before it, more files and the names they get. Out: one
//! file for QEMU's `-initrd`, with the directories that init mounts on. Everything in it is root's.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const DIRECTORY: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Of a tree: what the kernel mounts over, and what no program reads.
const LEFT_OUT: [&str; 13] = [
    "boot",
    "dev",
    "proc",
    "sys",
    "tmp",
    "usr/lib/python3.13/pydoc_data",
    "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
];

/// Writes the archive.
pub(crate) fn write(image: &Path, trees: &[&Path], files: &[(&str, PathBuf)]) -> io::Result<()> {
    let mut archive = Archive { output: BufWriter::new(File::create(image)?), inode: 0 };
    for name in ["proc", "sys", "dev", "tmp", "opt"] {
        archive.entry(name, DIRECTORY, (0, 0), &[])?;
    }
    for tree in trees {
        archive.tree(tree, "")?;
    }
    // Where the kernel opens init's three standard descriptors.
    archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
    for (name, path) in files {
        archive.entry(name, fs::metadata(path)?.mode(), (0, 0), &fs::read(path)?)?;
    }
    archive.entry("TRAILER!!!", 0, (0, 0), &[])?;
    archive.output.flush()
}

struct Archive<W> {
    output: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// All that is in a directory, each under its path from `root`.
    fn tree(&mut self, root: &Path, below: &str) -> io::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = Path::new(below).join(entry.file_name()).to_string_lossy().into_owned();
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_symlink() {
                let to = fs::read_link(path)?;
                self.entry(&name, metadata.mode(), (0, 0), to.as_os_str().as_encoded_bytes())?;
            } else if metadata.is_file() {
                self.entry(&name, metadata.mode(), (0, 0), &fs::read(path)?)?;
            } else if metadata.is_dir() {
                self.entry(&name, metadata.mode(), (0, 0), &[])?;
                self.tree(root, &name)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // inode, mode, uid, gid, links, mtime, size, device of the file (two), device it is (two), name's
        // size, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(name.as_bytes())?;
        self.output.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.output.write_all(content)?;
        self.pad(content.len())
    }

    /// Header with name, and content, each end on a multiple of four.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        for _ in 0..length.next_multiple_of(4) - length {
            self.output.write_all(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_carry_their_sizes() {
        let mut archive = Archive { output: Vec::new(), inode: 0 };
        archive.entry("init", 0o100_755, (0, 0), b"hello").unwrap();
        let bytes = archive.output;
        assert_eq!(bytes.len() % 4, 0);
        // 110 bytes of header and "init\0" end at 115, padded to 116.
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[14..22], b"000081ED");
    }
}
