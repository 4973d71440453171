//! What the server behind a front end did for a request, kept piece by piece until it is known when the front
//! end was done with it.
//!
//! In: stretches of the request's time with their phases. Out: what of them lies between two moments.

use super::trail::{cut, minus};
use crate::phase::{Phase, Phases};

/// Pieces kept for one request; beyond it each two neighbours become one. Where threads contend for the
/// interpreter lock, a daemon process of mod_wsgi can have fifty after the last byte of a response: each wait
/// of 5 ms is one.
const MAX_PIECES: usize = 64;

/// What a thread does once the last bytes have left it, before its call returns.
const AFTER_THE_LAST_BYTES: [Phase; 3] = [Phase::RunQueue, Phase::Write, Phase::Cpu];

/// In which order phases are cut where it is not known when they were: the last of reports first. If the
/// front end has read all, the bytes had left the thread.
pub fn last_first(has_read_all: bool) -> impl Iterator<Item = Phase> {
    AFTER_THE_LAST_BYTES.into_iter().filter(move |_| has_read_all).chain(Phase::ALL.into_iter().rev())
}

/// The stretches of a request.
#[derive(Clone, Debug, Default)]
pub struct Tail(Vec<Piece>);

/// From when, until when, and what.
type Piece = (u64, u64, Phases);

fn join(pieces: &[Piece]) -> Option<Piece> {
    pieces.iter().copied().reduce(|mut one, other| {
        one.2.add_all(&other.2);
        (one.0, other.1, one.2)
    })
}

impl Tail {
    /// The next stretch; they follow one another without a gap.
    pub fn push(&mut self, start_ns: u64, end_ns: u64, phases: &Phases) {
        if end_ns <= start_ns {
            return;
        }
        if self.0.len() >= MAX_PIECES {
            self.0 = self.0.chunks(2).filter_map(join).collect();
        }
        self.0.push((start_ns, end_ns, *phases));
    }

    /// Phases of what lies after `from_ns` and before `until_ns`, as far as it is kept. Of a piece in which
    /// one of them lies it takes the phases by [`last_first`].
    pub fn between(&self, from_ns: u64, until_ns: u64, has_read_all: bool) -> Phases {
        let mut between = Phases::default();
        for (start_ns, end_ns, phases) in &self.0 {
            let part_ns = (*end_ns).min(until_ns).saturating_sub((*start_ns).max(from_ns));
            if *start_ns >= from_ns && *end_ns <= until_ns {
                between.add_all(phases);
            } else if part_ns > 0 {
                let mut rest = *phases;
                cut(&mut rest, last_first(has_read_all), part_ns);
                between.add_all(&minus(phases, &rest));
            }
        }
        between
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::trail::tests::of;

    #[test]
    fn what_came_after_a_moment_is_what_the_pieces_say() {
        let mut tail = Tail::default();
        tail.push(5, 5, &of(&[]));
        tail.push(10, 40, &of(&[(Phase::Cpu, 30)]));
        tail.push(40, 60, &of(&[(Phase::GilWait, 12), (Phase::RunQueue, 8)]));
        tail.push(60, 90, &of(&[(Phase::GilWait, 30)]));
        for (what, from_ns, until_ns, expected) in [
            ("all", 0, 100, &[(Phase::Cpu, 30), (Phase::GilWait, 42), (Phase::RunQueue, 8)][..]),
            ("whole pieces", 40, 90, &[(Phase::GilWait, 42), (Phase::RunQueue, 8)]),
            (
                "the end of a piece is its wait for a CPU",
                50,
                90,
                &[(Phase::GilWait, 32), (Phase::RunQueue, 8)],
            ),
            ("what came later does not count", 60, 70, &[(Phase::GilWait, 10)]),
            ("nothing", 90, 100, &[]),
        ] {
            assert_eq!(tail.between(from_ns, until_ns, true), of(expected), "{what}");
        }
    }

    #[test]
    fn where_a_client_has_left_the_last_phases_of_reports_go_first() {
        let mut tail = Tail::default();
        tail.push(0, 52, &of(&[(Phase::Cpu, 2), (Phase::BackendWait, 50)]));
        assert_eq!(tail.between(12, 52, false), of(&[(Phase::BackendWait, 40)]));
        assert_eq!(tail.between(12, 52, true), of(&[(Phase::Cpu, 2), (Phase::BackendWait, 38)]));
    }

    #[test]
    fn however_many_pieces_there_are_all_of_their_time_is_kept() {
        let mut tail = Tail::default();
        (0..1000).for_each(|at| tail.push(at * 10, at * 10 + 10, &of(&[(Phase::Cpu, 10)])));
        assert!(tail.0.len() <= MAX_PIECES);
        assert_eq!(tail.between(0, 20_000, true), of(&[(Phase::Cpu, 10_000)]));
        assert_eq!(tail.between(1234, 20_000, true), of(&[(Phase::Cpu, 10_000 - 1234)]));
    }
}
