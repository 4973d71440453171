//! Who made whom wait for the interpreter lock: the hand-off matrix, and its pairs.
//!
//! In: the lock's part of a snapshot. Out: a matrix and tables; nothing where the holders are not known.

use std::collections::BTreeMap;

use profiler_core::model::gil::{Edge, Gil};

use super::block::{Block, Blocks, Folded, Matrix};
use super::cell::{Cell, Words, count, duration, id, share, words};
use super::gil_words::party;
use super::table::{Column, On, Table, right, shrinking};

/// Pairs of waiter and holder in the text report, and of threads.
const EDGES_SHOWN: usize = 8;
const THREADS_SHOWN: usize = 5;
/// Parties in the matrix, of each side; all pairs are in the list under it.
const SIDE: usize = 10;

const EDGES: [Column; 5] = [
    shrinking("who waited"),
    shrinking("because of"),
    right("waited"),
    right("of all waits"),
    right("waits").only(On::Page),
];

const THREAD_EDGES: [Column; 5] = [
    right("pid"),
    shrinking("thread that waited"),
    shrinking("because of thread"),
    right("waited"),
    right("stretches"),
];

/// Who made whom wait: parties, then threads.
pub(super) fn edges(body: &mut Blocks<'_>, gil: &Gil) {
    if !gil.holders_known {
        return;
    }
    if !gil.edges.is_empty() {
        body.push(On::Page, Block::Matrix(matrix(gil)));
        let mut table = Table::new("Who waited for the lock because of whom", &EDGES).first(EDGES_SHOWN);
        for (place, edge) in gil.edges.iter().enumerate() {
            let cells: [Cell; EDGES.len()] = [
                words(party(&edge.waiter)),
                words(party(&edge.holder)),
                duration(edge.total_ns).at("total_ns"),
                share(edge.total_ns, gil.waits.sum_ns()),
                count(edge.waits).at("waits"),
            ];
            table.row(&format!("/gil/edges/{place}"), cells);
        }
        listed(body, "Each pair", table, "/gil/other_edges_ns", gil.other_edges_ns);
    }
    if !gil.thread_edges.is_empty() {
        let caption = "Which thread waited for the lock because of which";
        let mut table = Table::new(caption, &THREAD_EDGES).first(THREADS_SHOWN);
        for (place, edge) in gil.thread_edges.iter().enumerate() {
            let cells: [Cell; THREAD_EDGES.len()] = [
                id(edge.tgid),
                words(thread(&edge.waiter)),
                words(thread(&edge.holder)),
                duration(edge.total_ns).at("total_ns"),
                count(edge.waits).at("waits"),
            ];
            table.row(&format!("/gil/thread_edges/{place}"), cells);
        }
        listed(body, "The same by threads", table, "/gil/other_thread_edges_ns", gil.other_thread_edges_ns);
    }
}

/// A table of pairs, and the time of those that are not in it.
fn listed(body: &mut Blocks<'_>, summary: &str, table: Table, pointer: &str, other_ns: u64) {
    body.gap();
    let mut folded = Blocks::default();
    folded.table(table);
    if other_ns > 0 {
        let others = Words::from("Pairs that are not listed: ").figure(duration(other_ns).at(pointer));
        folded.push(On::Page, Block::Sentence(others));
    }
    body.push(On::Both, Block::Folded(Folded::new(summary, folded)));
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
    let holders = costliest(gil, |edge| party(&edge.holder));
    let waited_ns = |waiter: &str, holder: &str| {
        let pair = |edge: &&Edge| party(&edge.waiter) == waiter && party(&edge.holder) == holder;
        gil.edges.iter().filter(pair).map(|edge| edge.total_ns).sum::<u64>()
    };
    let rows = costliest(gil, |edge| party(&edge.waiter)).into_iter().map(|waiter| {
        let durations = holders.iter().map(|holder| waited_ns(&waiter, holder)).collect();
        (waiter, durations)
    });
    Matrix {
        caption: "Time that the one at the left waited for the lock while the one on top had it",
        corner: "waited \\ had the lock",
        rows: rows.collect(),
        columns: holders,
    }
}

/// The parties of one side, those with the longest waits first.
fn costliest(gil: &Gil, side: impl Fn(&Edge) -> String) -> Vec<String> {
    let mut parties: BTreeMap<String, u64> = BTreeMap::new();
    for edge in &gil.edges {
        let total_ns = parties.entry(side(edge)).or_default();
        *total_ns = total_ns.saturating_add(edge.total_ns);
    }
    let mut parties: Vec<(String, u64)> = parties.into_iter().collect();
    // Stable: equals stay in the order of their names.
    parties.sort_by_key(|(_, total_ns)| std::cmp::Reverse(*total_ns));
    parties.into_iter().take(SIDE).map(|(party, _)| party).collect()
}
