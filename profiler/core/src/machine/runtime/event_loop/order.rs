//! In which order asyncio goes on with requests, and what that tells of the reason.
//!
//! In: what a loop reads for whom, and who goes on, turn by turn. Out: whether whoever goes on now was let by a timer.
//!
//! What asyncio runs in a turn (`BaseEventLoop._run_once` in `asyncio/base_events.py`, CPython 3.8 to 3.14) is first all that callbacks of the turn
//! before made ready, in that order; then the callbacks of what its look found ready; then those of timers that had come due by the end of that
//! look. A task goes on by what a callback of the turn before made ready. So who goes on after a request whose first bytes were read in the turn before
//! was let by something that came after that read: by another read that was found ready with it, or by a timer.

/// Requests distinguished.
const MAX_HEARD: usize = 64;

/// Whom the loop has read for, and who of them has gone on.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Requests whose heads were read in the present turn after everything that may have let others go on.
    heard: Vec<u64>,
    /// The same of the turn before.
    heard_before: Vec<u64>,
    /// One of the turn before has gone on.
    is_past: bool,
    /// Something that the look found ready has been read since.
    has_read: bool,
}

impl Order {
    pub(super) fn next_turn(&mut self) {
        self.heard_before = std::mem::take(&mut self.heard);
        (self.is_past, self.has_read) = (false, false);
    }

    /// The loop looks after what it found ready: what the turn before made ready has had its turn.
    pub(super) const fn looks_after(&mut self) {
        self.has_read = true;
    }

    /// A request's head was read: that lets nobody else go on.
    pub(super) fn hears(&mut self, request: u64) {
        self.has_read = true;
        if self.heard.len() < MAX_HEARD {
            self.heard.push(request);
        }
    }

    /// Something was read that may let anybody go on.
    pub(super) fn may_let_any(&mut self) {
        self.has_read = true;
        self.heard.clear();
    }

    /// A request does something.
    pub(super) fn ran(&mut self, request: u64) {
        self.is_past |= !self.has_read && self.heard_before.contains(&request);
    }

    /// Who goes on now was let by a timer, as far as order tells.
    pub(super) const fn is_timer(&self) -> bool {
        self.is_past && !self.has_read
    }
}
