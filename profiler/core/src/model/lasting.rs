//! Connections that became something else: they last, and are no requests any more.
//!
//! In: responses' heads, and when each such connection ended. Out: [`Lasting`], a row of the report, and
//! [`Open`], what had not ended with the window.

use crate::model::slot::Holding;
use crate::phase::Phases;

closed_list! {
    /// What a connection became by the head of a response.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Became {
        Upgraded = "upgraded": "Another protocol: a WebSocket (status 101), or a tunnel (CONNECT).",
        Stream = "stream": "A stream of events (text/event-stream) without a length.",
    }
}

impl Became {
    /// What holds a slot that serves it.
    pub const fn holding(self) -> Holding {
        match self {
            Self::Upgraded => Holding::Upgraded,
            Self::Stream => Holding::Stream,
        }
    }
}

/// Connections that became the same, by one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// What they became.
    pub became: Became,
    /// Method of the request that asked for it.
    pub method: String,
    /// Path of that request, with numeric and UUID segments folded. Hostile input.
    pub path_shape: String,
    /// How many there were.
    pub count: u64,
    /// How many of them were open at the window's end.
    pub open: u64,
    /// Of the one that lasted longest, from the head of the response on: how long.
    pub longest_ns: u64,
    /// How long they lasted in the window, in all.
    pub lasted_ns: u64,
    /// Bytes received on them.
    pub bytes_in: u64,
    /// Bytes sent on them.
    pub bytes_out: u64,
}

/// Requests that had not ended when the window did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// How many.
    pub count: u64,
    /// For how long the longest of them had been open.
    pub longest_ns: u64,
    /// Those of them that nobody serves yet.
    pub in_line: InLine,
    /// For how long the longest of the others had been open.
    pub served_longest_ns: u64,
    /// Those of the others that are known to have a slot.
    pub in_slots: u64,
    /// Where their time went so far.
    pub phases: Phases,
}

/// Requests that waited for somebody to serve them as the window ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InLine {
    /// How many.
    pub count: u64,
    /// For how long the first of them had waited.
    pub longest_ns: u64,
    /// Those of them that another thread has read: a slot may have taken one without a trace of that yet.
    pub maybe_taken: u64,
}

/// Whether somebody serves an open request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody does; `in_slot`: and has a slot.
    Served {
        /// In a slot.
        in_slot: bool,
    },
    /// Nobody does, as far as is known. `is_read`: another thread has read it.
    InLine {
        /// Read.
        is_read: bool,
    },
}

impl Open {
    /// One more, open for so long.
    pub fn add(&mut self, total_ns: u64, phases: &Phases, standing: Standing) {
        self.count = self.count.saturating_add(1);
        self.longest_ns = self.longest_ns.max(total_ns);
        self.phases.add_all(phases);
        match standing {
            Standing::InLine { is_read } => {
                self.in_line.count = self.in_line.count.saturating_add(1);
                self.in_line.longest_ns = self.in_line.longest_ns.max(total_ns);
                self.in_line.maybe_taken = self.in_line.maybe_taken.saturating_add(u64::from(is_read));
            }
            Standing::Served { in_slot } => {
                self.served_longest_ns = self.served_longest_ns.max(total_ns);
                self.in_slots = self.in_slots.saturating_add(u64::from(in_slot));
            }
        }
    }

    /// How many wait for a slot, if so many are busy: one that is busy without a request that is known to be
    /// in it has one of those that may be taken.
    pub fn in_line_beside(&self, busy: u32) -> u64 {
        let unaccounted = u64::from(busy).saturating_sub(self.in_slots);
        self.in_line.count.saturating_sub(self.in_line.maybe_taken.min(unaccounted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_busy_without_a_known_request_has_one_that_may_be_taken() {
        let mut open = Open::default();
        let in_line = Standing::InLine { is_read: true };
        for standing in [Standing::Served { in_slot: true }, in_line, in_line, in_line] {
            open.add(10, &Phases::default(), standing);
        }
        assert_eq!((open.in_line_beside(1), open.in_line_beside(2), open.in_line_beside(9)), (3, 2, 0));
        open.add(10, &Phases::default(), Standing::InLine { is_read: false });
        assert_eq!(open.in_line_beside(9), 1, "nobody has read it");
    }
}
