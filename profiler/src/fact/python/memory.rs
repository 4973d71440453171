//! The memory of a process, read and never written.
//!
//! In: `/proc/PID/mem`. Out: bytes. A read that does not get all it asked for is an error.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use crate::capability::LOOKING_WANTED;
use crate::fact::Proc;

/// Why memory could not be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::fact) enum MemoryError {
    /// The kernel does not let us, or there is nothing at the address.
    #[error("{}", said(.0))]
    Read(#[from] io::Error),
    /// The address cannot be one of a process.
    #[error("an address beyond user space")]
    Address,
    /// As much was read as may be.
    #[error("more to read than is read at a time")]
    Budget,
}

/// What would let us, where that is what is missing.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("not permitted; with {LOOKING_WANTED} it is"),
        _ => error.to_string(),
    }
}

/// User space of `x86_64` ends here, five-level page tables included.
const END: u64 = 1 << 56;

/// Something that has bytes at addresses.
pub(in crate::fact) trait Memory {
    /// Fills `bytes` with what is at `address`.
    ///
    /// # Errors
    /// If not all of it can be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError>;

    /// The 8 bytes at `address`.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn word(&self, address: u64) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// The memory of a running process; it stays that of the program it ran when this was opened.
#[derive(Debug)]
pub(in crate::fact) struct ProcessMemory(File);

impl ProcessMemory {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(in crate::fact) fn open(proc: &Proc, tgid: u32) -> Result<Self, MemoryError> {
        Ok(Self(File::open(proc.of(tgid, "mem"))?))
    }
}

impl Memory for ProcessMemory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if address.checked_add(length).is_none_or(|end| end > END) {
            return Err(MemoryError::Address);
        }
        Ok(self.0.read_exact_at(bytes, address)?)
    }
}

/// A memory of which only so much is read.
pub(super) struct Metered<'a> {
    memory: &'a dyn Memory,
    reads_left: Cell<u32>,
    until: Instant,
    is_spent: Cell<bool>,
}

impl<'a> Metered<'a> {
    /// At most `reads` of a memory, and none from `until` on: a page may have to come from a disk.
    pub(super) const fn new(memory: &'a dyn Memory, reads: u32, until: Instant) -> Self {
        Self { memory, reads_left: Cell::new(reads), until, is_spent: Cell::new(false) }
    }

    /// Whether more was asked for.
    pub(super) const fn is_spent(&self) -> bool {
        self.is_spent.get()
    }
}

impl Memory for Metered<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let left = self.reads_left.get().checked_sub(1).filter(|_| Instant::now() < self.until);
        let Some(left) = left else {
            self.is_spent.set(true);
            return Err(MemoryError::Budget);
        };
        self.reads_left.set(left);
        self.memory.read(address, bytes)
    }
}
