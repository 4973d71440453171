//! Slots and capacity: how many, what held them, how often all were taken.
//!
//! In: the slots of a snapshot. Out: a section, the heat map included.

use profiler_core::model::Snapshot;
use profiler_core::model::slot::Holding;

use super::page::Page;
use super::style::Role;
use super::{heat, phases, unit};
use crate::report::summary;

pub(super) fn section(page: &mut Page, snapshot: &Snapshot) {
    let slots = &snapshot.slots;
    let window_ns = snapshot.window.length_ns();
    let capacity_ns = window_ns.saturating_mul(u64::from(slots.count()));
    let busy_ns = slots.busy_ns();
    let known = if slots.configured.is_some() { "configured" } else { "as many as were seen" };
    let count = unit::counted(u64::from(slots.count()), "slot");
    if slots.count() == 0 {
        page.heading("Slots", "");
        page.paragraph((Role::Quiet, "  "), (None, "No slot was seen."));
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
        0 => format!("At most {peak} of {} slots were busy at one moment.", slots.count()),
        exhausted_ns => format!(
            "All slots were busy at once for {} ({} of the window): nothing could start then.",
            unit::duration(exhausted_ns, page.style.charset),
            unit::percent(summary::ratio(exhausted_ns, window_ns)),
        ),
    };
    page.paragraph((Role::Quiet, "  "), (None, &sentence));
    if slots.acceptor_linger_ns > 0 {
        let lingered = unit::duration(slots.acceptor_linger_ns, page.style.charset);
        let text = format!(
            "Accepting threads waited {lingered} for clients to close: meanwhile they accepted nothing."
        );
        page.paragraph((Role::Quiet, "  "), (None, &text));
    }
    heat::map(page, slots, window_ns);
}

const fn meaning(holding: Holding) -> &'static str {
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
