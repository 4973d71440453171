//! A front end's account of one request, kept piece by piece until it is known what the server behind did
//! meanwhile.
//!
//! In: stretches of the request's time with their phases. Out: a bounded row of pieces, without a gap; how
//! phases are taken from one another.

use crate::phase::{Phase, Phases};

/// Pieces kept for one request; beyond it each two neighbours become one.
const MAX_PIECES: usize = 512;

/// A stretch of the front end's own account, with what of it may be the client's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::machine) struct TrailPiece {
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
    pub(in crate::machine) pieces: Vec<TrailPiece>,
}

impl Trail {
    /// Up to `from_ns` the request's time is in `before`.
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
        self.pieces.push(TrailPiece {
            start_ns,
            end_ns,
            read_stall_ns: phases.get(Phase::ClientReadStall),
            write_stall_ns: phases.get(Phase::ClientWriteStall),
            unexplained_ns: phases.get(Phase::Unexplained),
        });
    }
}

fn join(pieces: &[TrailPiece]) -> TrailPiece {
    pieces
        .iter()
        .copied()
        .reduce(|one, other| TrailPiece {
            start_ns: one.start_ns,
            end_ns: other.end_ns,
            read_stall_ns: one.read_stall_ns.saturating_add(other.read_stall_ns),
            write_stall_ns: one.write_stall_ns.saturating_add(other.write_stall_ns),
            unexplained_ns: one.unexplained_ns.saturating_add(other.unexplained_ns),
        })
        .unwrap_or_default()
}

/// Takes this much from phases, in this order.
pub fn cut(phases: &mut Phases, order: impl Iterator<Item = Phase>, mut excess_ns: u64) {
    for phase in order {
        excess_ns -= phases.take(phase, excess_ns);
    }
}

/// What of `all` is left without `part`.
pub fn minus(all: &Phases, part: &Phases) -> Phases {
    let mut left = Phases::default();
    for (phase, duration_ns) in all.iter() {
        left.add(phase, duration_ns.saturating_sub(part.get(phase)));
    }
    left
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::machine::wire) fn of(all: &[(Phase, u64)]) -> Phases {
        let mut phases = Phases::default();
        all.iter().for_each(|(phase, duration_ns)| phases.add(*phase, *duration_ns));
        phases
    }

    #[test]
    fn what_is_left_of_an_account_is_never_below_zero_and_of_its_own_phases() {
        for (what, all, part, left) in [
            ("nothing of nothing", &[][..], &[][..], &[][..]),
            ("nothing is taken", &[(Phase::Cpu, 10)], &[], &[(Phase::Cpu, 10)]),
            ("all is taken", &[(Phase::Cpu, 10)], &[(Phase::Cpu, 10)], &[]),
            ("a part is taken", &[(Phase::Cpu, 10)], &[(Phase::Cpu, 3)], &[(Phase::Cpu, 7)]),
            ("more than there is", &[(Phase::Cpu, 10)], &[(Phase::Cpu, 11)], &[]),
            ("of another phase", &[(Phase::Cpu, 10)], &[(Phase::Sleep, 3)], &[(Phase::Cpu, 10)]),
        ] {
            assert_eq!(minus(&of(all), &of(part)), of(left), "{what}");
        }
    }

    #[test]
    fn an_empty_stretch_is_no_piece() {
        let mut trail = Trail::new(Phases::default(), 10);
        trail.push(10, 10, &of(&[]));
        trail.push(10, 9, &of(&[]));
        assert!(trail.pieces.is_empty());
        trail.push(10, 11, &of(&[(Phase::ClientReadStall, 1)]));
        let piece = TrailPiece { start_ns: 10, end_ns: 11, read_stall_ns: 1, ..TrailPiece::default() };
        assert_eq!(trail.pieces, [piece]);
    }

    #[test]
    fn pieces_that_become_one_keep_their_stretch_and_all_that_the_client_did() {
        let mut trail = Trail::default();
        let stalls =
            of(&[(Phase::ClientReadStall, 1), (Phase::ClientWriteStall, 2), (Phase::Unexplained, 3)]);
        let count = MAX_PIECES as u64 + 1;
        (0..count).for_each(|at| trail.push(at * 10, at * 10 + 10, &stalls));
        assert_eq!(trail.pieces.len(), MAX_PIECES / 2 + 1);
        assert!(trail.pieces.windows(2).all(|two| two[0].end_ns == two[1].start_ns));
        let ends = trail.pieces.first().zip(trail.pieces.last());
        assert_eq!(ends.map(|(first, last)| (first.start_ns, last.end_ns)), Some((0, count * 10)));
        let sums = trail.pieces.iter().copied().reduce(|one, other| join(&[one, other]));
        let sums = sums.map(|all| (all.read_stall_ns, all.write_stall_ns, all.unexplained_ns));
        assert_eq!(sums, Some((count, count * 2, count * 3)));
    }
}
