//! Reading a recording: whole frames are delivered, damaged ones passed over and counted.
//!
//! In: a file, possibly cut off, damaged or hostile. Out: its items in the order in which they were recorded,
//! and a [`ReadSummary`] that says what could not be read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use profiler_common::record::slice::SliceRecord;
use profiler_core::fact::FactRecord;
use profiler_core::model::Losses;
use profiler_core::stream::Item;

use super::format::{
    FILE_HEADER_BYTES, FORMAT_VERSION, FRAME_TRAILER, FileHeader, MAGIC, MAX_EXPANSION, MAX_RAW_BYTES, Parsed,
};
use super::item::{self, HEAD_BYTES};
use super::layout::is_known;
use super::pack::Unpacker;
use super::scan::Scanner;
use super::write::Totals;

/// Why a file cannot be read as a recording at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {}; name the file that wsgi-trace record wrote", path.display(), plain(source))]
    Unreadable {
        /// As the user named it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty: the recording was never begun, or its first write failed; record again", path.display())]
    Empty {
        /// As the user named it.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a recording of wsgi-trace; wsgi-trace record makes one", path.display())]
    NotARecording {
        /// As the user named it.
        path: PathBuf,
    },
    /// The file begins like a recording but ends within its header, or the header is damaged.
    #[error("the first {FILE_HEADER_BYTES} bytes of {} are damaged or cut off: nothing in it can be read; record again", path.display())]
    DamagedHeader {
        /// As the user named it.
        path: PathBuf,
    },
    /// The file's format is newer than this program.
    #[error(
        "{} has format version {found}, this program reads up to version {supported}: use a newer wsgi-trace",
        path.display()
    )]
    NewerVersion {
        /// As the user named it.
        path: PathBuf,
        /// Version of the file.
        found: u16,
        /// Newest version that can be read.
        supported: u16,
    },
    /// The kernel records in the file are laid out differently from ours.
    #[error(
        "{} was written by wsgi-trace {tool_version}, whose kernel records are laid out differently: \
         read it with that version",
        path.display()
    )]
    UnsupportedLayout {
        /// As the user named it.
        path: PathBuf,
        /// Version of the program that wrote the file.
        tool_version: String,
    },
}

/// How much of a recording could be read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Items delivered.
    pub items: u64,
    /// Whole frames of items read.
    pub frames: u64,
    /// Bytes of the file that belong to no whole frame.
    pub unreadable_bytes: u64,
    /// Items within whole frames that could not be read.
    pub unreadable_items: u64,
    /// Items that the trailer counts and that were not delivered, unreadable ones among them. Without a
    /// trailer nobody knows, and it is 0.
    pub missing_items: u64,
    /// The recording has no end: it was cut off, or its writer died.
    pub truncated: bool,
    /// The system refused to read on.
    pub read_error: Option<String>,
}

impl ReadSummary {
    /// Everything that was recorded was read.
    pub const fn is_complete(&self) -> bool {
        self.unreadable_bytes == 0
            && self.unreadable_items == 0
            && self.missing_items == 0
            && !self.truncated
            && self.read_error.is_none()
    }

    /// Tells the losses of a report what the recording could not give; for when it was read to its end.
    pub const fn tell(&self, losses: &mut Losses) {
        losses.unreadable_bytes = self.unreadable_bytes;
        losses.unreadable_items = self.unreadable_items;
        losses.missing_items = self.missing_items;
        losses.recording_truncated |= self.truncated;
    }
}

/// An open recording: an iterator over its items.
#[derive(Debug)]
pub struct Recording<R = File> {
    scanner: Scanner<R>,
    tool_version: String,
    /// The last item that lies in two parts in its frame.
    joined: Vec<u8>,
    /// The frame as it is in the file.
    packed: Vec<u8>,
    /// Takes that apart.
    unpacker: Unpacker,
    /// How many bytes of items that frame may hold, and how many it may still hold.
    granted_bytes: usize,
    left_bytes: usize,
    /// Bytes of items in all frames before it.
    unpacked_bytes: u64,
    /// Items of that frame not yet taken.
    left_items: u32,
    trailer: Option<Totals>,
    has_trailer: bool,
    items: u64,
    frames: u64,
    unreadable_items: u64,
}

impl Recording {
    /// Opens the recording at `path`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file =
            File::open(path).map_err(|source| OpenError::Unreadable { path: path.to_path_buf(), source })?;
        Self::from_reader(file, path)
    }
}

impl<R: Read> Recording<R> {
    /// Reads a recording from anywhere; `path` is what errors name.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn from_reader(source: R, path: &Path) -> Result<Self, OpenError> {
        let path = || path.to_path_buf();
        let mut scanner = Scanner::new(source);
        let head = scanner.peek(FILE_HEADER_BYTES);
        let have = head.len();
        let looks_right = head.starts_with(MAGIC.get(..have.min(MAGIC.len())).unwrap_or_default());
        let whole = head.first_chunk::<FILE_HEADER_BYTES>().map(FileHeader::parse);
        if let Some(error) = scanner.failure() {
            return Err(OpenError::Unreadable { path: path(), source: copy(error) });
        }
        let header = match whole {
            Some(Parsed::Header(header)) => header,
            Some(Parsed::Damaged) => return Err(OpenError::DamagedHeader { path: path() }),
            None if have == 0 => return Err(OpenError::Empty { path: path() }),
            None if looks_right => return Err(OpenError::DamagedHeader { path: path() }),
            Some(Parsed::Foreign) | None => return Err(OpenError::NotARecording { path: path() }),
        };
        let FileHeader { version, layout_hash, tool_version } = header;
        match version {
            0 => return Err(OpenError::NotARecording { path: path() }),
            FORMAT_VERSION if is_known(layout_hash) => {}
            FORMAT_VERSION => return Err(OpenError::UnsupportedLayout { path: path(), tool_version }),
            found => {
                return Err(OpenError::NewerVersion { path: path(), found, supported: FORMAT_VERSION });
            }
        }
        scanner.consume(FILE_HEADER_BYTES);
        Ok(Self {
            scanner,
            tool_version,
            joined: Vec::new(),
            packed: Vec::new(),
            unpacker: Unpacker::default(),
            granted_bytes: 0,
            left_bytes: 0,
            unpacked_bytes: 0,
            left_items: 0,
            trailer: None,
            has_trailer: false,
            items: 0,
            frames: 0,
            unreadable_items: 0,
        })
    }

    /// Version of the program that wrote the recording.
    pub fn tool_version(&self) -> &str {
        &self.tool_version
    }

    /// How much could be read so far; final once the iterator has ended.
    pub fn summary(&self) -> ReadSummary {
        let counted = self.trailer.map_or(0, |totals| totals.items);
        ReadSummary {
            items: self.items,
            frames: self.frames,
            unreadable_bytes: self.scanner.unreadable_bytes,
            unreadable_items: self.unreadable_items,
            missing_items: counted.saturating_sub(self.items),
            truncated: !self.has_trailer,
            read_error: self.scanner.failure().map(ToString::to_string),
        }
    }

    /// The next item, where it lies; `None` at the end. For whoever is done with one before it takes the
    /// next: the iterator copies each.
    pub fn next_item(&mut self) -> Option<Item<&[u8]>> {
        // Nearly all are slices.
        if let Some(place) = self.take_slice() {
            return Some(Item::Kernel(self.unpacker.slice(place)));
        }
        let place = loop {
            if self.unpacker.is_at_end() {
                if !self.next_frame() {
                    return None;
                }
                continue;
            }
            match self.take_packed() {
                Found::Item(place) => {
                    self.left_items = self.left_items.saturating_sub(1);
                    self.items = self.items.saturating_add(1);
                    break place;
                }
                Found::Unreadable => {
                    self.left_items = self.left_items.saturating_sub(1);
                    self.unreadable_items = self.unreadable_items.saturating_add(1);
                }
                Found::Broken => {
                    let lost = u64::from(self.left_items.max(1));
                    self.unreadable_items = self.unreadable_items.saturating_add(lost);
                }
            }
        };
        Some(match place {
            Location::Fixed(place) => Item::Kernel(self.unpacker.fixed(place)),
            Location::Joined => Item::Kernel(&self.joined),
            Location::Frame(range) => Item::Kernel(self.packed.get(range)?),
            Location::Fact(fact) => Item::Fact(fact),
        })
    }

    /// Takes the next item, if it is a whole slice: its place.
    #[inline]
    fn take_slice(&mut self) -> Option<usize> {
        let left_bytes = self.left_bytes.checked_sub(size_of::<SliceRecord>() + HEAD_BYTES)?;
        let place = self.unpacker.next_slice(&self.packed)?;
        self.left_bytes = left_bytes;
        self.left_items = self.left_items.saturating_sub(1);
        self.items = self.items.saturating_add(1);
        Some(place)
    }

    /// Takes the next item of a packed frame that is not at its end.
    #[inline]
    fn take_packed(&mut self) -> Found {
        let Some(item) = self.unpacker.next(&self.packed) else { return self.give_up() };
        let length_bytes = item.length_bytes.saturating_add(HEAD_BYTES);
        let Some(left_bytes) = self.left_bytes.checked_sub(length_bytes) else { return self.give_up() };
        self.left_bytes = left_bytes;
        match item.fixed {
            Some(place) if item.bytes.is_empty() => Found::Item(Location::Fixed(place)),
            fixed => self.take_apart(fixed, item.tag, item.bytes),
        }
    }

    /// Takes an item that is more than the fixed part of a kernel record, or none.
    fn take_apart(&mut self, fixed: Option<usize>, tag: u8, range: Range<usize>) -> Found {
        let bytes = self.packed.get(range.clone()).unwrap_or_default();
        let Some(place) = fixed else {
            return match item::read(tag, bytes) {
                Some(Item::Kernel(_)) => Found::Item(Location::Frame(range)),
                Some(Item::Fact(fact)) => Found::Item(Location::Fact(fact)),
                None => Found::Unreadable,
            };
        };
        self.joined.clear();
        self.joined.extend_from_slice(self.unpacker.fixed(place));
        self.joined.extend_from_slice(bytes);
        Found::Item(Location::Joined)
    }

    /// Nothing that follows in the frame can be taken: it cannot be distinguished, or would be too much.
    fn give_up(&mut self) -> Found {
        self.unpacker = Unpacker::default();
        Found::Broken
    }

    /// What the frame that was just read may hold.
    fn most_bytes(&self) -> usize {
        let left = MAX_EXPANSION.of(self.scanner.consumed_bytes).saturating_sub(self.unpacked_bytes);
        usize::try_from(left).unwrap_or(usize::MAX).min(MAX_RAW_BYTES)
    }

    /// Takes the next frame; `false` at the end.
    fn next_frame(&mut self) -> bool {
        let unpacked_bytes = self.granted_bytes.saturating_sub(self.left_bytes) as u64;
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(unpacked_bytes);
        (self.granted_bytes, self.left_bytes) = (0, 0);
        let Some(frame) = self.scanner.next_frame(&mut self.packed) else { return false };
        if frame.kind == FRAME_TRAILER {
            self.has_trailer = true;
            self.trailer = serde_json::from_slice(&self.packed).ok();
            return true;
        }
        self.frames = self.frames.saturating_add(1);
        self.left_items = frame.items;
        if let Some(unpacker) = Unpacker::new(&self.packed) {
            self.granted_bytes = self.most_bytes();
            self.left_bytes = self.granted_bytes;
            self.unpacker = unpacker;
        } else {
            let lost = u64::from(frame.items.max(1));
            self.unreadable_items = self.unreadable_items.saturating_add(lost);
        }
        true
    }
}

/// Where an item lies that was found.
#[derive(Debug)]
enum Location {
    /// A kernel record that is nothing but its fixed part.
    Fixed(usize),
    /// A kernel record that was put together.
    Joined,
    /// A kernel record in the frame.
    Frame(Range<usize>),
    /// Nowhere any more: a fact.
    Fact(Box<FactRecord>),
}

/// What was found in a frame.
#[derive(Debug)]
enum Found {
    Item(Location),
    /// One item that cannot be read; the next one can be tried.
    Unreadable,
    /// Nothing that follows can be distinguished.
    Broken,
}

impl<R: Read> Iterator for Recording<R> {
    type Item = Item<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.next_item()? {
            Item::Kernel(bytes) => Item::Kernel(Bytes::copy_from_slice(bytes)),
            Item::Fact(fact) => Item::Fact(fact),
        })
    }
}

/// What the system said, in its own words alone.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this user may not (recordings are for their owner alone)".to_owned()
        }
        _ => crate::output_file::plain(error),
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}
