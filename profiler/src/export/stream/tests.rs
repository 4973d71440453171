//! What becomes of every request, whatever happens to the directory, the clock and the host's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use profiler_core::fact::{Fact, SessionStarted};
use profiler_core::model::Window;
use profiler_core::model::request::{Http, OnGil, Request, Seen, Times};
use profiler_core::model::round_trips::RoundTrips;
use profiler_core::phase::Phases;
use tempfile::TempDir;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
/// 2024-01-31, 00:00 UTC.
pub(super) const MIDNIGHT_NS: i64 = 1_706_659_200_000_000_000;

/// A host whose name and clock tests change.
#[derive(Clone)]
struct Host(Arc<Mutex<(String, i64)>>);

impl Host {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(("web-1".to_owned(), MIDNIGHT_NS))))
    }

    fn set(&self, change: impl FnOnce(&mut (String, i64))) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> (String, i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Surroundings for Host {
    fn host_name(&self) -> String {
        self.now().0
    }

    fn wall_clock_offset_ns(&self) -> i64 {
        self.now().1
    }

    fn machine(&self) -> String {
        "machine".to_owned()
    }
}

/// An agent whose windows are a second long.
struct Agent {
    stream: Stream,
    host: Host,
    /// Requests that were seen.
    seen: u64,
    windows: u64,
    now_ns: u64,
}

impl Agent {
    fn new(to: &Path, service: &str, pid: u32, every: u64, budget_bytes: u64) -> Self {
        let host = Host::new();
        let settings = Settings {
            to: to.to_path_buf(),
            labels: Labels { service_name: service.to_owned(), ..Labels::default() },
            raw_paths: false,
            every: Duration::from_secs(every),
            budget_bytes,
        };
        let stream = Stream::open(settings, Box::new(host.clone())).expect("a directory");
        let mut agent = Self { stream, host, seen: 0, windows: 0, now_ns: SECOND_NS };
        agent.begin(pid);
        agent
    }

    fn begin(&mut self, pid: u32) {
        let mut known = Known::nothing();
        let session =
            SessionStarted { host_name: "web-1".to_owned(), target_pid: pid, ..SessionStarted::default() };
        known.note(&Fact::SessionStarted(session));
        self.stream.begin(&known, 7);
    }

    fn request(&mut self, path: &str) {
        self.seen += 1;
        let request = request(self.seen, self.now_ns, path);
        self.stream.entries(vec![Entry::Request(Box::new(request))]);
    }

    /// A window of so many requests, and of `early` ones of the next before its snapshot comes.
    fn window(&mut self, requests: u64, early: u64, before: u64) {
        (0..requests).for_each(|_| self.request("/a"));
        self.now_ns += SECOND_NS;
        self.stream.roll();
        (0..early).for_each(|_| self.request("/a"));
        self.windows += 1;
        let snapshot = self.snapshot(requests + before);
        self.stream.window(Some(snapshot), 0);
    }

    fn snapshot(&self, completed: u64) -> Snapshot {
        let window = Window { start_ns: self.now_ns - SECOND_NS, end_ns: self.now_ns, end_reason: None };
        let mut snapshot = Snapshot { window, ..Snapshot::default() };
        snapshot.requests.completed = completed;
        snapshot
    }

    fn end(&mut self) {
        self.now_ns += SECOND_NS;
        self.windows += 1;
        let snapshot = self.snapshot(0);
        self.stream.end(Some(snapshot), 0);
    }

    /// Every request and every window that was seen is in a file, or counted as missing or removed.
    fn assert_that_nothing_is_missing(&self) {
        let totals = &self.stream.totals;
        let (requests, windows) = (totals.written.requests, totals.written.windows);
        assert_eq!(requests + totals.requests_failed, self.seen, "{totals:?}");
        assert_eq!(windows + totals.windows_failed, self.windows, "{totals:?}");
    }
}

pub(super) fn request(id: u64, end_ns: u64, path: &str) -> Request {
    Request {
        id,
        connection: 0,
        index_on_connection: 0,
        tgid: 1,
        tid: 1,
        slot: None,
        phases: Phases::default(),
        stretches: Vec::new(),
        round_trips: RoundTrips::default(),
        times: Times { start_ns: end_ns - 1, end_ns, ..Times::default() },
        http: Http { method: "GET".to_owned(), path: path.to_owned(), ..Http::default() },
        gil: OnGil::default(),
        seen: Seen::default(),
    }
}

/// All files below a directory that a reader would take for a part of a table: path and rows.
fn visible(directory: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(visible(&path));
        } else if !entry.file_name().to_string_lossy().starts_with('.') {
            // Another agent may have removed it since: then it is no half file.
            let Ok(file) = File::open(&path) else { continue };
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).expect("a whole file");
            let rows = u64::try_from(metadata.file_metadata().num_rows()).expect("no less than none");
            found.insert(path.display().to_string(), rows);
        }
    }
    found
}

pub(super) fn rows(directory: &Path, table: &str) -> u64 {
    visible(&directory.join(table)).values().sum()
}

/// A column of whole numbers, or of flags as 0 and 1, of all files of a table, in the order of their names.
pub(super) fn column(directory: &Path, table: &str, name: &str) -> Vec<i64> {
    let mut values = Vec::new();
    for path in visible(&directory.join(table)).keys() {
        let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("a whole file");
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let place =
            (0..schema.num_columns()).find(|place| schema.column(*place).name() == name).expect("a column");
        let rows = reader.get_row_iter(None).expect("rows");
        values.extend(rows.map(|row| {
            let row = row.expect("a row");
            let number = row.get_long(place).or_else(|_| row.get_timestamp_micros(place));
            number.or_else(|_| row.get_bool(place).map(i64::from)).unwrap_or(i64::MIN)
        }));
    }
    values
}

pub(super) fn unfinished(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { unfinished(&entry.path()) } else { 0 }
            + usize::from(entry.file_name().to_string_lossy().ends_with(".part")))
        .sum()
}

#[test]
fn files_appear_with_the_end_of_a_window_and_have_all_of_it() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 2, 1 << 30);
    agent.window(3, 0, 0);
    assert_eq!(visible(directory.path()).len(), 0, "after half of the time");
    agent.window(4, 0, 0);
    assert_eq!((rows(directory.path(), "requests"), rows(directory.path(), "windows")), (7, 2));
    assert_eq!(visible(directory.path()).len(), 7, "a file in each table");
    agent.window(5, 0, 0);
    agent.end();
    assert_eq!((rows(directory.path(), "requests"), rows(directory.path(), "windows")), (12, 4));
    assert_eq!(column(directory.path(), "windows", "window_number"), [0, 1, 2, 3]);
    assert_eq!(unfinished(directory.path()), 0);
    agent.assert_that_nothing_is_missing();
}

#[test]
fn what_ends_while_a_window_is_put_in_order_is_of_the_next_one() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 1, 1 << 30);
    agent.window(3, 2, 0);
    agent.window(1, 4, 2);
    agent.window(0, 0, 4);
    agent.end();
    let windows = column(directory.path(), "requests", "window_number");
    assert_eq!(windows, [[0; 3].as_slice(), &[1; 3], &[2; 4]].concat());
    agent.assert_that_nothing_is_missing();
}

#[test]
fn the_oldest_whole_sets_go_first_and_are_counted() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 1, 200_000);
    for window in 0..40 {
        // A wall clock that goes back does not make old what is new.
        agent.host.set(|(_, offset)| *offset -= window * 3_600 * 1_000_000_000);
        agent.window(50, 0, 0);
        let bytes: u64 =
            visible(directory.path()).keys().map(|path| Path::new(path).metadata().unwrap().len()).sum();
        assert!(bytes <= 200_000, "{bytes}");
        assert_eq!(agent.stream.totals.stored_bytes, bytes);
    }
    let totals = &agent.stream.totals;
    assert!(totals.windows_removed > 10, "{totals:?}");
    assert_eq!(rows(directory.path(), "requests") + totals.requests_removed, 40 * 50);
    assert_eq!(rows(directory.path(), "windows") + totals.windows_removed, 40);
    let left: BTreeSet<i64> = column(directory.path(), "windows", "window_number").into_iter().collect();
    let first = i64::try_from(totals.windows_removed).unwrap();
    assert_eq!(left, (first..40).collect(), "the newest ones, without a gap");
    agent.assert_that_nothing_is_missing();
}

#[test]
fn a_set_is_full_before_it_takes_the_budget() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 3_600, 64_000);
    (0..124).for_each(|_| agent.request("/a"));
    assert!(!agent.stream.is_full());
    agent.request("/a");
    assert!(agent.stream.is_full(), "an eighth of the budget, at 64 bytes a request");
    agent.window(0, 0, 125);
    assert_eq!(rows(directory.path(), "requests"), 125, "long before the hour is over");
    assert!(!agent.stream.is_full());
}

#[test]
fn what_cannot_be_written_is_counted_and_the_next_window_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 2, 1 << 30);
    agent.window(3, 0, 0);
    // A file stands where the next set needs a directory.
    let table = directory.path().join("slots");
    agent.window(3, 0, 0);
    let aside = directory.path().join("aside");
    std::fs::rename(&table, &aside).unwrap();
    File::create(&table).unwrap();
    agent.window(5, 1, 0);
    agent.window(6, 0, 1);
    assert!(
        agent.stream.totals.failing.as_ref().is_some_and(|why| why.contains("slots")),
        "{:?}",
        agent.stream.totals
    );
    assert_eq!((agent.stream.totals.requests_failed, agent.stream.totals.windows_failed), (12, 2));
    assert_eq!(rows(directory.path(), "requests"), 6, "nothing of what is lost is seen");
    std::fs::remove_file(&table).unwrap();
    std::fs::rename(&aside, &table).unwrap();
    agent.window(7, 0, 0);
    agent.end();
    assert_eq!(agent.stream.totals.failing, None);
    assert_eq!(rows(directory.path(), "requests"), 13);
    assert_eq!(
        column(directory.path(), "windows", "window_number"),
        [0, 1, 4, 5],
        "the gap shows what is missing"
    );
    assert_eq!(unfinished(directory.path()), 0);
    agent.assert_that_nothing_is_missing();
}

#[test]
fn a_clock_that_steps_is_said_and_holds_from_the_next_set_on() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 3_600, 1 << 30);
    agent.window(1, 0, 0);
    agent.host.set(|(_, offset)| *offset += 7_200 * 1_000_000_000);
    agent.window(1, 0, 0);
    agent.window(1, 0, 0);
    agent.end();
    let steps = column(directory.path(), "windows", "clock_step_ns");
    assert_eq!(steps, [0, 7_200 * 1_000_000_000, 0, 0], "the window in which it was set says so");
    let seconds: Vec<i64> = column(directory.path(), "windows", "end_time")
        .iter()
        .map(|us| us / 1_000_000 - MIDNIGHT_NS / 1_000_000_000)
        .collect();
    assert_eq!(seconds, [2, 3, 7_200 + 4, 7_200 + 5]);
    agent.assert_that_nothing_is_missing();
}

#[test]
fn a_host_name_that_changes_makes_a_partition_and_keeps_run_and_budget() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 3_600, 1 << 30);
    agent.window(2, 0, 0);
    agent.host.set(|(name, _)| "web-2".clone_into(name));
    agent.window(3, 0, 0);
    agent.window(4, 0, 0);
    agent.end();
    let files = visible(&directory.path().join("requests"));
    let of = |host: &str| {
        let files = files.iter().filter(|(path, _)| path.contains(&format!("/host={host}/")));
        files.map(|(_, rows)| rows).sum::<u64>()
    };
    assert_eq!((of("web-1"), of("web-2")), (5, 4));
    let runs: BTreeSet<&str> = files.keys().filter_map(|path| path.rsplit('-').next()).collect();
    assert_eq!(runs.len(), 1, "one recording: {files:?}");
    let all: u64 =
        visible(directory.path()).keys().map(|path| Path::new(path).metadata().unwrap().len()).sum();
    assert_eq!(agent.stream.totals.stored_bytes, all, "both names count in the budget");
    agent.assert_that_nothing_is_missing();
}

#[test]
fn two_agents_on_one_directory_keep_all_of_both() {
    let directory = TempDir::new().unwrap();
    // Two servers of one service, and one of another, whose budget is small.
    let mut agents = [("shop", 1, 1 << 30), ("shop", 2, 1 << 30), ("till", 3, 60_000)]
        .map(|(service, pid, budget)| Agent::new(directory.path(), service, pid, 1, budget));
    for _ in 0..12 {
        for agent in &mut agents {
            agent.window(10, 0, 0);
        }
    }
    agents.iter_mut().for_each(Agent::end);
    let of = |service: &str| rows(&directory.path().join("requests"), &format!("service={service}"));
    assert_eq!(of("shop"), 240);
    let till = &agents[2].stream.totals;
    assert!(till.requests_removed > 0, "{till:?}");
    assert_eq!(of("till") + till.requests_removed, 120, "a budget removes files of its own agent alone");
    agents.iter().for_each(Agent::assert_that_nothing_is_missing);
}

#[test]
fn a_reader_sees_whole_files_alone_and_all_of_each_window() {
    const LOOKS: u32 = 5;
    let directory = TempDir::new().unwrap();
    let (is_over, looks) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Acquire) {
                // `visible` refuses a file that is not whole. Windows first: what they count must be there
                // already.
                let windows = rows(directory.path(), "windows");
                let requests = rows(directory.path(), "requests");
                assert!(requests >= windows * 20, "{requests} requests of {windows} windows");
                looks.fetch_add(u32::from(windows > seen), Ordering::AcqRel);
                seen = windows;
            }
        });
        let mut agent = Agent::new(directory.path(), "shop", 1, 1, 1 << 30);
        // For as long as the reader takes: a machine with much other work begins it late.
        while looks.load(Ordering::Acquire) < LOOKS && !reader.is_finished() {
            agent.window(20, 0, 0);
        }
        is_over.store(true, Ordering::Release);
        reader.join().expect("the reader saw what it should not");
    });
}

#[test]
fn what_a_killed_agent_left_is_removed_and_what_another_writes_is_not() {
    let directory = TempDir::new().unwrap();
    let mut writing = Agent::new(directory.path(), "shop", 1, 3_600, 1 << 30);
    writing.window(5, 0, 0);
    let unfinished_before = unfinished(directory.path());
    assert!(unfinished_before > 0);
    let killed = Agent::new(directory.path(), "shop", 2, 3_600, 1 << 30);
    assert_eq!(killed.stream.totals.files_abandoned, 0, "they are being written");
    // As a killed one leaves it: without its lock.
    let left = directory.path().join("requests/service=shop/date=2024-01-31/host=web-1");
    let agent = visible_or_hidden(&left).split('-').next().unwrap_or_default().to_owned();
    File::create(left.join(format!("{agent}-00000009-x.parquet.1.part"))).unwrap();
    let next = Agent::new(directory.path(), "shop", 3, 3_600, 1 << 30);
    assert_eq!(next.stream.totals.files_abandoned, 1);
    assert_eq!(unfinished(directory.path()), unfinished_before);
    writing.end();
    assert_eq!(rows(directory.path(), "requests"), 5);
}

/// Name of the one file of a directory.
fn visible_or_hidden(directory: &Path) -> String {
    let entry = std::fs::read_dir(directory).unwrap().flatten().next().expect("a file");
    entry.file_name().to_string_lossy().into_owned()
}

#[test]
fn more_endpoints_than_the_bound_are_one_and_counted() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 1, 1 << 30);
    let all = MAX_ENDPOINTS + 25;
    (0..all).for_each(|number| agent.request(&format!("/p{number}x")));
    agent.request("/p3x");
    agent.window(0, 0, u64::try_from(all).unwrap() + 1);
    assert_eq!(column(directory.path(), "windows", "requests_in_other_routes"), [25]);
    assert_eq!(rows(directory.path(), "requests"), u64::try_from(all).unwrap() + 1);
}

#[test]
fn memory_holds_a_row_group_and_not_the_set() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 1, 1 << 30);
    (0..=2 * ROW_GROUP_ROWS).for_each(|_| agent.request("/a"));
    agent.window(0, 0, u64::try_from(2 * ROW_GROUP_ROWS + 1).unwrap());
    let files = visible(&directory.path().join("requests"));
    let file = File::open(files.keys().next().expect("a file")).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
    let groups: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    let full = i64::try_from(ROW_GROUP_ROWS).unwrap();
    assert_eq!(groups, [full, full, 1], "what is full was written, and no longer held");
}

#[test]
fn a_run_without_an_end_is_counted_as_lost() {
    let directory = TempDir::new().unwrap();
    let mut agent = Agent::new(directory.path(), "shop", 1, 3_600, 1 << 30);
    agent.window(5, 0, 0);
    agent.begin(2);
    agent.window(6, 0, 0);
    agent.end();
    assert_eq!(rows(directory.path(), "requests"), 6);
    assert_eq!((agent.stream.totals.requests_failed, agent.stream.totals.windows_failed), (5, 1));
    agent.assert_that_nothing_is_missing();
}
