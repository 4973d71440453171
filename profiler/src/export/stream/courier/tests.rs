//! A disk so slow that the queue overflows: what becomes of every request and window, and that nobody waits.
//!
//! In: a courier whose writing is held up for as long as a test wants. Out: verdicts on rows and counts.

use std::path::Path;
use std::sync::{Condvar, PoisonError};
use std::time::{Duration, Instant};

use profiler_core::fact::SessionStarted;
use profiler_core::model::Window;
use tempfile::TempDir;

use super::super::tests::{MIDNIGHT_NS, column, request, rows, unfinished};
use super::*;
use crate::export::context::Labels;

const SECOND_NS: u64 = 1_000_000_000;
/// Longer than any disk of a test host needs for a few thousand rows.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk on which nothing can be begun before it is let go: whoever begins a set of files waits here.
#[derive(Clone, Default)]
struct SlowDisk(Arc<(Mutex<bool>, Condvar)>);

impl SlowDisk {
    fn let_go(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

impl Surroundings for SlowDisk {
    fn host_name(&self) -> String {
        let (is_free, changed) = &*self.0;
        let free = is_free.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(free, |is_free| !*is_free));
        "web-1".to_owned()
    }

    fn wall_clock_offset_ns(&self) -> i64 {
        MIDNIGHT_NS
    }

    fn machine(&self) -> String {
        "machine".to_owned()
    }
}

/// A session that is watched, with windows of a second.
struct Session {
    courier: Courier,
    disk: SlowDisk,
    seen: u64,
    now_ns: u64,
}

impl Session {
    fn begin(to: &Path) -> Self {
        let settings = Settings {
            to: to.to_path_buf(),
            labels: Labels { service_name: "shop".to_owned(), ..Labels::default() },
            raw_paths: false,
            every: Duration::from_secs(1),
            budget_bytes: 1 << 30,
        };
        let disk = SlowDisk::default();
        let courier = Courier::with(settings, Box::new(disk.clone())).expect("a directory");
        courier.note(&Fact::SessionStarted(SessionStarted::default()));
        courier.note(&Fact::WindowStarted);
        Self { courier, disk, seen: 0, now_ns: SECOND_NS }
    }

    fn window(&mut self, requests: u64) {
        let snapshot = self.snapshot(requests);
        self.courier.roll();
        self.courier.window(&snapshot);
    }

    /// The snapshot of a window of so many requests, which are sent.
    fn snapshot(&mut self, requests: u64) -> Snapshot {
        for _ in 0..requests {
            self.seen += 1;
            self.courier.entry(&Entry::Request(Box::new(request(self.seen, self.now_ns, "/a"))));
        }
        self.now_ns += SECOND_NS;
        let window = Window { start_ns: self.now_ns - SECOND_NS, end_ns: self.now_ns, end_reason: None };
        let mut snapshot = Snapshot { window, ..Snapshot::default() };
        snapshot.requests.completed = requests;
        snapshot
    }

    /// The disk is fast again, and has taken all of so many windows.
    fn catch_up(&self, windows: u64) {
        self.disk.let_go();
        let began = Instant::now();
        while self.courier.totals().written.windows < windows {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.courier.totals());
            std::thread::yield_now();
        }
    }

    fn end(&mut self) -> Totals {
        let last = self.snapshot(0);
        self.courier.end(&last);
        self.courier.finish()
    }
}

fn entries() -> u64 {
    u64::try_from(MAX_ENTRIES).expect("a bound")
}

#[test]
fn what_a_slow_disk_leaves_no_room_for_is_counted_and_its_window_says_so() {
    let directory = TempDir::new().unwrap();
    let mut session = Session::begin(directory.path());
    // Every call returns while nothing is written: the session never waits for the disk.
    session.window(entries() + 500);
    let behind = session.courier.totals();
    assert_eq!((behind.requests_behind, behind.written.requests), (500, 0), "{behind:?}");
    session.catch_up(1);
    session.window(10);
    let totals = session.end();
    assert_eq!(totals.written.requests + totals.requests_behind, session.seen, "{totals:?}");
    assert_eq!((totals.requests_failed, totals.windows_behind, totals.windows_failed), (0, 0, 0));
    assert!(totals.any_missing());
    assert!(totals.to_string().contains("not written: windows 0, requests 500"), "{totals}");
    assert_eq!(rows(directory.path(), "requests"), entries() + 10);
    assert_eq!(column(directory.path(), "windows", "requests_not_written"), [500, 0, 0]);
    assert_eq!(column(directory.path(), "windows", "is_complete"), [0, 1, 1]);
    assert_eq!(unfinished(directory.path()), 0);
}

#[test]
fn a_window_that_a_slow_disk_leaves_no_room_for_is_a_gap_and_counted() {
    let directory = TempDir::new().unwrap();
    let mut session = Session::begin(directory.path());
    let room = u64::try_from(MAX_SNAPSHOTS).expect("a bound");
    (0..room + 2).for_each(|_| session.window(1));
    assert_eq!(session.courier.totals().windows_behind, 2);
    session.catch_up(room);
    let totals = session.end();
    assert_eq!(totals.written.requests, session.seen, "their requests have rows all the same: {totals:?}");
    assert_eq!(totals.written.windows + totals.windows_behind, room + 3, "{totals:?}");
    assert!(totals.to_string().contains("not written: windows 2, requests 0"), "{totals}");
    let numbers = column(directory.path(), "windows", "window_number");
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 10], "the gap shows what is missing");
    assert_eq!(unfinished(directory.path()), 0);
}
