//! Who made whom wait for the interpreter lock: the hand-off matrix, and its pairs.
//!
//! In: the lock's part of a snapshot. Out: a matrix and tables; nothing where the holders are not known.

use std::collections::BTreeMap;

use profiler_core::model::gil::{Edge, Gil};

use super::block::{Block, Blocks, Folded, Matrix};
use super::cell::{Words, count, duration, id, share, words};
use super::gil_words::contender;
use super::table::{On, Rows, Table, listed};

/// Pairs of waiter and holder in the text report, and of threads.
const EDGES_SHOWN: usize = 8;
const THREADS_SHOWN: usize = 5;
/// Parties in the matrix, of each side; all pairs are in the list under it.
const SIDE: usize = 10;

/// Who made whom wait: contenders, then threads.
pub(super) fn edges(body: &mut Blocks<'_>, gil: &Gil) {
    if !gil.holders_known {
        return;
    }
    if !gil.edges.is_empty() {
        body.push(On::PAGE, Block::Matrix(matrix(gil)));
        let table = table(gil, listed("/gil/edges", &gil.edges));
        pairs(body, "Each pair", table.first(EDGES_SHOWN), "/gil/other_edges_ns", gil.other_edges_ns);
    }
    if !gil.thread_edges.is_empty() {
        let table = Rows::of(
            "Which thread waited for the lock because of which",
            listed("/gil/thread_edges", &gil.thread_edges),
        )
        .right("pid", |edge| id(edge.tgid))
        .shrinking("thread that waited", |edge| words(thread(&edge.waiter)))
        .shrinking("because of thread", |edge| words(thread(&edge.holder)))
        .right("waited", |edge| duration(edge.total_ns).at("total_ns"))
        .right("stretches", |edge| count(edge.waits).at("waits"))
        .table();
        pairs(
            body,
            "The same by threads",
            table.first(THREADS_SHOWN),
            "/gil/other_thread_edges_ns",
            gil.other_thread_edges_ns,
        );
    }
}

/// Pairs of waiter and holder.
pub(crate) fn table(gil: &Gil, edges: Vec<(String, &Edge)>) -> Table {
    Rows::of("Who waited for the lock because of whom", edges)
        .shrinking("who waited", |edge| words(contender(&edge.waiter)))
        .in_list("who waited")
        .shrinking("because of", |edge| words(contender(&edge.holder)))
        .in_list("because of")
        .right("waited", |edge| duration(edge.total_ns).at("total_ns"))
        .in_list("waited")
        .right("of all waits", |edge| share(edge.total_ns, gil.waits.sum_ns()))
        .right("waits", |edge| count(edge.waits).at("waits"))
        .only(On::PAGE)
        .in_list("waits")
        .table()
}

/// A table of pairs, and the time of those that are not in it.
fn pairs(body: &mut Blocks<'_>, summary: &str, table: Table, pointer: &str, other_ns: u64) {
    body.gap();
    let mut folded = Blocks::default();
    folded.table(table);
    if other_ns > 0 {
        let others = Words::from("Pairs that are not listed: ").figure(duration(other_ns).at(pointer));
        folded.push(On::PAGE, Block::Sentence(others));
    }
    body.push(On::BOTH, Block::Folded(Folded::new(summary, folded)));
}

/// What a thread is called. Hostile input.
fn thread((tid, name): &(u32, String)) -> String {
    match (tid, name.as_str()) {
        (0, _) => "not known".to_owned(),
        (tid, "") => tid.to_string(),
        (tid, name) => format!("{tid} ({name})"),
    }
}

/// A row for who waited, a column for who had the lock.
fn matrix(gil: &Gil) -> Matrix {
    let holders = costliest(gil, |edge| contender(&edge.holder));
    let waited_ns = |waiter: &str, holder: &str| {
        let pair = |edge: &&Edge| contender(&edge.waiter) == waiter && contender(&edge.holder) == holder;
        gil.edges.iter().filter(pair).map(|edge| edge.total_ns).fold(0, u64::saturating_add)
    };
    let rows = costliest(gil, |edge| contender(&edge.waiter)).into_iter().map(|waiter| {
        let durations = holders.iter().map(|holder| waited_ns(&waiter, holder)).collect();
        (waiter, durations)
    });
    Matrix {
        caption: "How long the row waited for the lock while the column held it",
        corner: "waited \\ held it",
        rows: rows.collect(),
        columns: holders,
    }
}

/// The contenders of one side, those with the longest waits first.
fn costliest(gil: &Gil, side: impl Fn(&Edge) -> String) -> Vec<String> {
    let mut contenders: BTreeMap<String, u64> = BTreeMap::new();
    for edge in &gil.edges {
        let total_ns = contenders.entry(side(edge)).or_default();
        *total_ns = total_ns.saturating_add(edge.total_ns);
    }
    let mut contenders: Vec<(String, u64)> = contenders.into_iter().collect();
    // Stable: equals stay in the order of their names.
    contenders.sort_by_key(|(_, total_ns)| std::cmp::Reverse(*total_ns));
    contenders.into_iter().take(SIDE).map(|(contender, _)| contender).collect()
}
