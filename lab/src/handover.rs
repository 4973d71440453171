//! Two threads that hand over to each other as threads do that take an interpreter's lock by turns, and read
//! the clock after each wakeup.
//!
//! In: what is done meanwhile. Out: what each of them read ([`Reader`]). They do nothing else: whatever lies
//! between two readings of the clock, and is not the reading itself, is the machine's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};

use anyhow::Context as _;

/// Two readings further apart than this: the thread was stopped between them. A reading takes 0.1 µs.
pub const STOPPED_NS: u64 = 2000;
/// For how long a thread reads the clock before it hands over. A wait's last call and the end of the attempt
/// are closer.
const TURN_NS: u64 = 20_000;

/// Whose turn it is, where it is nobody's.
const NOT_BEGUN: usize = 2;
const OVER: usize = 3;

/// What one thread read, all by `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Thread.
    pub tid: u32,
    /// The first reading of each turn before which it slept.
    pub woken_ns: Vec<u64>,
    /// How many turns it had.
    pub turns: u64,
    /// For how long it read the clock in these, stops included.
    pub read_ns: u64,
    /// From when to when it was stopped within a turn.
    pub stops: Vec<(u64, u64)>,
}

/// The two threads, asleep.
#[derive(Debug)]
pub struct Handover {
    tids: [u32; 2],
    turn: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
    threads: [JoinHandle<Reader>; 2],
}

impl Handover {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// Where a thread ends at once.
    pub fn start() -> anyhow::Result<Self> {
        let turn = Arc::new(AtomicUsize::new(NOT_BEGUN));
        let turns: Arc<AtomicUsize> = Arc::default();
        let both: Arc<OnceLock<[Thread; 2]>> = Arc::default();
        let (tell, told) = mpsc::channel();
        let start = |own: usize| {
            let (turn, turns, both, tell) = (turn.clone(), turns.clone(), both.clone(), tell.clone());
            std::thread::spawn(move || {
                // SAFETY: no preconditions.
                let tid = unsafe { libc::gettid() }.cast_unsigned();
                let _ = tell.send((own, tid));
                read(own, tid, (&turn, &turns), &both)
            })
        };
        let threads = [start(0), start(1)];
        let _ = both.set([threads[0].thread().clone(), threads[1].thread().clone()]);
        let mut tids = [0; 2];
        for _ in tids {
            let (own, tid) = told.recv().context("a thread that reads the clock ended early")?;
            *tids.get_mut(own).context("there are two threads")? = tid;
        }
        Ok(Self { tids, turn, turns, threads })
    }

    /// Their IDs.
    pub const fn tids(&self) -> [u32; 2] {
        self.tids
    }

    /// Lets them hand over to each other while this runs; it is given how many turns there have been.
    ///
    /// # Errors
    ///
    /// Where a thread panicked.
    pub fn run(self, meanwhile: impl FnOnce(&AtomicUsize)) -> anyhow::Result<[Reader; 2]> {
        let tell = |turn| {
            self.turn.store(turn, Ordering::Release);
            self.threads.iter().for_each(|thread| thread.thread().unpark());
        };
        tell(0);
        meanwhile(&self.turns);
        tell(OVER);
        let [first, second] = self.threads;
        let ended =
            |thread: JoinHandle<Reader>| thread.join().ok().context("a thread that reads the clock panicked");
        Ok([ended(first)?, ended(second)?])
    }
}

/// Reads the clock whenever it is this thread's turn, until it is over.
fn read(
    own: usize,
    tid: u32,
    (turn, turns): (&AtomicUsize, &AtomicUsize),
    both: &OnceLock<[Thread; 2]>,
) -> Reader {
    let mut reader = Reader {
        tid,
        woken_ns: Vec::with_capacity(1 << 16),
        stops: Vec::with_capacity(1 << 14),
        turns: 0,
        read_ns: 0,
    };
    loop {
        let mut slept = false;
        loop {
            match turn.load(Ordering::Acquire) {
                OVER => return reader,
                whose if whose == own => break,
                _ => std::thread::park(),
            }
            slept = true;
        }
        let first_ns = now_ns();
        if slept {
            reader.woken_ns.push(first_ns);
        }
        reader.turns += 1;
        turns.fetch_add(1, Ordering::Relaxed);
        let mut before_ns = first_ns;
        while before_ns - first_ns < TURN_NS {
            let now_ns = now_ns();
            if now_ns - before_ns > STOPPED_NS {
                reader.stops.push((before_ns, now_ns));
            }
            before_ns = now_ns;
        }
        reader.read_ns += before_ns - first_ns;
        // The run may be over by now, and stays so.
        let _ = turn.compare_exchange(own, 1 - own, Ordering::AcqRel, Ordering::Acquire);
        if let Some(other) = both.get().and_then(|both| both.get(1 - own)) {
            other.unpark();
        }
    }
}

/// `CLOCK_MONOTONIC`, which the kernel's tracers have too.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole structure.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn threads_take_turns_and_each_wakeup_lies_between_stops_of_its_own() {
        let handover = Handover::start().expect("two threads");
        let tids = handover.tids();
        assert_ne!(tids[0], tids[1]);
        let enough = |turns: &AtomicUsize| {
            while turns.load(Ordering::Relaxed) < 100 {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let [first, second] = handover.run(enough).expect("both end");
        assert_eq!([first.tid, second.tid], tids);
        assert!(first.turns + second.turns >= 100);
        // By turns, whoever was last.
        assert!(first.turns.abs_diff(second.turns) <= 1, "{} and {}", first.turns, second.turns);
        for of in [first, second] {
            assert!(of.woken_ns.is_sorted() && of.stops.is_sorted());
            assert!(of.woken_ns.len() as u64 <= of.turns);
            assert!(of.stops.iter().all(|(from_ns, until_ns)| until_ns - from_ns > STOPPED_NS));
        }
    }
}
