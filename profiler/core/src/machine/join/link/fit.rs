//! Whether a front end's end and a server's end belong to the same connection, by what both sides saw of it.
//!
//! In: an end, and what the server's side shows. Out: how well they fit.

use super::{End, Evidence};

/// How an end fits a connection of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In every respect that was seen.
    Exact,
    /// By order alone.
    Possible,
    /// So far: it has not written yet, or its write has not returned.
    Unwritten,
    No,
}

pub(super) fn fit(end: &End, evidence: &Evidence) -> Fit {
    if end.is_unix != evidence.is_unix || end.port != evidence.port {
        return Fit::No;
    }
    if end.identity != 0 && evidence.identity != 0 {
        // Both sides know it, and it was not the same.
        return Fit::No;
    }
    if evidence.seeded != end.connect_ns.is_none() {
        return Fit::No;
    }
    let within = |(enter_ns, exit_ns): (u64, u64), at_ns: u64| (enter_ns..=exit_ns).contains(&at_ns);
    let mut is_exact = true;
    if let Some(connect_ns) = end.connect_ns {
        let known_ns =
            if evidence.established_ns > 0 { evidence.established_ns } else { evidence.accepted_ns };
        if connect_ns.0 > known_ns {
            return Fit::No;
        }
        is_exact &= evidence.established_ns == 0 || within(connect_ns, evidence.established_ns);
    }
    match (end.first_write_ns, evidence.arrival_ns) {
        (None, _) if end.closed_ns.is_some() => Fit::No,
        (None, _) => Fit::Unwritten,
        (Some((enter_ns, _)), Some(arrival_ns)) if enter_ns > arrival_ns => Fit::No,
        // On a UNIX socket the bytes arrive within the write, or the connection is another. On TCP the kernel may delay them.
        (Some(write_ns), Some(arrival_ns)) if evidence.is_unix && !within(write_ns, arrival_ns) => Fit::No,
        (Some(write_ns), Some(arrival_ns)) if is_exact && within(write_ns, arrival_ns) => Fit::Exact,
        (Some(_), None) if is_exact && evidence.established_ns > 0 => Fit::Exact,
        _ => Fit::Possible,
    }
}
