//! Event loops: how late they looked at what was ready, and who kept them.
//!
//! In: the event loops of a snapshot. Out: a section, where there are any.

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::{EventLoop, Holder};

use super::block::{Block, Blocks, Section};
use super::cell::{Cell, count, duration, id, maybe, share, words};
use super::table::{Column, On, Table, right, shrinking};
use crate::report::unit;

/// Loops and endpoints in the text report; the others are counted.
const ROWS: usize = 12;

const COLUMNS: [Column; 9] = [
    right("pid"),
    right("thread"),
    right("busy"),
    right("iter."),
    right("arrivals").only(On::Page),
    right("lag p50"),
    right("p99"),
    right("longest"),
    right("longest iter."),
];

const HOLDER_COLUMNS: [Column; 6] = [
    shrinking("who kept the loop"),
    right("iter."),
    right("of 10 ms"),
    right("longest"),
    right("arrivals waited"),
    right("in all"),
];

/// For whom the word "lag" is new.
const WHAT_LAG_IS: &str = "Lag is the time from a request's arrival to the loop's next look at what is ready. An \
    event-loop iteration (iter.) lasts from one of the loop's waits to the next.";

/// Who kept a loop, in words.
fn holder_name(holder: &Holder) -> String {
    if holder.path_shape.is_empty() {
        "no request, or many short ones".to_owned()
    } else {
        format!("{} {}", holder.method, holder.path_shape)
    }
}

pub(super) fn section(snapshot: &Snapshot) -> Option<Section<'_>> {
    let loops = &snapshot.event_loops;
    if loops.is_empty() {
        return None;
    }
    let mut body = Blocks::default();
    body.push(On::Page, Block::Sentence(WHAT_LAG_IS.into()));
    let mut table = Table::new("How late each loop looked at what was ready", &COLUMNS).most(ROWS);
    for (place, event_loop) in loops.iter().enumerate() {
        table.row(&format!("/event_loops/{place}"), row(event_loop));
    }
    body.table(table);
    for (unknown, what) in UNKNOWN {
        let number = loops.iter().fold(0_u64, |sum, event_loop| sum.saturating_add(unknown(event_loop)));
        if number > 0 {
            body.say(what.replace('#', &unit::count(number)));
        }
    }
    holders(&mut body, loops);
    let number = unit::counted(unit::number(loops.len()), "loop");
    let note = format!("{number}: each serves many requests on one thread; iter.: loop iterations");
    Some(Section::new("event-loops", "Event loops", body).note(note))
}

type Unknown = (fn(&EventLoop) -> u64, &'static str);

/// What is not known of some loops, and how that is said of so many.
const UNKNOWN: [Unknown; 3] = [
    (|event_loop| event_loop.lag_unknown, "The lag of # more arrivals is not known."),
    (
        |event_loop| event_loop.paired_by_order,
        "# times a back end or a thread's work was attributed to the first of several requests, by order alone.",
    ),
    (
        |event_loop| event_loop.back_ends_unknown,
        "# times a back end was asked for one of several requests, and it is not known for which: its time is unexplained.",
    ),
];

fn row(event_loop: &EventLoop) -> [Cell; COLUMNS.len()] {
    let EventLoop { lag, busy_ns, waiting_ns, .. } = event_loop;
    let lag_of = |lag_ns| maybe((lag.count() > 0).then_some(lag_ns), duration);
    [
        id(event_loop.tgid),
        id(event_loop.tid),
        share(*busy_ns, busy_ns.saturating_add(*waiting_ns)).at("busy_ratio"),
        count(event_loop.turns).at("turns"),
        count(lag.count()).at("lag/count"),
        lag_of(lag.quantile_ns(0.5)).at("lag/p50_ns"),
        lag_of(lag.quantile_ns(0.99)).at("lag/p99_ns"),
        lag_of(lag.max_ns()).at("lag/max_ns"),
        duration(event_loop.longest_turn_ns).at("longest_turn_ns"),
    ]
}

/// Who kept the loops, and for whom.
fn holders(body: &mut Blocks<'_>, loops: &[EventLoop]) {
    let mut list: Vec<(String, &EventLoop, &Holder)> = Vec::new();
    for (place, event_loop) in loops.iter().enumerate() {
        let holders = event_loop.holders.iter().enumerate();
        list.extend(
            holders
                .filter(|(_, holder)| holder.waited > 0 || holder.long.count > 0)
                .map(|(index, holder)| (format!("/event_loops/{place}/holders/{index}"), event_loop, holder)),
        );
    }
    list.sort_by_key(|(_, _, holder)| {
        (std::cmp::Reverse(holder.waited_ns), std::cmp::Reverse(holder.held_ns))
    });
    if list.is_empty() {
        return;
    }
    body.gap();
    let mut table = Table::new("Who kept the loops, and for whom", &HOLDER_COLUMNS).first(ROWS);
    for (pointer, event_loop, holder) in list {
        let name = holder_name(holder);
        let name = if loops.len() > 1 { format!("{name} (pid {})", event_loop.tgid) } else { name };
        let cells: [Cell; HOLDER_COLUMNS.len()] = [
            words(name),
            count(holder.turns).at("turns"),
            count(holder.long.count).at("long/turns"),
            duration(holder.longest_ns).at("longest_ns"),
            count(holder.waited).at("waited"),
            duration(holder.waited_ns).at("waited_ns"),
        ];
        table.row(&pointer, cells);
    }
    body.table(table);
}
