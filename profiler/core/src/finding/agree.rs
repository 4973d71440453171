//! One report gives one direction: no two pieces of its advice change one thing opposite ways.
//!
//! In: findings with their advice. Out: the same, where advice that goes against that of a deeper cause has
//! lost the part that does. What all others share is the deepest cause: the CPU, then the interpreter, then
//! what requests wait for.

use super::{Answer, Finding};
use crate::server::advice::{Advice, Move, act};

/// Share of service time from which waiting for the GIL can be the cause of other findings. With less its
/// advice may make them worse. Threads behind a back end, who also lost 3 % to a GIL convoy, were told to be
/// fewer, and p99 rose by three quarters (`make advice`, back-end-gthread). Where its advice was followed and
/// helped, waiting for the GIL was as long as service time (1.04 to 2.2 times): in between nothing was
/// measured.
const CAUSE_MIN_RATIO: f64 = 0.25;
/// The place of findings that are too slight to be a cause.
const SLIGHT: u8 = 6;

/// What goes first where two disagree; of equals the costlier one. A finding about the GIL comes first where
/// it takes a good part of `served_ns`, the service time: what takes less cannot be what the others come
/// from.
fn depth(finding: &Finding, served_ns: u64) -> u8 {
    match finding.id {
        "cpu-throttled" => 0,
        "cpu-bound" => 1,
        id if id.starts_with("gil-") => {
            let is_slight = (finding.cost_ns as f64) < served_ns as f64 * CAUSE_MIN_RATIO;
            if is_slight { SLIGHT } else { 2 }
        }
        "own-locks" => 3,
        "herd" | "imbalance" | "full-beside-free" => 7,
        "slots-exhausted" => 5,
        _ => 4,
    }
}

/// Takes out of the advice on what is present whatever goes against the advice on what lies deeper, of
/// `served_ns` of service time.
pub(super) fn reconcile(findings: &mut [Finding], served_ns: u64) {
    let present = |finding: &Finding| finding.answer == Answer::Present;
    let mut order: Vec<usize> = Vec::new();
    order.extend(findings.iter().enumerate().filter(|(_, finding)| present(finding)).map(|(at, _)| at));
    order.sort_by_key(|at| {
        let place = |finding: &Finding| (depth(finding, served_ns), std::cmp::Reverse(finding.cost_ns));
        findings.get(*at).map(place)
    });
    let mut said: Vec<(Move, (&'static str, u8))> = Vec::new();
    for at in order {
        let Some(finding) = findings.get_mut(at) else { continue };
        let against = |change: Move| said.iter().find(|(other, _)| other.opposes(change)).map(|(_, by)| *by);
        let deepest = finding.steps.moves().find_map(against);
        let own = depth(finding, served_ns);
        if let Some((by, its)) = deepest {
            let left = finding.steps.without(|change| against(change).is_some());
            let why = if its < own && own < SLIGHT { "it goes deeper" } else { "it costs more" };
            finding.advise(left.unwrap_or_else(|| first_do(by, why)));
            finding.yields_to = Some(by);
        }
        said.extend(finding.steps.moves().map(|one| (one, (finding.id, own))));
    }
}

/// What to do where nothing of the advice is left.
fn first_do(by: &str, why: &str) -> Advice {
    act(format!("first do what {by} advises")).because(why).into()
}

/// Whether two pieces of advice change one thing opposite ways.
#[cfg(test)]
pub(super) fn oppose(one: &Advice, other: &Advice) -> bool {
    one.moves().any(|change| other.moves().any(|its| its.opposes(change)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::advice::fixture::{threads, workers};
    use crate::server::advice::{Sizes, lower, raise, say};

    fn finding(id: &'static str, cost_ns: u64, advice: Advice) -> Finding {
        let mut finding = Finding {
            id,
            answer: Answer::Present,
            sentence: String::new(),
            cost_ns,
            evidence: Vec::new(),
            count: 0,
            exemplars: Vec::new(),
            advice: String::new(),
            steps: Advice::default(),
            follows: None,
            yields_to: None,
            apart: Vec::new(),
            outlook: None,
        };
        finding.advise(advice);
        finding
    }

    #[test]
    fn advice_against_a_deeper_cause_loses_what_is_against_it_and_nothing_else() {
        let mut all = [
            finding(
                "back-end",
                9,
                Advice::first(act("speed up the back end's answers").or(act("ask it less often")))
                    .then(raise(&threads()).when("Until then").because("a waiting thread costs little")),
            ),
            finding(
                "gil-convoy",
                5,
                raise(&workers()).and(lower(&threads())).because("processes do not share the GIL").into(),
            ),
        ];
        reconcile(&mut all, 0);
        assert_eq!(all[0].advice, "Speed up the back end's answers, or ask it less often.");
        assert_eq!(all[0].yields_to, Some("gil-convoy"));
        assert!(all[1].advice.contains("lower --threads") && all[1].yields_to.is_none());
    }

    #[test]
    fn what_takes_little_of_the_time_overrules_nothing_that_takes_most_of_it() {
        let all = || {
            [
                finding("slots-exhausted", 15, raise(&threads()).into()),
                finding("gil-convoy", 1, raise(&workers()).and(lower(&threads())).into()),
            ]
        };
        let (mut slight, mut deep) = (all(), all());
        reconcile(&mut slight, 16);
        assert_eq!(slight[0].advice, "Raise --threads (now 8).");
        assert_eq!(slight[1].advice, "Raise --workers (now 2).");
        assert_eq!(slight[1].yields_to, Some("slots-exhausted"));
        reconcile(&mut deep, 4);
        assert_eq!(deep[0].yields_to, Some("gil-convoy"));
        let mut throttled = [
            finding("gil-contention", 15, raise(&workers()).into()),
            finding("cpu-throttled", 1, Advice::first(act("raise the limit")).then(lower(&workers()))),
        ];
        reconcile(&mut throttled, 16);
        assert_eq!(throttled[0].advice, "First do what cpu-throttled advises: it goes deeper.");
    }

    #[test]
    fn advice_of_which_nothing_is_left_points_to_what_goes_deeper() {
        let no_more = say("more workers or threads would make it worse").no_more(Sizes::Processes);
        let mut all = [
            finding("slots-exhausted", 9, raise(&workers()).so("up to the number of cores").into()),
            finding("cpu-bound", 5, Advice::first(act("give the host more cores")).then(no_more)),
        ];
        reconcile(&mut all, 0);
        assert_eq!(all[0].advice, "First do what cpu-bound advises: it goes deeper.");
    }

    /// Findings, and the cases of their numbers, that change something.
    const ASKED: [(&str, &str); 18] = [
        ("slots-exhausted", "slots-exhausted"),
        ("slots-exhausted", "slots-exhausted/waiting"),
        ("slots-exhausted", "slots-exhausted/computing"),
        ("slots-exhausted", "slots-exhausted/cpu-short"),
        ("slots-exhausted", "slots-exhausted/one-worker"),
        ("slow-clients", "slow-clients"),
        ("back-end", "back-end"),
        ("own-locks", "own-locks"),
        ("cpu-bound", "cpu-bound"),
        ("cpu-bound", "cpu-bound/turns"),
        ("cpu-bound", "cpu-bound/cores"),
        ("cpu-throttled", "cpu-throttled"),
        ("gil-contention", "gil-contention"),
        ("gil-convoy", "gil-convoy"),
        ("gil-threads", "gil-threads"),
        ("short-behind-long", "short-behind-long"),
        ("herd", "herd"),
        ("full-beside-free", "full-beside-free"),
    ];

    #[test]
    fn no_two_pieces_of_advice_on_any_server_change_one_thing_opposite_ways() {
        let site = crate::server::site::Site { own_tcp: true, ..Default::default() };
        for kind in crate::server::KINDS {
            for class in ["sync", "gthread", "gevent", "daemon", "embedded", "unknown"] {
                let server = crate::model::Server {
                    name: kind.name().to_owned(),
                    worker_class: class.to_owned(),
                    ..Default::default()
                };
                let advice = |(id, case): (&'static str, &str), cost_ns| {
                    Some(finding(id, cost_ns, kind.advice(case, &server, &site)?))
                };
                for one in ASKED {
                    for other in ASKED.into_iter().filter(|other| other.0 != one.0) {
                        let (Some(first), Some(second)) = (advice(one, 2), advice(other, 1)) else {
                            continue;
                        };
                        let mut both = [first, second];
                        reconcile(&mut both, 0);
                        let [first, second] = &both;
                        assert!(!oppose(&first.steps, &second.steps), "{}\n{}", first.advice, second.advice);
                        for text in [&first.advice, &second.advice] {
                            assert!(text.ends_with('.') && text.starts_with(char::is_uppercase), "{text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn part_of_a_sentence_stays_where_the_other_part_goes() {
        let mut all = [
            finding(
                "gil-convoy",
                9,
                raise(&workers()).and(lower(&threads())).because("processes do not share the GIL").into(),
            ),
            finding(
                "cpu-throttled",
                5,
                Advice::first(act("raise the CPU limit of the server's cgroup"))
                    .then(lower(&workers()).when("If that cannot be")),
            ),
        ];
        reconcile(&mut all, 0);
        assert_eq!(all[0].advice, "Lower --threads (now 8): processes do not share the GIL.");
    }
}
