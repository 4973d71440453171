//! What a Python frame is of: read once from the memory of its process, so that a replay needs no process.
//!
//! In: nothing. Out: [`FrameSeen`]. From the traced process, so hostile: escape before printing.

use serde::{Deserialize, Serialize};

/// An instruction of a code object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameSeen {
    /// Process.
    pub tgid: u32,
    /// Address of the code object.
    pub code: u64,
    /// Address of the instruction.
    pub instruction: u64,
    /// The file, as the code object has it.
    pub file: String,
    /// Qualified name of the function.
    pub function: String,
    /// Line in the file; 0: the instruction is of no line.
    pub line: u32,
}
