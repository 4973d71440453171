//! Whether a front end's end and a server's end belong to the same connection, by what both sides saw of it.
//!
//! In: an end, and what the server's side shows. Out: how well they fit.

use super::{Evidence, FrontSocket};

/// How an end fits a connection of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In every respect that was seen.
    Exact,
    /// By order alone.
    Possible,
    /// The end fits so far: it has not written yet, or its write has not returned.
    Unwritten,
    No,
}

pub(super) fn fit(end: &FrontSocket, evidence: &Evidence) -> Fit {
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
        // On a UNIX socket the bytes arrive within the write, or the connection is another. On TCP the kernel
        // may delay them.
        (Some(write_ns), Some(arrival_ns)) if evidence.is_unix && !within(write_ns, arrival_ns) => Fit::No,
        (Some(write_ns), Some(arrival_ns)) if is_exact && within(write_ns, arrival_ns) => Fit::Exact,
        (Some(_), None) if is_exact && evidence.established_ns > 0 => Fit::Exact,
        _ => Fit::Possible,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    type SetUp = fn(&mut FrontSocket, &mut Evidence);

    /// A front end's connect from 10 to 20 and its first write from 30 to 60.
    fn end() -> FrontSocket {
        FrontSocket {
            is_unix: false,
            port: 8000,
            identity: 0,
            connect_ns: Some((10, 20)),
            first_write_ns: Some((30, 60)),
            unanswered: VecDeque::new(),
            asked: None,
            turned: false,
            paired: false,
            closed_ns: None,
        }
    }

    /// A connection of the server's that was made at 15, whose first byte arrived at 40, and that was
    /// accepted at 90.
    fn evidence() -> Evidence {
        Evidence {
            connection: 1,
            seeded: false,
            is_unix: false,
            port: 8000,
            identity: 0,
            established_ns: 15,
            accepted_ns: 90,
            arrival_ns: Some(40),
            ended: false,
        }
    }

    fn check(cases: &[(&str, SetUp, Fit)]) {
        for (what, set_up, expected) in cases {
            let (mut end, mut evidence) = (end(), evidence());
            set_up(&mut end, &mut evidence);
            assert_eq!(fit(&end, &evidence), *expected, "{what}");
        }
    }

    #[test]
    fn ends_of_other_kinds_or_of_known_other_connections_do_not_fit() {
        check(&[
            ("the same", |_, _| {}, Fit::Exact),
            ("another port", |end, _| end.port = 8001, Fit::No),
            ("a UNIX socket", |_, evidence| evidence.is_unix = true, Fit::No),
            ("both know the connection", |end, evidence| (end.identity, evidence.identity) = (7, 8), Fit::No),
            ("only one of them knows it", |end, _| end.identity = 7, Fit::Exact),
            ("it was there before", |_, evidence| evidence.seeded = true, Fit::No),
            ("its connect was not seen", |end, _| end.connect_ns = None, Fit::No),
            (
                "both were there before",
                |end, evidence| (end.connect_ns, evidence.seeded) = (None, true),
                Fit::Exact,
            ),
        ]);
    }

    #[test]
    fn a_connection_is_made_within_its_connect() {
        check(&[
            ("as it began", |_, evidence| evidence.established_ns = 10, Fit::Exact),
            ("before it began", |_, evidence| evidence.established_ns = 9, Fit::No),
            ("as it returned", |_, evidence| evidence.established_ns = 20, Fit::Exact),
            ("after it returned", |_, evidence| evidence.established_ns = 21, Fit::Possible),
            ("its handshake was not seen", |_, evidence| evidence.established_ns = 0, Fit::Exact),
            (
                "it was accepted before",
                |_, evidence| (evidence.established_ns, evidence.accepted_ns) = (0, 9),
                Fit::No,
            ),
        ]);
    }

    #[test]
    fn the_first_byte_arrives_within_the_first_write() {
        check(&[
            ("nothing is written yet", |end, _| end.first_write_ns = None, Fit::Unwritten),
            (
                "it was closed, and nothing was written",
                |end, _| (end.first_write_ns, end.closed_ns) = (None, Some(70)),
                Fit::No,
            ),
            ("as the write began", |_, evidence| evidence.arrival_ns = Some(30), Fit::Exact),
            ("before the write began", |_, evidence| evidence.arrival_ns = Some(29), Fit::No),
            ("as the write returned", |_, evidence| evidence.arrival_ns = Some(60), Fit::Exact),
            ("later: TCP may delay it", |_, evidence| evidence.arrival_ns = Some(61), Fit::Possible),
            (
                "later, on a UNIX socket",
                |end, evidence| {
                    (end.is_unix, evidence.is_unix) = (true, true);
                    evidence.arrival_ns = Some(61);
                },
                Fit::No,
            ),
            ("it was not measured", |_, evidence| evidence.arrival_ns = None, Fit::Exact),
            (
                "it was not measured, and neither the handshake",
                |_, evidence| (evidence.arrival_ns, evidence.established_ns) = (None, 0),
                Fit::Possible,
            ),
        ]);
    }
}
