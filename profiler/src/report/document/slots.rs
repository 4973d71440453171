//! Slots: how many, what held them, how often all were taken, and when.
//!
//! In: the slots of a snapshot. Out: a section, the heat map included.

use profiler_core::model::slot::{Holding, Slot, Slots};
use profiler_core::model::{Origin, Snapshot};
use profiler_core::phase::Phase;

use super::block::{Bar, Bars, Block, Blocks, Folded, Section};
use super::cell::{Part, Words, bar, count, counted, duration, id, share};
use super::shown;
use super::table::{On, Rows, Table, listed};
use crate::report::{summary, unit, vocabulary};

pub(super) fn section(snapshot: &Snapshot) -> Section<'_> {
    let slots = &snapshot.slots;
    let mut body = Blocks::default();
    if let Some(reason) = &slots.not_measured {
        body.say(format!("Not known: {reason}."));
        return Section::new("slots", "Slots", body);
    }
    if slots.count() == 0 {
        body.say("No slot was seen.");
        return Section::new("slots", "Slots", body);
    }
    let window_ns = snapshot.window.length_ns();
    let capacity_ns = summary::capacity_ns(snapshot);
    body.push(On::BOTH, Block::Bars(held(slots, capacity_ns)));
    body.gap();
    body.say(most_busy(slots, window_ns));
    if let Some(text) = full_worker(snapshot) {
        body.say(text);
    }
    if slots.acceptor_linger_ns > 0 {
        let lingered = duration(slots.acceptor_linger_ns).at("/slots/acceptor_linger_ns");
        body.say(
            Words::from("Accepting threads waited ")
                .figure(lingered)
                .text(" for clients to close: meanwhile they accepted nothing."),
        );
    }
    let is_known = slots.heat.iter().any(|row| !row.busy_ns.is_empty());
    if is_known && slots.heat_bucket_ns > 0 && window_ns > 0 {
        body.push(On::BOTH, Block::Heat(slots, window_ns));
    }
    let mut each = Blocks::default();
    each.table(list(slots));
    body.push(On::PAGE, Block::Folded(Folded::new("Each slot", each)));
    let noun = if slots.are_loops() { "event loop" } else { "slot" };
    let note = Words::default()
        .figure(counted(u64::from(slots.count()), noun).at("/slots/counted"))
        .text(format!(" ({}), ", known(snapshot)))
        .figure(share(slots.busy_ns(), capacity_ns).at("/slots/capacity_used_ratio"))
        .text(" of capacity used");
    Section::new("slots", "Slots", body).note(note)
}

/// Slot-time by what held it, and what is free.
fn held(slots: &Slots, capacity_ns: u64) -> Bars {
    let bar = |term, duration_ns| Bar {
        term,
        duration_ns,
        duration: duration(duration_ns),
        share: share(duration_ns, capacity_ns),
        on: On::BOTH,
    };
    let holdings = Holding::ALL.into_iter().filter(|holding| slots.held_ns(*holding) > 0);
    let mut list: Vec<Bar> = holdings
        .map(|holding| {
            let term = vocabulary::of_holding(holding);
            let mut bar = bar(term, slots.held_ns(holding));
            bar.duration = bar.duration.at(format!("/slots/held/{}_ns", term.name));
            bar
        })
        .collect();
    list.push(bar(vocabulary::FREE, capacity_ns.saturating_sub(slots.busy_ns())));
    let headings = ["held by", "slot-time", "of capacity"];
    Bars { caption: "What held the slots", headings, whole_ns: capacity_ns, list }
}

/// How many were busy at once, or for how long all were.
fn most_busy(slots: &Slots, window_ns: u64) -> Words {
    let peak = || count(u64::from(slots.peak_busy)).at("/slots/peak_busy");
    match slots.exhausted_ns {
        _ if slots.come_and_go => Words::from("The server makes threads as it needs them; at most ")
            .figure(peak())
            .text(" were busy at one moment."),
        _ if slots.are_loops() => {
            "An event loop has no slots: it takes up whatever is ready. Busy is what is not its wait.".into()
        }
        0 => Words::from("At most ")
            .figure(peak())
            .text(format!(" of {} slots were busy at one moment.", slots.count())),
        exhausted_ns => Words::from("All slots were busy at once for ")
            .figure(duration(exhausted_ns).at("/slots/exhausted_ns"))
            .text(" (")
            .figure(share(exhausted_ns, window_ns).at("/slots/exhausted_ratio"))
            .text(" of the window): nothing could start then."),
    }
}

fn list(slots: &Slots) -> Table {
    let part = |slot: &Slot, holding: Holding| Part { name: holding.name(), length: slot.held_ns(holding) };
    let held = |slot: &Slot| Holding::ALL.map(|holding| part(slot, holding)).to_vec();
    Rows::of("Each slot and what held it", listed("/slots/list", &slots.observed))
        .right("slot", |slot| id(slot.id).at("id"))
        .right("pid", |slot| id(slot.tgid))
        .right("thread", |slot| id(slot.tid))
        .right("requests", |slot| count(slot.requests).at("requests"))
        .right("busy", |slot| duration(slot.busy_ns()).at("busy_ns"))
        .left("held by", |slot| bar(held(slot), slot.length_ns()))
        .table()
}

/// Where the number of slots is known from.
fn known(snapshot: &Snapshot) -> &'static str {
    let counted = |name: &str| {
        let settings = &snapshot.server.settings;
        settings.iter().any(|setting| setting.name == name && setting.origin == Origin::Inferred)
    };
    match snapshot.slots.configured {
        None if snapshot.slots.are_loops() => "no slots",
        None => "as many as were seen at once",
        // The command line is hidden: what was counted is a lower bound.
        Some(_) if counted("workers") || counted("threads") => "as far as seen",
        Some(_) => "configured",
    }
}

/// Share of request time spent waiting for a thread from which a full worker is worth a line.
const WAITED: f64 = 0.01;

/// A worker whose own slots were all busy for much longer than those of all at once.
fn full_worker(snapshot: &Snapshot) -> Option<String> {
    let slots = &snapshot.slots;
    let window_ns = snapshot.window.length_ns();
    let pools = slots.heat.iter().filter(|row| slots.heat.len() > 1 && row.slots > 1);
    let waited =
        summary::ratio(snapshot.requests.phases.get(Phase::PoolWait), snapshot.requests.phases.total_ns());
    if waited < Some(WAITED) {
        return None;
    }
    let fullest = pools.max_by_key(|row| row.exhausted_ns)?;
    if fullest.exhausted_ns <= slots.exhausted_ns.saturating_mul(2) || fullest.exhausted_ns < window_ns / 100
    {
        return None;
    }
    Some(format!(
        "All slots of worker {} were busy at once for {} ({} of the window).",
        fullest.tgid,
        shown(fullest.exhausted_ns),
        unit::percent(summary::ratio(fullest.exhausted_ns, window_ns)),
    ))
}
