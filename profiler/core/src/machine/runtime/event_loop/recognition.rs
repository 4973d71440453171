//! Whether a thread runs an event loop, of which kind it is, and how it writes.
//!
//! In: what its process has loaded, what its calls show. Out: its kind.

use crate::loop_kind::{LoopKind, Shown};
use crate::machine::wire::request::{LastChunks, RequestKey};

/// As what a loop is recognised.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Recognition {
    /// Its thread goes from the task in which it looks to others and back.
    pub(in crate::machine) has_tasks: bool,
    /// The loop serves several connections at once. Either it reads requests and clients are among what it
    /// waits for, or it has left one request unfinished for another, or it has answered one that it had left
    /// to wait for its listener.
    pub(in crate::machine) confirmed: bool,
    /// The request that it left last, not answered, to wait for its listener. If it answers that itself, it
    /// is a loop.
    pub(in crate::machine) has_left: Option<RequestKey>,
    /// Only that it may be gevent's hub shows that it is a loop.
    pub(in crate::machine) is_hub: bool,
    /// Whose it may be, by what its process has loaded.
    pub(in crate::machine) loaded: &'static LoopKind,
    /// Which kind it is, as far as its calls have shown: by what it does that other kinds do not.
    pub(super) kind: &'static LoopKind,
    /// What its calls have shown of that.
    shown: Shown,
    /// The loop read last in another context than the one in which it looks: asyncio runs each callback in
    /// its own.
    pub(in crate::machine) reads_beside: bool,
    /// How it writes last chunks.
    pub(in crate::machine) last_chunks: LastChunks,
}

impl Recognition {
    /// The loop looks, in a process that may run loops of this kind. `is_one_shot`: its registration for its
    /// listener is good for one event only.
    pub(in crate::machine) fn may_be_of(&mut self, loaded: &'static LoopKind, is_one_shot: bool) {
        self.loaded = loaded;
        self.shown.is_one_shot |= is_one_shot;
        self.kind = loaded.shown(self.shown);
    }

    /// Whether it may be asyncio's, whose requests take more than one iteration from the read to the answer.
    pub(super) const fn may_be_asyncio(&self) -> bool {
        self.has_tasks && !self.shown.is_prompt
    }

    /// A request is answered in the iteration in which it was read (`is_prompt`), or in the next
    /// (`has_deferred`).
    pub(super) fn answers(&mut self, is_prompt: bool, has_deferred: bool) {
        self.shown.is_prompt |= is_prompt;
        self.shown.has_deferred |= has_deferred;
        self.kind = self.loaded.shown(self.shown);
    }
}
