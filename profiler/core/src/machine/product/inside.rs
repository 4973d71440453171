//! Connections behind a front end that ended before their request was answered: why the front end answered
//! with an error of its own.
//!
//! In: ends of connections between a front end and the server. Out: the one that caused an error of the front
//! end's own.

use std::collections::VecDeque;

use crate::bounded::push_newest;
use crate::event::Tid;
use crate::machine::wire::ending::Ended;
use crate::machine::wire::signs::{Answered, Signs};

/// Ends kept, the newest. For most nobody ever asks: only a front end that answers soon after does.
const MAX_KEPT: usize = 4096;
/// Errors that a front end gives in the server's place (RFC 9110, 15.6; Apache also says 500 where mod_wsgi's
/// daemon died).
const ERRORS: std::ops::RangeInclusive<u16> = 500..=504;

/// Ends that nobody has asked for yet, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Inside {
    kept: VecDeque<Ended>,
    /// Requests of the front end whose error is the server's own answer.
    passed_on: VecDeque<u64>,
}

impl Inside {
    /// A connection behind the front end ended.
    pub(in crate::machine) fn ended(&mut self, ended: Ended) {
        let is_lost = ended.unfinished.as_ref().is_some_and(|request| !request.responding);
        if !is_lost {
            return;
        }
        push_newest(&mut self.kept, MAX_KEPT, ended);
    }

    /// Processes of the ends that nobody has asked for yet.
    pub(in crate::machine) fn tgids(&self) -> impl Iterator<Item = Tid> {
        self.kept.iter().map(|ended| ended.tgid)
    }

    /// Requests of the front end got an error which was the server's own answer.
    pub(in crate::machine) fn passed_on(&mut self, requests: Vec<u64>) {
        self.passed_on.extend(requests);
        let too_many = self.passed_on.len().saturating_sub(MAX_KEPT);
        self.passed_on.drain(..too_many);
    }

    /// Whether a front end's answer was the server's.
    pub(in crate::machine) fn was_passed_on(&self, answered: &Answered) -> bool {
        ERRORS.contains(&answered.status) && self.passed_on.contains(&answered.request)
    }

    /// The end of the connection on which the front end passed on this client's last request. It is the one
    /// that the front end made or used for it, where known. Else it is one whose request began while the
    /// front end had this one.
    pub(in crate::machine) fn behind(&mut self, answered: &Answered, signs: &Signs) -> Option<Ended> {
        if !ERRORS.contains(&answered.status) {
            return None;
        }
        let is_it = |ended: &Ended| {
            let began_ns = ended.unfinished.as_ref().map_or(0, |request| request.start_ns);
            let is_same =
                signs.behind == 0 || ended.origin.identity == 0 || signs.behind == ended.origin.identity;
            is_same && (answered.start_ns..=answered.end_ns).contains(&began_ns)
        };
        let place = self.kept.iter().position(is_it)?;
        self.kept.remove(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Connection as Opened;
    use crate::machine::wire::connection::Connections;
    use crate::machine::wire::ending::How;
    use crate::machine::wire::request::{Active, Beginning};

    /// The end of a connection to the server behind, with a request that began then, by the process of that
    /// number.
    fn ended(identity: u64, start_ns: u64, responding: bool) -> Ended {
        let mut connections = Connections::default();
        let number = connections.open(&Opened::accepted(5), 10).unwrap();
        let connection = connections.get_mut(number).unwrap();
        let mut active = Active::new(&Beginning::at(identity, start_ns), 1, 1);
        active.response.has_begun = responding;
        connection.requests.push_back(Box::new(active));
        connection.origin.identity = identity;
        Ended::of(connection, How::Closed, 900)
    }

    /// What the front end answered to a request from 100 to 200.
    fn answered(id: u64, status: u16) -> Answered {
        let mut request = Active::new(&Beginning::at(id, 100), 1, 1).request;
        (request.times.end_ns, request.http.status) = (200, status);
        let mut signs = Signs::default();
        signs.answers(&request);
        signs.answered.unwrap()
    }

    #[test]
    fn an_error_of_the_front_ends_is_by_the_connection_that_it_used_for_it() {
        for (what, status, behind, identity, start_ns, is_it) in [
            ("the one that it used", 502, 7, 7, 150, true),
            ("another one", 502, 7, 8, 150, false),
            ("the front end's is not known", 502, 0, 8, 150, true),
            ("the server's is not known", 502, 7, 0, 150, true),
            ("its request came with the client's", 502, 7, 7, 100, true),
            ("its request came with the answer", 502, 7, 7, 200, true),
            ("its request came before", 502, 7, 7, 99, false),
            ("its request came after", 502, 7, 7, 201, false),
            ("the lowest error", 500, 7, 7, 150, true),
            ("the highest error", 504, 7, 7, 150, true),
            ("an error of the client's", 499, 7, 7, 150, false),
            ("an error of another kind", 505, 7, 7, 150, false),
        ] {
            let mut inside = Inside::default();
            inside.ended(ended(identity, start_ns, false));
            let signs = Signs { behind, ..Signs::default() };
            let found = inside.behind(&answered(1, status), &signs);
            assert_eq!(found.map(|ended| ended.origin.identity), is_it.then_some(identity), "{what}");
            assert_eq!(
                inside.behind(&answered(1, status), &signs).map(|ended| ended.id),
                None,
                "{what}: once"
            );
        }
    }

    #[test]
    fn the_first_of_several_connections_that_fit_is_the_one() {
        let mut inside = Inside::default();
        [(8, 150), (7, 150), (7, 160)].into_iter().for_each(|(identity, start_ns)| {
            inside.ended(ended(identity, start_ns, false));
        });
        let signs = Signs { behind: 7, ..Signs::default() };
        let start_ns = |ended: Option<Ended>| ended?.unfinished.map(|request| request.start_ns);
        assert_eq!(start_ns(inside.behind(&answered(1, 502), &signs)), Some(150));
        assert_eq!(start_ns(inside.behind(&answered(1, 502), &signs)), Some(160));
        assert_eq!(inside.tgids().count(), 1, "the other one's");
    }

    #[test]
    fn a_connection_whose_response_had_begun_or_that_was_idle_caused_no_error() {
        let mut inside = Inside::default();
        inside.ended(ended(7, 150, true));
        inside.ended(Ended { unfinished: None, ..ended(7, 150, false) });
        assert_eq!(inside.tgids().count(), 0);
    }

    #[test]
    fn the_newest_are_kept() {
        let mut inside = Inside::default();
        (0..MAX_KEPT as u64 + 2).for_each(|identity| inside.ended(ended(identity, 150, false)));
        assert_eq!(inside.kept.len(), MAX_KEPT);
        assert_eq!(inside.kept.front().map(|ended| ended.origin.identity), Some(2));
        inside.passed_on((0..MAX_KEPT as u64).collect());
        inside.passed_on(vec![9_000, 9_001]);
        assert_eq!(inside.passed_on.len(), MAX_KEPT);
        let was_passed_on = |id| inside.was_passed_on(&answered(id, 502));
        assert_eq!([1, 2, 9_001].map(was_passed_on), [false, true, true]);
    }

    #[test]
    fn only_errors_are_passed_on() {
        let mut inside = Inside::default();
        inside.passed_on(vec![1]);
        for (id, status, expected) in [(1, 500, true), (1, 504, true), (1, 200, false), (2, 500, false)] {
            assert_eq!(inside.was_passed_on(&answered(id, status)), expected, "{id} {status}");
        }
    }
}
