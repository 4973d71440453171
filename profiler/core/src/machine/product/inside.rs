//! Connections behind a front end that ended before their request was answered: why the front end answered with an error
//! of its own.
//!
//! In: ends of connections between a front end and the server. Out: the one that caused an error of the front end's own.

use std::collections::VecDeque;

use crate::event::Tid;
use crate::machine::wire::ending::Ended;
use crate::machine::wire::signs::{Answered, Signs};

/// Ends kept, the newest. For most nobody ever asks: only a front end that answers soon after does.
const MAX_KEPT: usize = 4096;
/// Errors that a front end gives in the server's place (RFC 9110, 15.6; Apache also says 500 where mod_wsgi's daemon died).
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
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(ended);
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

    /// The end of the connection on which the front end passed on this client's last request. It is the one that the front end made or used for it, where
    /// known. Else it is one whose request began while the front end had this one.
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
