//! An initial file system for the emulated machine, in the kernel's "newc" cpio format.
//!
//! In: programs and the names they get. Out: one file for QEMU's `-initrd`, with the directories that init mounts on.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes the archive.
pub(super) fn write(image: &Path, programs: &[(&str, PathBuf)]) -> io::Result<()> {
    let mut archive = Archive { output: BufWriter::new(File::create(image)?), inode: 0 };
    for name in ["proc", "sys", "dev", "tmp"] {
        archive.entry(name, DIRECTORY, (0, 0), &[])?;
    }
    // Where the kernel opens init's three standard descriptors.
    archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
    for (name, path) in programs {
        archive.entry(name, PROGRAM, (0, 0), &fs::read(path)?)?;
    }
    archive.entry("TRAILER!!!", 0, (0, 0), &[])?;
    archive.output.flush()
}

struct Archive<W> {
    output: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // inode, mode, uid, gid, links, mtime, size, device of the file (two), device it is (two), name's size, checksum
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
        archive.entry("init", PROGRAM, (0, 0), b"hello").unwrap();
        let bytes = archive.output;
        assert_eq!(bytes.len() % 4, 0);
        // 110 bytes of header and "init\0" end at 115, padded to 116.
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[14..22], b"000081ED");
    }
}
