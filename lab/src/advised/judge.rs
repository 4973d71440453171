//! What became of a finding: whether it is there, and what it costs.
//!
//! In: figures of two watches, as the report has them. Out: [`Fate`], how far two short runs differ by
//! themselves, and from when on one says nothing.

use super::watched::Watched;

/// A cost that has fallen to this share of what it was has fallen as advised.
pub const HALF: f64 = 0.5;
/// Fewer answers a second are as good as none.
const FEWEST_A_SECOND: f64 = 0.1;
/// What gets worse by less than this is the noise of two short runs.
pub const NOISE: f64 = 0.10;
/// Where a hypervisor took more of the CPUs' time than this, figures are not the server's.
pub const DISTURBED: f64 = 0.05;

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The finding is not present any more.
    Gone,
    /// What it costs is half of what it was, or less.
    Halved,
    /// The finding costs more than half of what it did.
    Stays,
    /// Whether the finding is present cannot be said.
    Undecided,
}

/// What a finding costs each answer, in request-seconds, from what it costs a second and the answers a
/// second. Clients that ask again at once are as many in line however fast it is served: what they wait a
/// second says nothing, what they wait for an answer does.
pub fn cost_of_answer(cost_rate: f64, per_second: f64) -> f64 {
    cost_rate / per_second.max(FEWEST_A_SECOND)
}

/// Of a finding that cost so much (request-seconds an answer), from its answer now and what it costs now.
pub fn fate(cost_before: f64, answer_now: Option<&str>, cost_now: f64) -> Fate {
    match answer_now {
        Some("absent" | "usual") => Fate::Gone,
        Some("present") if cost_before > 0.0 && cost_now <= cost_before * HALF => Fate::Halved,
        Some("present") => Fate::Stays,
        _ => Fate::Undecided,
    }
}

/// Of the finding of this id, between two watches.
pub fn fate_of(id: &str, before: &Watched, now: &Watched) -> Fate {
    let answer = now.finding(id).map(|found| found.answer.as_str());
    let cost = |watched: &Watched| cost_of_answer(watched.cost_rate(id), watched.per_second);
    fate(cost(before), answer, cost(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_gone_halved_or_stays_and_what_cannot_be_said_is_not_gone() {
        assert_eq!(fate(2.0, Some("absent"), 0.0), Fate::Gone);
        // Requests do it themselves, and nobody waits for another because of it.
        assert_eq!(fate(2.0, Some("usual"), 0.0), Fate::Gone);
        assert_eq!(fate(2.0, Some("present"), 1.0), Fate::Halved);
        assert_eq!(fate(2.0, Some("present"), 1.1), Fate::Stays);
        // What cost nothing has nothing to halve.
        assert_eq!(fate(0.0, Some("present"), 0.0), Fate::Stays);
        assert_eq!(fate(2.0, Some("undecided"), 0.0), Fate::Undecided);
        assert_eq!(fate(2.0, None, 0.0), Fate::Undecided);
    }

    #[test]
    fn a_line_that_is_as_long_and_moves_twice_as_fast_costs_half() {
        let (before, now) = (cost_of_answer(7.0, 200.0), cost_of_answer(7.0, 400.0));
        assert_eq!(fate(before, Some("present"), now), Fate::Halved);
        assert_eq!(fate(before, Some("present"), cost_of_answer(4.0, 150.0)), Fate::Stays, "fewer answers");
        assert!(cost_of_answer(7.0, 0.0).is_finite());
    }
}
