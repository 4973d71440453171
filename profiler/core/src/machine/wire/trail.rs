//! A front end's account of one request, kept piece by piece until it is known what the server behind did meanwhile.
//!
//! In: stretches of the request's time with their phases. Out: a bounded row of pieces, without a gap.

use crate::phase::{Phase, Phases};

/// Pieces kept for one request; beyond it each two neighbours become one.
const MAX_PIECES: usize = 512;

/// A stretch of the front end's own account, with what of it may be the client's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct Piece {
    pub(in crate::machine) start_ns: u64,
    pub(in crate::machine) end_ns: u64,
    pub(in crate::machine) read_stall_ns: u64,
    pub(in crate::machine) write_stall_ns: u64,
    pub(in crate::machine) unexplained_ns: u64,
}

/// The front end's account of one request, from the moment on that it turned to the server behind.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Phases up to there.
    pub(in crate::machine) before: Phases,
    pub(in crate::machine) from_ns: u64,
    pub(in crate::machine) pieces: Vec<Piece>,
}

impl Trail {
    /// Up to `from_ns` the request's time is in `before`.
    #[must_use]
    pub const fn new(before: Phases, from_ns: u64) -> Self {
        Self { before, from_ns, pieces: Vec::new() }
    }

    /// The next stretch; they follow one another without a gap.
    pub fn push(&mut self, start_ns: u64, end_ns: u64, phases: &Phases) {
        if end_ns <= start_ns {
            return;
        }
        if self.pieces.len() >= MAX_PIECES {
            self.pieces = self.pieces.chunks(2).map(join).collect();
        }
        self.pieces.push(Piece {
            start_ns,
            end_ns,
            read_stall_ns: phases.get(Phase::ClientReadStall),
            write_stall_ns: phases.get(Phase::ClientWriteStall),
            unexplained_ns: phases.get(Phase::Unexplained),
        });
    }
}

fn join(pieces: &[Piece]) -> Piece {
    pieces
        .iter()
        .copied()
        .reduce(|one, other| Piece {
            start_ns: one.start_ns,
            end_ns: other.end_ns,
            read_stall_ns: one.read_stall_ns.saturating_add(other.read_stall_ns),
            write_stall_ns: one.write_stall_ns.saturating_add(other.write_stall_ns),
            unexplained_ns: one.unexplained_ns.saturating_add(other.unexplained_ns),
        })
        .unwrap_or_default()
}

/// What of `all` is left without `part`.
#[must_use]
pub fn minus(all: &Phases, part: &Phases) -> Phases {
    let mut left = Phases::default();
    for (phase, duration_ns) in all.iter() {
        left.add(phase, duration_ns.saturating_sub(part.get(phase)));
    }
    left
}
