//! Code objects of one process, by name.
//!
//! In: frames of its threads, its memory. Out: the frames with file, function and line. What was read is
//! remembered, within bounds.

use std::collections::HashMap;

use profiler_core::fact::place::{PlaceSeen, PythonFrame, Whose};

use super::super::code::object::{Code, CodeLayout, identity, read};
use super::super::memory::Memory;
use super::super::stack::FrameAt;

/// Code objects that are remembered, and the bytes of their names and tables.
const MAX_CODES: usize = 16_384;
const MAX_CODE_BYTES: usize = 1024 * 1024;

/// Code objects of a process that are remembered.
#[derive(Debug)]
pub(super) struct Codes {
    layout: CodeLayout,
    known: HashMap<u64, Code>,
    /// Of their names and tables.
    bytes: usize,
    /// What it may have of these beside all other processes.
    most: usize,
}

impl Codes {
    /// None yet.
    pub(super) fn new(layout: CodeLayout) -> Self {
        Self { layout, known: HashMap::new(), bytes: 0, most: MAX_CODE_BYTES }
    }

    /// It may have so many bytes beside those of other processes.
    pub(super) fn may_have(&mut self, bytes: usize) {
        self.most = bytes.min(MAX_CODE_BYTES);
    }

    /// The code object of a frame that was named.
    pub(super) fn get(&self, frame: FrameAt) -> Option<&Code> {
        self.known.get(&frame.code)
    }

    /// Names frames, up to the first that has no name: half a stack would name the wrong caller.
    pub(super) fn name(
        &mut self,
        memory: &dyn Memory,
        frames: impl Iterator<Item = FrameAt>,
        is_cut: bool,
    ) -> PlaceSeen {
        let mut seen = PlaceSeen { is_cut, ..PlaceSeen::default() };
        for frame in frames {
            let Some(frame) = self.frame(memory, frame) else {
                seen.is_cut = true;
                break;
            };
            seen.frames.push(frame);
        }
        seen
    }

    fn frame(&mut self, memory: &dyn Memory, frame: FrameAt) -> Option<PythonFrame> {
        let FrameAt { code, instruction, identity: expected, .. } = frame;
        let known = self.known.get(&code).map(|known| known.identity);
        // What the kernel side has compared need not be read again.
        let now = match known.filter(|known| expected == Some(known.mixed())) {
            Some(known) => known,
            None => identity(memory, code, self.layout)?,
        };
        if expected.is_some_and(|expected| expected != now.mixed()) {
            return None;
        }
        if known != Some(now) {
            let read = read(memory, code, self.layout)?;
            // Another may have taken its place meanwhile.
            if read.identity != now || identity(memory, code, self.layout) != Some(now) {
                return None;
            }
            let bytes = read.bytes();
            if self.known.len() >= MAX_CODES || self.bytes.saturating_add(bytes) > self.most {
                self.known.clear();
                self.bytes = 0;
            }
            self.bytes += bytes;
            if let Some(before) = self.known.insert(code, read) {
                self.bytes = self.bytes.saturating_sub(before.bytes());
            }
        }
        let known = self.known.get(&code)?;
        let line = known.line(instruction).unwrap_or(0);
        let (file, function) = (known.file.clone(), known.function.clone());
        Some(PythonFrame { file, function, line, whose: Whose::Unknown })
    }
}
