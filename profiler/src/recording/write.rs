//! Writing a recording: items are gathered into frames, and a frame reaches the file in one write.
//!
//! In: items in the order of the stream, redacted already. Out: a file. Whatever ends the program, all frames
//! that were written can be read; when the disk fills, a half-written frame is cut off again and nothing more
//! is written.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use profiler_core::fact::FactRecord;
use profiler_core::stream::Item;
use serde::{Deserialize, Serialize};

use super::format::{
    FORMAT_VERSION, FRAME_HEADER_BYTES, FRAME_ITEMS, FRAME_TRAILER, FileHeader, FrameHeader, MAX_ITEM_BYTES,
};
use super::item;
use super::layout::LAYOUT_HASH;
use super::pack::pack;
use crate::output_file::{self, OutputFile, OutputFileError};

/// A frame is written when its items reach this many bytes before compression.
pub const FRAME_TARGET_BYTES: usize = 256 * 1024;

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be opened, or writing failed. What was written before stays readable.
    #[error(transparent)]
    Output(#[from] OutputFileError),
    /// An earlier write failed; nothing more is recorded.
    #[error("the recording ended early, when a write failed")]
    Stopped,
    /// An item is larger than any reader accepts; it alone is left out.
    #[error("an item of {bytes} bytes is too large for a recording (at most {MAX_ITEM_BYTES})")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A fact could not be written as JSON; it alone is left out.
    #[error("a fact could not be written as JSON: {0}")]
    Fact(#[from] serde_json::Error),
}

/// What a complete recording holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Kernel records and facts.
    pub items: u64,
    /// Kernel records.
    pub kernel_records: u64,
    /// Facts.
    pub facts: u64,
    /// Frames of items.
    pub frames: u64,
    /// Bytes of all items before compression, with their tags.
    pub raw_bytes: u64,
    /// Bytes of the file up to the trailer.
    pub file_bytes: u64,
}

/// Where a recording is written to.
pub trait Storage: Write {
    /// Cuts what was written back to `length_bytes`, where that is possible.
    fn cut_back(&mut self, length_bytes: u64);
    /// Makes sure that what was written is on the disk, and surfaces errors that were put off until then.
    ///
    /// # Errors
    /// The error of the system.
    fn settle(&mut self) -> io::Result<()>;
}

impl Storage for File {
    fn cut_back(&mut self, length_bytes: u64) {
        if self.metadata().is_ok_and(|metadata| metadata.is_file()) {
            // Half a frame at the end is only ugly: the reader passes over it.
            let _ = self.set_len(length_bytes);
            let _ = self.seek(SeekFrom::Start(length_bytes));
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        match self.sync_all() {
            // A device that cannot be synchronised.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Stopped,
    Finished,
}

/// Writes one recording.
#[derive(Debug)]
pub struct Recorder<S: Storage = File> {
    storage: S,
    path: PathBuf,
    state: State,
    /// Items of the frame that is being gathered.
    payload: Vec<u8>,
    payload_items: u32,
    /// The frame as it is written; kept for its memory.
    frame: Vec<u8>,
    totals: Totals,
}

impl Recorder {
    /// Creates (or replaces) the file at `path`: mode 0600, never through a link. `tool_version` goes into
    /// its header.
    ///
    /// # Errors
    /// [`RecordError::Output`], if the file cannot be created or its header not be written.
    pub fn create(path: &Path, tool_version: &str) -> Result<Self, RecordError> {
        Self::on(output_file::create(path)?, path, tool_version)
    }

    /// As [`Self::create`], with a file that was opened earlier.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn begin(file: OutputFile, tool_version: &str) -> Result<Self, RecordError> {
        let path = file.path().to_path_buf();
        Self::on(file.begin()?, &path, tool_version)
    }
}

impl<S: Storage> Recorder<S> {
    /// A recorder on any storage; `path` is what errors name.
    ///
    /// # Errors
    /// [`RecordError::Output`], if the header cannot be written.
    pub fn on(storage: S, path: &Path, tool_version: &str) -> Result<Self, RecordError> {
        let mut recorder = Self {
            storage,
            path: path.to_path_buf(),
            state: State::Writing,
            payload: Vec::with_capacity(FRAME_TARGET_BYTES + 64 * 1024),
            payload_items: 0,
            frame: Vec::new(),
            totals: Totals::default(),
        };
        let header = FileHeader {
            version: FORMAT_VERSION,
            layout_hash: LAYOUT_HASH,
            tool_version: tool_version.to_owned(),
        };
        recorder.frame = header.to_bytes();
        recorder.write_frame()?;
        Ok(recorder)
    }

    /// Records one item of the stream.
    ///
    /// # Errors
    /// See [`RecordError`]; after [`RecordError::Output`] every further call says [`RecordError::Stopped`].
    pub fn record<B: AsRef<[u8]>>(&mut self, item: &Item<B>) -> Result<(), RecordError> {
        match item {
            Item::Kernel(bytes) => self.record_kernel(bytes.as_ref()),
            Item::Fact(fact) => self.record_fact(fact),
        }
    }

    /// Records one raw kernel record, redacted already.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_kernel(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.make_room(record.len())?;
        item::put_kernel(&mut self.payload, record);
        self.totals.kernel_records = self.totals.kernel_records.saturating_add(1);
        self.added()
    }

    /// Records one fact.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_fact(&mut self, fact: &FactRecord) -> Result<(), RecordError> {
        let json = serde_json::to_vec(fact)?;
        self.make_room(json.len())?;
        item::put_fact(&mut self.payload, &json);
        self.totals.facts = self.totals.facts.saturating_add(1);
        self.added()
    }

    /// Writes what was gathered as a frame, so that it survives a sudden end; to be called about once a
    /// second.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        if self.state != State::Writing {
            return Err(RecordError::Stopped);
        }
        if self.payload_items == 0 {
            return Ok(());
        }
        self.seal(FRAME_ITEMS);
        self.totals.frames = self.totals.frames.saturating_add(1);
        self.write_frame()
    }

    /// Writes the rest and the trailer that marks a complete recording.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn finish(mut self) -> Result<Totals, RecordError> {
        self.flush()?;
        let totals = self.totals;
        self.payload = serde_json::to_vec(&totals)?;
        self.seal(FRAME_TRAILER);
        self.write_frame()?;
        self.state = State::Finished;
        self.storage.settle().map_err(|source| OutputFileError::from_write(&self.path, source))?;
        Ok(totals)
    }

    /// Bytes of items that are not in a frame yet.
    pub const fn pending_bytes(&self) -> usize {
        self.payload.len()
    }

    /// What was recorded so far (the last frame may not be written yet).
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    fn make_room(&self, bytes: usize) -> Result<(), RecordError> {
        if self.state != State::Writing {
            return Err(RecordError::Stopped);
        }
        if bytes > MAX_ITEM_BYTES { Err(RecordError::TooLarge { bytes }) } else { Ok(()) }
    }

    fn added(&mut self) -> Result<(), RecordError> {
        self.totals.items = self.totals.items.saturating_add(1);
        self.payload_items = self.payload_items.saturating_add(1);
        if self.payload.len() >= FRAME_TARGET_BYTES { self.flush() } else { Ok(()) }
    }

    /// Turns the payload into a frame and empties it.
    fn seal(&mut self, kind: u32) {
        if kind == FRAME_ITEMS {
            self.totals.raw_bytes = self.totals.raw_bytes.saturating_add(self.payload.len() as u64);
            self.payload = pack(&self.payload);
        }
        let room = lz4_flex::block::get_maximum_output_size(self.payload.len());
        self.frame.clear();
        self.frame.resize(FRAME_HEADER_BYTES.saturating_add(room), 0);
        let (head, body) = self.frame.split_at_mut(FRAME_HEADER_BYTES);
        // Cannot fail: there is room for what does not compress at all.
        let stored = lz4_flex::block::compress_into(&self.payload, body).unwrap_or(0);
        let body = body.get(..stored).unwrap_or_default();
        let header = FrameHeader {
            kind,
            items: self.payload_items,
            raw_bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            stored_bytes: u32::try_from(stored).unwrap_or(u32::MAX),
            payload_crc: crc32fast::hash(body),
        };
        head.copy_from_slice(&header.to_bytes());
        self.frame.truncate(FRAME_HEADER_BYTES.saturating_add(stored));
        self.payload.clear();
        self.payload_items = 0;
    }

    fn write_frame(&mut self) -> Result<(), RecordError> {
        if let Err(source) = self.storage.write_all(&self.frame) {
            self.state = State::Stopped;
            self.storage.cut_back(self.totals.file_bytes);
            return Err(OutputFileError::from_write(&self.path, source).into());
        }
        self.totals.file_bytes = self.totals.file_bytes.saturating_add(self.frame.len() as u64);
        Ok(())
    }
}

impl<S: Storage> Drop for Recorder<S> {
    /// What was gathered is written even when the recording is not finished; it stays without a trailer.
    fn drop(&mut self) {
        if self.state == State::Writing {
            let _ = self.flush();
        }
    }
}
