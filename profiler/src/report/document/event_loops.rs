//! Event loops: how late they looked at what was ready, and who kept them.
//!
//! In: the event loops of a snapshot. Out: a section, where there are any.

use std::cmp::Reverse;

use profiler_core::model::Snapshot;
use profiler_core::model::event_loop::{EventLoop, Holder};

use super::block::{Block, Blocks, Section};
use super::cell::{count, duration, id, longest, quantile, share, words};
use super::table::{On, Rows, Table, listed};
use crate::report::unit;

/// Loops and endpoints in the text report; the others are counted.
const ROWS: usize = 12;

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
    body.push(On::PAGE, Block::Sentence(WHAT_LAG_IS.into()));
    body.table(table(loops));
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

fn table(loops: &[EventLoop]) -> Table {
    let whole_ns = |event_loop: &EventLoop| event_loop.busy_ns.saturating_add(event_loop.waiting_ns);
    Rows::of("How late each loop looked at what was ready", listed("/event_loops", loops))
        .right("pid", |of| id(of.tgid))
        .right("thread", |of| id(of.tid))
        .right("busy", |of| share(of.busy_ns, whole_ns(of)).at("busy_ratio"))
        .right("iter.", |of| count(of.turns).at("iterations"))
        .right("arrivals", |of| count(of.lag.count()).at("lag/count"))
        .only(On::PAGE)
        .right("lag p50", |of| quantile(&of.lag, 0.5).at("lag/p50_ns"))
        .right("p99", |of| quantile(&of.lag, 0.99).at("lag/p99_ns"))
        .right("longest", |of| longest(&of.lag).at("lag/max_ns"))
        .right("longest iter.", |of| duration(of.longest_turn_ns).at("longest_iteration_ns"))
        .table()
        .most(ROWS)
}

/// Who kept the loops, and for whom.
fn holders(body: &mut Blocks<'_>, loops: &[EventLoop]) {
    let mut list: Vec<(String, (&EventLoop, &Holder))> = Vec::new();
    for (pointer, event_loop) in listed("/event_loops", loops) {
        let holders = listed(&format!("{pointer}/holders"), &event_loop.holders)
            .into_iter()
            .filter(|(_, holder)| holder.waited > 0 || holder.long.count > 0);
        list.extend(holders.map(|(pointer, holder)| (pointer, (event_loop, holder))));
    }
    list.sort_by_key(|(_, (_, holder))| (Reverse(holder.waited_ns), Reverse(holder.held_ns)));
    if list.is_empty() {
        return;
    }
    body.gap();
    let name = |event_loop: &EventLoop, holder: &Holder| match loops.len() {
        0 | 1 => holder_name(holder),
        _ => format!("{} (pid {})", holder_name(holder), event_loop.tgid),
    };
    let table = Rows::of("Who kept the loops, and for whom", list)
        .shrinking("who kept the loop", |(event_loop, holder)| words(name(event_loop, holder)))
        .right("iter.", |(_, holder)| count(holder.turns).at("iterations"))
        .right("of 10 ms", |(_, holder)| count(holder.long.count).at("long/iterations"))
        .right("longest", |(_, holder)| duration(holder.longest_ns).at("longest_ns"))
        .right("arrivals waited", |(_, holder)| count(holder.waited).at("waited"))
        .right("in all", |(_, holder)| duration(holder.waited_ns).at("waited_ns"))
        .table();
    body.table(table.first(ROWS));
}
