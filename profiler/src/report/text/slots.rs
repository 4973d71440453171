//! Slots and capacity: how many, what held them, how often all were taken.
//!
//! In: the slots of a snapshot. Out: a section, the heat map included.

use profiler_core::model::slot::Holding;
use profiler_core::model::{Origin, Snapshot};

use profiler_core::phase::Phase;

use super::page::Page;
use super::{heat, phases, unit};
use crate::report::escape::Charset;
use crate::report::style::Role;
use crate::report::summary;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let slots = &snapshot.slots;
    let window_ns = snapshot.window.length_ns();
    let capacity_ns = window_ns.saturating_mul(u64::from(slots.count()));
    let busy_ns = slots.busy_ns();
    let known = known(snapshot);
    let noun = if slots.are_loops() { "event loop" } else { "slot" };
    let count = unit::counted(u64::from(slots.count()), noun);
    if slots.count() == 0 {
        page.heading("Slots", "");
        page.paragraph((Role::Quiet, "  "), (None, &summary::none_seen(snapshot, "slot")));
        return;
    }
    let used = unit::percent(summary::ratio(busy_ns, capacity_ns));
    page.heading("Slots", &format!("{count} ({known}), {used} of capacity used"));
    for holding in Holding::ALL {
        let held_ns = slots.held_ns(holding);
        if held_ns > 0 {
            phases::row(page, holding.name(), held_ns, capacity_ns, meaning(holding));
        }
    }
    phases::row(page, "free", capacity_ns.saturating_sub(busy_ns), capacity_ns, "");
    page.blank();
    let peak = slots.peak_busy;
    let sentence = match slots.exhausted_ns {
        _ if slots.come_and_go => {
            format!("The server makes threads as it needs them; at most {peak} were busy at one moment.")
        }
        _ if slots.are_loops() => {
            "An event loop has no slots: it takes up whatever is ready. Busy is what is not its wait."
                .to_owned()
        }
        0 => format!("At most {peak} of {} slots were busy at one moment.", slots.count()),
        exhausted_ns => format!(
            "All slots were busy at once for {} ({} of the window): nothing could start then.",
            unit::duration(exhausted_ns, page.style.charset),
            unit::percent(summary::ratio(exhausted_ns, window_ns)),
        ),
    };
    page.paragraph((Role::Quiet, "  "), (None, &sentence));
    if let Some(text) = full_worker(snapshot) {
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    if slots.acceptor_linger_ns > 0 {
        let lingered = unit::duration(slots.acceptor_linger_ns, page.style.charset);
        let text = format!(
            "Accepting threads waited {lingered} for clients to close: meanwhile they accepted nothing."
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    heat::map(page, slots, window_ns);
}

/// Where the number of slots is known from.
pub(in crate::report) fn known(snapshot: &Snapshot) -> &'static str {
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
pub(in crate::report) fn full_worker(snapshot: &Snapshot) -> Option<String> {
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
        unit::duration(fullest.exhausted_ns, Charset::Unicode),
        unit::percent(summary::ratio(fullest.exhausted_ns, window_ns)),
    ))
}

/// What held a slot, in a few words.
pub(in crate::report) const fn meaning(holding: Holding) -> &'static str {
    match holding {
        Holding::Request => "serving a request",
        Holding::ClientReadStall => "client slow to send",
        Holding::ClientWriteStall => "client slow to receive",
        Holding::FirstByte => "connected, nothing sent yet",
        Holding::KeepaliveIdle => "kept alive between requests",
        Holding::Linger => "waiting for the client to close",
        Holding::Housekeeping => "the worker's own work",
    }
}
