//! Whether more slots could help: where some were free nearly all the time, advice to have more of them does
//! nothing.
//!
//! In: a [`Basis`], the advice on a finding. Out: the same without what only makes more slots, and why.

use super::basis::{Basis, served_ns};
use super::words::{count, percent, ratio};
use crate::phase::Phase;
use crate::server::advice::{Advice, Move, Sizes, act, say};

/// Findings that make slots lack, so that their advice makes more of them. Others have more processes for the
/// interpreter that each has (`gil-*`), or are there only where slots ran out (`slots-exhausted`,
/// `imbalance`, `full-beside-free`).
const MAKE_SLOTS: [&str; 5] =
    ["back-end", "cpu-bound", "idle-connections", "short-behind-long", "slow-clients"];

/// The advice on a finding without what only makes more slots, where slots were free.
pub(super) fn without_more(id: &str, basis: &Basis<'_>, advice: Advice) -> Advice {
    if !MAKE_SLOTS.contains(&id) {
        return advice;
    }
    let is_idle = |one: Move| one.is_up && is_idle(id, basis, one.what, &advice);
    let Some(what) = advice.moves().find(|one| is_idle(*one)).map(|one| one.what) else { return advice };
    let left = match id {
        // Nothing but the code is left, however the server says it.
        "cpu-bound" => None,
        _ => advice.without(is_idle),
    };
    let left = left.unwrap_or_else(|| act("make the code of the endpoint named faster").into());
    left.then(say(why(basis, what)))
}

/// Whether more of these would stay idle.
fn is_idle(id: &str, basis: &Basis<'_>, what: Sizes, advice: &Advice) -> bool {
    match what {
        Sizes::Threads => are_free(basis),
        Sizes::Processes => match id {
            // More processes are more that accept: these are short, not slots.
            "idle-connections" => false,
            "slow-clients" | "back-end" => are_free(basis),
            _ => are_free(basis) && !waits_for_interpreter(basis),
        },
        Sizes::Greenlets => {
            let most = u64::from(basis.snapshot.requests.peak_in_flight);
            most > 0 && greenlets(advice).is_some_and(|each_has| most < each_has)
        }
    }
}

/// Whether some slot was free nearly all the time in which there was something to do, of all that could take
/// a request; `false` where that is not known.
fn are_free(basis: &Basis<'_>) -> bool {
    let slots = &basis.snapshot.slots;
    let is_known = !slots.observed.is_empty() && !slots.are_loops() && !slots.come_and_go;
    // Where workers came or went, all that were there may have been busy as long as any of them was.
    let follow = slots.observed.len() as u64 > u64::from(slots.most_at_once());
    is_known && !follow && fullest_share(basis) < basis.thresholds.exhausted_window_min_ratio
}

/// Time with all slots busy that a request may find, as a share of the time with something to do. Slots are
/// all of the server's, or those of the one worker that has taken it.
fn fullest_share(basis: &Basis<'_>) -> f64 {
    let slots = &basis.snapshot.slots;
    let accepting = basis.snapshot.sockets.listeners.iter().filter(|listener| listener.accepted > 0);
    let has_own_queue = accepting.count() > 1;
    // What a worker with one slot has not accepted others take, unless it has a queue of its own.
    let rows = slots.heat.iter().filter(|row| slots.heat.len() == 1 || row.slots > 1 || has_own_queue);
    let fullest_ns = rows.map(|row| row.exhausted_ns).fold(slots.exhausted_ns, u64::max);
    ratio(fullest_ns, basis.load_ns())
}

/// Whether requests wait for one another in an interpreter that they share, or may do so.
fn waits_for_interpreter(basis: &Basis<'_>) -> bool {
    if !super::cause::serves_in_parallel(basis) {
        return false;
    }
    let waited_ns = basis.snapshot.gil.waits.sum_ns().max(basis.phases().get(Phase::GilWait));
    let share = ratio(waited_ns, served_ns(basis.phases()));
    basis.not_measured(Phase::GilWait).is_some() || share >= basis.thresholds.gil_served_min_ratio
}

/// Greenlets of each worker, by the setting that is to be raised.
fn greenlets(advice: &Advice) -> Option<u64> {
    let changes = advice.changes();
    let setting = &changes.iter().find(|one| one.setting.sizes == Some(Sizes::Greenlets))?.setting;
    setting.present.as_ref()?.parse().ok()
}

/// Why more of these do nothing.
fn why(basis: &Basis<'_>, what: Sizes) -> String {
    if what == Sizes::Greenlets {
        let most = count(u64::from(basis.snapshot.requests.peak_in_flight));
        return format!(
            "more of them at once would do nothing: no more than {most} requests were there at once"
        );
    }
    let slots = &basis.snapshot.slots;
    let (all, most) = (u64::from(slots.count()), u64::from(slots.peak_busy));
    let nouns = basis.slot_noun(2);
    let busy = if most < all {
        format!("no more than {} of {} were busy at once", count(most), count(all))
    } else {
        format!("all of them were busy for {} of the time", percent(fullest_share(basis)))
    };
    format!("more {nouns} would do nothing: {busy}")
}

#[cfg(test)]
mod tests {
    use crate::finding::Finding;
    use crate::finding::fixture::{SECOND, Scene};
    use crate::model::slot::{HeatRow, Holding};
    use crate::model::{Listener, Origin, Setting};
    use crate::phase::Phase;

    fn setting(name: &str, value: &str) -> Setting {
        Setting { name: name.to_owned(), value: value.to_owned(), origin: Origin::Configured }
    }

    /// Requests on three workers of 16 threads that wait for a back end; no more than nine threads are busy
    /// at once, for so long all of one worker.
    fn waiting(one_full_ns: u64) -> Scene {
        let mut scene = Scene::gunicorn("gthread", 48, 10 * SECOND)
            .requests(1_000)
            .phase(Phase::BackendWait, 20 * SECOND)
            .holding_request(20 * SECOND);
        scene.0.slots.peak_busy = 9;
        let row = |tgid| HeatRow { tgid, slots: 16, exhausted_ns: one_full_ns, ..HeatRow::default() };
        scene.0.slots.heat = [1, 2, 3].map(row).to_vec();
        scene
    }

    fn raises(finding: &Finding) -> bool {
        finding.assert_present();
        finding.steps.moves().any(|one| one.is_up)
    }

    #[test]
    fn threads_that_would_be_free_as_well_are_not_advised() {
        let finding = waiting(0).judge("back-end");
        assert!(!raises(&finding), "{}", finding.advice);
        assert_eq!(
            finding.advice,
            "Speed up the back end's answers, or ask it less often: the time is lost there. More threads would do nothing: no more \
             than 9 of 48 were busy at once."
        );
        assert!(raises(&waiting(2 * SECOND).judge("back-end")), "one worker was full");
        let mut all_full = waiting(0).exhausted(2 * SECOND);
        assert!(raises(&all_full.clone().judge("back-end")));
        // A tenth of the window is not a tenth of the time with something to do.
        all_full.0.slots.exhausted_ns = SECOND / 2;
        all_full.0.slots.peak_busy = 48;
        let seldom = all_full.clone().judge("back-end");
        assert!(seldom.advice.ends_with("all of them were busy for 5 % of the time."), "{}", seldom.advice);
        all_full.0.requests.load_ns = 2 * SECOND;
        assert!(raises(&all_full.judge("back-end")));
    }

    #[test]
    fn what_is_not_known_of_slots_takes_nothing_from_the_advice() {
        let mut unknown = waiting(0);
        unknown.0.slots.observed.clear();
        assert!(raises(&unknown.judge("back-end")));
        let mut followed = waiting(0);
        let end_ns = followed.0.window.end_ns;
        followed.0.slots.observed[0].until_ns = end_ns - SECOND;
        followed.0.slots.observed.push(crate::model::slot::Slot {
            since_ns: end_ns - SECOND,
            until_ns: end_ns,
            ..Default::default()
        });
        assert!(raises(&followed.judge("back-end")), "one worker followed another");
    }

    #[test]
    fn worker_with_a_queue_of_its_own_may_be_full_beside_free_ones() {
        let scene = |listeners: usize| {
            let mut scene = waiting(0);
            scene.0.server.worker_class = "sync".to_owned();
            scene.0.slots.heat = [1, 2]
                .map(|tgid| HeatRow { tgid, slots: 1, exhausted_ns: 9 * SECOND, ..HeatRow::default() })
                .to_vec();
            scene.0.sockets.listeners = vec![Listener { accepted: 9, ..Listener::default() }; listeners];
            scene.judge("back-end")
        };
        assert!(!raises(&scene(1)), "what it does not take the other one takes");
        assert!(raises(&scene(2)));
    }

    #[test]
    fn slow_clients_beside_free_threads_need_a_proxy_and_no_threads() {
        let scene = |exhausted_ns| {
            let finding = waiting(0)
                .exhausted(exhausted_ns)
                .holding(Holding::ClientReadStall, 9 * SECOND)
                .judge("slow-clients");
            finding.assert_present();
            finding.advice
        };
        let free = scene(0);
        assert!(free.starts_with("Put a reverse proxy") && !free.contains("Without one"), "{free}");
        assert!(scene(9 * SECOND).contains("Without one, raise --threads"));
    }

    #[test]
    fn more_processes_help_those_that_compute_only_where_they_wait_for_one_another() {
        let scene = |class: &str, gil_wait_ns| {
            let mut scene = Scene::gunicorn(class, 4, 10 * SECOND)
                .requests(100)
                .phase(Phase::Cpu, 9 * SECOND)
                .phase(Phase::GilWait, gil_wait_ns)
                .holding_request(10 * SECOND)
                .process(2, 9 * SECOND, 0);
            scene.0.slots.peak_busy = 1;
            scene.judge("cpu-bound")
        };
        let alone = scene("gthread", 0);
        assert!(!raises(&alone), "{}", alone.advice);
        let expected = "Make the code of the endpoint named faster. More threads would do nothing: no more than 1 of 4 were busy at once.";
        assert_eq!(alone.advice, expected);
        assert!(raises(&scene("gthread", 2 * SECOND)));
    }

    #[test]
    fn greenlets_are_as_many_as_their_setting_says() {
        let scene = |most_at_once| {
            let mut scene = waiting(0);
            scene.0.server.name = "uwsgi".to_owned();
            scene.0.server.worker_class = "gevent".to_owned();
            scene.0.server.settings = vec![setting("processes", "2"), setting("gevent", "100")];
            scene.0.requests.peak_in_flight = most_at_once;
            scene.0.slots.observed.iter_mut().for_each(|slot| slot.is_loop = true);
            scene.judge("back-end")
        };
        let free = scene(40);
        assert!(!raises(&free), "{}", free.advice);
        assert!(free.advice.ends_with("no more than 40 requests were there at once."), "{}", free.advice);
        assert!(raises(&scene(100)));
    }
}
