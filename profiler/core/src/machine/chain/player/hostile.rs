//! Streams that no server gives: clocks that step back, wakers that are nobody, circles, stretches that
//! overlap.
//!
//! In: numbers of streams. Out: nothing; a law that does not hold fails with the stream's number.

use super::laws::for_each;
use super::random::Random;
use crate::event::Tid;
use crate::machine::chain::feed::Doer;
use crate::machine::chain::segment::{Did, SegmentSleep, SleepEnd};
use crate::machine::chain::state::{Chain, Service};
use crate::machine::lock::gil_holder::{HeldBy, Holders};
use crate::machine::time::short::{Short, ShortRun};
use crate::machine::wire::request::{Active, Beginning};
use crate::model::chain::{LeafKind, NotFollowed, Object};
use crate::model::request::{Request, Stretch};
use crate::phase::{Phase, Phases};

/// Streams of this many threads at most, and this many tellings.
#[derive(Clone, Copy)]
struct Size {
    threads: u64,
    tellings: u64,
    requests: u64,
}

struct Hostile {
    random: Random,
    size: Size,
}

impl Hostile {
    fn tid(&mut self) -> Tid {
        u32::try_from(self.random.below(self.size.threads + 2)).unwrap()
    }

    fn time_ns(&mut self) -> u64 {
        match self.random.below(200) {
            0 => u64::MAX - self.random.below(3),
            1 => 0,
            _ => self.random.below(2_000_000_000),
        }
    }

    /// From, until; now and then the wrong way round.
    fn interval(&mut self) -> (u64, u64) {
        let from_ns = self.time_ns();
        let length_ns = self.random.below(80_000_000);
        let until_ns = if self.random.percent(2) { from_ns / 2 } else { from_ns.saturating_add(length_ns) };
        (from_ns, until_ns)
    }

    fn phase(&mut self) -> Phase {
        Phase::ALL[self.random.place(Phase::COUNT)]
    }

    fn holder(&mut self) -> HeldBy {
        HeldBy { contender: 0, tid: self.tid() }
    }

    fn did(&mut self) -> Did {
        let end = match self.random.below(7) {
            0 => SleepEnd::Outside,
            1 => SleepEnd::Limit,
            2 => SleepEnd::Open,
            3 => SleepEnd::Unknown,
            4 => {
                let then = self.random.percent(50).then(|| (self.time_ns(), self.holder()));
                SleepEnd::Holders(Holders { first: self.holder(), then })
            }
            _ => SleepEnd::Thread(self.tid()),
        };
        let phase = match self.random.below(3) {
            0 => Phase::LockWait,
            1 => Phase::GilWait,
            _ => self.phase(),
        };
        match self.random.below(9) {
            0 => Did::Ran(self.phase()),
            8 => Did::InKernel { system_call: 1, object: Object::Descriptor { fd: 5 } },
            1 => Did::Queued((0, u64::MAX)),
            2 if self.random.percent(50) => Did::AsleepOrReady,
            2 => Did::Unseen,
            _ => Did::Slept(SegmentSleep {
                phase,
                is_idle: self.random.percent(20),
                system_call: i32::try_from(self.random.below(300)).unwrap() - 1,
                object: if self.random.percent(50) { Object::Futex { address: 1 } } else { Object::Unknown },
                connection: self.random.below(4),
                is_own_port: self.random.percent(10),
                is_way_out: self.random.percent(10),
                end,
                since_before: self.random.percent(5),
                held: None,
                polls_file_lock: false,
            }),
        }
    }

    fn tell(&mut self, chain: &mut Chain) {
        let (tid, interval) = (self.tid(), self.interval());
        let tgid = u32::try_from(self.random.below(3)).unwrap();
        let doer = Doer { tgid, tid, request: self.random.below(self.size.requests + 1) };
        match self.random.below(40) {
            0 => chain.histories.born((tgid, tid), self.tid(), interval.0),
            1 => chain.histories.ended(tid, interval.0),
            2 => chain.attendance.accepts(self.random.below(2), tid),
            3 => chain.releases.released((tgid, 1), interval.0, self.tid()),
            4 => chain.reads(self.random.below(4), tgid),
            5 => {
                if let Some(history) = chain.histories.get_mut(tid) {
                    history.is_slot = true;
                    history.accepts = self.random.percent(50);
                }
            }
            6 => {
                let part = || u32::MAX;
                let short = Short { ran_ns: part(), queued_ns: part(), gil_ns: part(), ..Short::default() };
                let (start_ns, end_ns) = interval;
                let run = ShortRun { start_ns, end_ns, request: doer.request, short };
                chain.histories.run((tgid, tid), &run);
            }
            7 => {
                if let Some(mut entry) = chain.histories.entry(tgid, tid, interval.1) {
                    entry.awake(doer.request, interval.1, (self.tid(), self.time_ns()));
                }
            }
            _ => {
                // Mostly from where the thread was: histories without holes are the longest.
                let known_ns = chain.histories.get(tid).map_or(0, |history| history.end_ns());
                let length_ns = interval.1.saturating_sub(interval.0);
                let is_next = known_ns < 4_000_000_000 && self.random.percent(90);
                let next = (known_ns, known_ns.saturating_add(length_ns));
                let did = self.did();
                let interval = if is_next { next } else { interval };
                if let Some(mut entry) = chain.histories.entry(tgid, tid, interval.0) {
                    entry.push_did(doer.request, interval, did);
                }
            }
        }
    }

    fn request(&mut self, id: u64) -> (Request, Service) {
        let start_ns = self.random.below(1_500_000_000);
        let beginning = Beginning { connection: 1, ..Beginning::at(id, start_ns) };
        let mut request = Active::new(&beginning, 1, 2).request;
        request.phases = Phases::default();
        for _ in 0..self.random.between(1, 5) {
            let phase = self.phase();
            request.phases.add(phase, self.random.below(300_000_000));
        }
        request.tgid = u32::try_from(self.random.below(3)).unwrap();
        request.tid = self.tid();
        request.times.start_ns = start_ns;
        request.times.end_ns = start_ns + request.phases.total_ns();
        for _ in 0..self.random.below(4) {
            let (start_ns, end_ns) = self.interval();
            let end_ns = end_ns.max(start_ns);
            request.stretches.push(Stretch { tgid: request.tgid, tid: self.tid(), start_ns, end_ns });
        }
        request.round_trips.waits(5432, self.random.below(100_000_000));
        let spans = (0..self.random.below(3)).map(|_| self.interval()).filter(|(from, until)| from <= until);
        let spans = spans.collect();
        (
            *request,
            Service {
                spans,
                inode: self.random.below(3),
                peer: self.random.below(4),
                in_queue: self.random.below(4) == 0,
            },
        )
    }

    fn assert_law(&mut self, seed: u64) {
        let mut chain = Chain::default();
        let mut length_ns = 0;
        let each = self.size.tellings / self.size.requests;
        for id in 0..self.size.requests {
            (0..each).for_each(|_| self.tell(&mut chain));
            let (request, service) = self.request(id);
            length_ns += request.total_ns();
            chain.served(id, service);
            chain.complete(&request, None);
        }
        let chains = chain.finish(&|_| String::new(), std::iter::empty(), &[]);
        let held_ns: u64 = chains.leaves.iter().map(|row| row.held_ns).sum();
        assert_eq!((chains.request_ns, chains.broken), (length_ns, 0), "stream {seed}");
        assert_eq!(held_ns + chains.other_ns, length_ns, "stream {seed}");
    }
}

#[test]
fn leaves_add_up_whatever_is_told() {
    for_each(400, |seed| {
        let mut random = Random::new(seed);
        let size = Size { threads: random.between(1, 12), tellings: random.between(20, 1500), requests: 8 };
        Hostile { random, size }.assert_law(seed);
    });
}

#[test]
fn ten_thousand_threads_are_told_of() {
    let size = Size { threads: 10_000, tellings: 60_000, requests: 6 };
    Hostile { random: Random::new(1), size }.assert_law(1);
}

#[test]
fn a_circle_of_any_length_is_left() {
    const LENGTH_NS: u64 = 1_000_000_000;
    for length in [1, 2, 3, 7, 62, 63, 64, 65, 200] {
        let mut chain = Chain::default();
        for tid in 0..length {
            let end = SleepEnd::Thread(1 + (tid + 1) % length);
            let did = Did::Slept(SegmentSleep {
                phase: Phase::LockWait,
                is_idle: false,
                system_call: 202,
                object: Object::Unknown,
                connection: 0,
                is_own_port: false,
                is_way_out: false,
                end,
                since_before: false,
                held: None,
                polls_file_lock: false,
            });
            chain.histories.entry(1, 1 + tid, 0).unwrap().push_did(0, (0, LENGTH_NS), did);
        }
        let beginning = Beginning { connection: 1, ..Beginning::at(0, 0) };
        let mut request = Active::new(&beginning, 1, 1).request;
        request.phases = Phases::default();
        request.phases.add(Phase::LockWait, LENGTH_NS);
        (request.tgid, request.tid) = (1, 1);
        request.times.end_ns = LENGTH_NS;
        request.stretches = vec![Stretch { tgid: 1, tid: 1, start_ns: 0, end_ns: LENGTH_NS }];
        chain.complete(&request, None);
        let chains = chain.finish(&|_| String::new(), std::iter::empty(), &[]);
        let expected = if length <= 64 { NotFollowed::Circle } else { NotFollowed::TooDeep };
        let leaves: Vec<_> =
            chains.leaves.iter().map(|row| (row.leaf.kind, row.leaf.reason, row.held_ns)).collect();
        assert_eq!(leaves, [(LeafKind::NotFollowed, Some(expected), LENGTH_NS)], "{length}");
    }
}
