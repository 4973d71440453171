//! What is said of the interpreter lock, in words that several forms use.
//!
//! In: requests, locks, contenders and places of a snapshot. Out: sentences without markup; what comes from
//! the target is escaped by the form.

use profiler_core::model::gil::{Contender, Convoy, Holder, Lock};
use profiler_core::model::gil_place::Spot;
use profiler_core::model::gil_waits::{GilWait, Site};
use profiler_core::model::request::Request;
use profiler_core::phase::Phase;

use super::shown;
use crate::report::{summary, unit};

/// Holders named in a sentence.
const NAMED: usize = 4;

/// Because of whom a request waited for the lock; nothing if it did not, or nobody is known. Hostile input.
pub(crate) fn because(request: &Request) -> Option<String> {
    let waited_ns = request.phases.get(Phase::GilWait);
    let is_known = request.gil.holders.iter().any(|holder| holder.contender != Contender::Unknown);
    if waited_ns == 0 || !is_known {
        return None;
    }
    let part = |holder: &Holder| format!("{} because of {}", shown(holder.wait_ns), held_by(holder));
    let mut parts: Vec<String> = request.gil.holders.iter().take(NAMED).map(part).collect();
    let rest: u64 = request.gil.holders.iter().skip(NAMED).map(|holder| holder.wait_ns).sum();
    if rest > 0 {
        parts.push(format!("{} because of others", shown(rest)));
    }
    Some(format!("waited {} for the GIL: {}", shown(waited_ns), parts.join(", ")))
}

/// A request's longest waits for the lock of which it is known where in Python either side was, longest
/// first, each with the place. Hostile input.
pub(crate) fn longest_waits(request: &Request) -> Vec<String> {
    let listed = request.gil.waits.iter().flat_map(|waits| &waits.listed);
    let sentence = |wait: &GilWait| {
        if wait.held_at.is_none() && wait.stood_at.is_none() {
            return None;
        }
        let mut sentence = shown(wait.wait_ns);
        if let Some(stood_at) = &wait.stood_at {
            sentence.push_str(&format!(" in {}", site(stood_at)));
        }
        if wait.holder.contender != Contender::Unknown {
            let most = wait.wait_ns / 10 * 9;
            let of_it = if wait.holder.wait_ns >= most {
                String::new()
            } else {
                shown(wait.holder.wait_ns) + " of it "
            };
            sentence.push_str(&format!(", {of_it}because of {}", held_by(&wait.holder)));
        }
        if let Some(held_at) = &wait.held_at {
            sentence.push_str(&format!(", found in {}", site(&held_at.site)));
        }
        Some(sentence)
    };
    listed.filter_map(sentence).collect()
}

/// A place in Python, a library's with the application's line that called it. Hostile input.
pub(crate) fn site(site: &Site) -> String {
    match site.called_from.as_ref().filter(|_| site.at.is_library()) {
        Some(from) => format!("{}, called from {}", spot(&site.at), spot(from)),
        None => spot(&site.at),
    }
}

/// A line of a function, the line first: what is cut off is the end. Hostile input.
pub(crate) fn spot(spot: &Spot) -> String {
    match spot.line {
        0 => format!("{} {}", spot.short_file(), spot.function),
        line => format!("{}:{line} {}", spot.short_file(), spot.function),
    }
}

/// What a contender is called. Hostile input.
pub(crate) fn contender(contender: &Contender) -> String {
    match contender {
        Contender::Endpoint(name) if name.is_empty() => "head not read".to_owned(),
        Contender::Endpoint(name) => name.clone(),
        Contender::Thread { tid, comm, .. } => format!("thread {tid} ({comm}), no request"),
        Contender::Unknown => "not known".to_owned(),
    }
}

/// What a contender is called within a sentence. Hostile input.
pub(crate) fn contender_in_sentence(side: &Contender) -> String {
    match side {
        Contender::Endpoint(name) if !name.is_empty() => name.clone(),
        Contender::Endpoint(_) | Contender::Unknown => format!("({})", contender(side)),
        Contender::Thread { tid, comm, .. } => format!("thread {tid} ({comm})"),
    }
}

/// What the holder was to the request. Hostile input.
fn held_by(holder: &Holder) -> String {
    match &holder.contender {
        Contender::Endpoint(name) if name.is_empty() => {
            format!("a request whose head was not read (thread {})", holder.tid)
        }
        Contender::Endpoint(name) => format!("{name} (thread {})", holder.tid),
        Contender::Thread { tid, comm, .. } => {
            format!("a thread that serves no request (thread {tid}, background: {comm})")
        }
        Contender::Unknown => "a holder that is not known".to_owned(),
    }
}

/// How long a lock was held, as far as that is known.
pub(crate) fn held(lock: &Lock, window_ns: u64) -> String {
    let least = unit::percent(summary::ratio(lock.held_at_least_ns.min(window_ns), window_ns));
    match lock.held_at_most_ns {
        Some(most_ns) => {
            let most_ns = most_ns.max(lock.held_at_least_ns).min(window_ns);
            format!("held {least} to {} of the window", unit::percent(summary::ratio(most_ns, window_ns)))
        }
        None => format!("held at least {least} of the window"),
    }
}

/// How threads came to wait for a lock, and what happened to them then.
pub(crate) fn course(lock: &Lock) -> Vec<String> {
    let mut parts = Vec::new();
    if !lock.is_between_unseen {
        parts.push(format!(
            "{} after a forced release, {} after a voluntary one",
            unit::count(lock.after_forced),
            unit::count(lock.after_voluntary)
        ));
    }
    if lock.asked.not_honoured > 0 {
        parts.push(format!(
            "asked {} for more than a switch interval without success ({} in all): code that does not release the lock",
            times(lock.asked.not_honoured),
            shown(lock.asked.not_honoured_ns)
        ));
    } else if !lock.asked.switches_known || lock.asked.ends_unknown > 0 {
        parts.push("whether requests to give it up were honoured was not read".to_owned());
    }
    if lock.overtaken.missed > 0 && !lock.is_between_unseen {
        parts.push(format!(
            "{} of {} wakeups came too late, up to {} in a row",
            unit::count(lock.overtaken.missed),
            unit::count(lock.overtaken.woken),
            lock.overtaken.deepest
        ));
    }
    if let Some(convoy) = lock.convoy {
        parts.push(coefficient(convoy));
    }
    parts
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", unit::count(count)) }
}

/// The coefficient, with the word that mod_wsgi-telemetry has for it.
fn coefficient(convoy: Convoy) -> String {
    let word = match convoy.q {
        q if q >= 0.7 => "transient",
        q if q >= 0.4 => "compounding",
        _ => "convoy",
    };
    format!("contention coefficient q = {:.2} ({word}; R2 {:.2})", convoy.q, convoy.r2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_request_says_because_of_whom_it_waited_for_the_lock_and_how_long() {
        let mut request = fixture::healthy().0.requests.slowest.first().expect("a request").clone();
        request.phases.add(Phase::GilWait, 12_400_000);
        let background = Contender::Thread { tgid: 1, tid: 9, comm: "metrics".to_owned() };
        request.gil.holders = vec![
            Holder { contender: Contender::Endpoint("GET /report".to_owned()), tid: 7, wait_ns: 9_100_000 },
            Holder { contender: background, tid: 9, wait_ns: 3_000_000 },
            Holder { contender: Contender::Unknown, tid: 0, wait_ns: 300_000 },
        ];
        assert_eq!(
            because(&request).as_deref(),
            Some(
                "waited 12.4 ms for the GIL: 9.10 ms because of GET /report (thread 7), 3.00 ms because of a thread that \
                 serves no request (thread 9, background: metrics), 300 µs because of a holder that is not known"
            )
        );
        request.gil.holders.clear();
        assert_eq!(because(&request), None);
    }

    #[test]
    fn a_long_wait_of_a_request_says_where_it_stood_and_where_the_holder_was_as_far_as_that_is_known() {
        let mut request = fixture::healthy().0.requests.slowest.first().expect("a request").clone();
        assert!(longest_waits(&request).is_empty());
        let mut waits = fixture::gil_waits();
        let first = waits.listed.first().expect("a wait").clone();
        let unknown = Holder { contender: Contender::Unknown, tid: 0, wait_ns: 12_000_000 };
        waits.listed.push(GilWait {
            held_at: None,
            holder: unknown.clone(),
            wait_ns: 12_000_000,
            ..first.clone()
        });
        // Of this one nothing is known that the holders do not say.
        waits.listed.push(GilWait { held_at: None, stood_at: None, ..first });
        request.gil.waits = Some(Box::new(waits));
        assert_eq!(
            longest_waits(&request),
            [
                "31.0 ms in template/base.py:904 Node.render, called from shop/views.py:41 render, because of GET / (thread 4132), \
                 found in json/encoder.py:258 JSONEncoder.iterencode, called from shop/views.py:88 report",
                "4.10 ms, 2.00 ms of it because of GET / (thread 4132), found in <string> f<b>",
                "12.0 ms in template/base.py:904 Node.render, called from shop/views.py:41 render",
            ]
        );
    }
}
