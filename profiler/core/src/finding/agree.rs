//! One report gives one direction: no two pieces of its advice turn one thing opposite ways.
//!
//! In: findings with their advice. Out: the same, where advice that goes against that of a deeper cause has lost the part that does.
//! What all others share is the deepest cause: the CPU, then the interpreter, then what requests wait for.

use super::{Answer, Finding};

/// What advice turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Processes,
    Threads,
}

/// Where it turns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    /// Or not up.
    Down,
}

type Move = (Thing, Way);

/// What goes first where two disagree; of equals the costlier one.
fn depth(id: &str) -> u8 {
    match id {
        "cpu-throttled" => 0,
        "cpu-bound" => 1,
        "gil-contention" | "gil-starvation" | "gil-not-released" | "gil-convoy" | "gil-threads" => 2,
        "own-locks" => 3,
        "herd" | "imbalance" | "full-beside-free" => 6,
        "slots-exhausted" => 5,
        _ => 4,
    }
}

/// Takes out of the advice on what is present whatever goes against the advice on what lies deeper.
pub(super) fn reconcile(findings: &mut [Finding]) {
    let present = |finding: &Finding| finding.answer == Answer::Present;
    let mut order: Vec<usize> = Vec::new();
    order.extend(findings.iter().enumerate().filter(|(_, finding)| present(finding)).map(|(at, _)| at));
    order.sort_by_key(|at| {
        findings.get(*at).map(|finding| (depth(finding.id), std::cmp::Reverse(finding.cost_ns)))
    });
    let mut said: Vec<(Move, &'static str)> = Vec::new();
    for at in order {
        let Some(finding) = findings.get_mut(at) else { continue };
        let against = |clause: &str| {
            let opposed = |(thing, way): Move| {
                said.iter()
                    .find(|((other, its_way), _)| *other == thing && *its_way != way)
                    .map(|(_, id)| *id)
            };
            moves(clause).into_iter().find_map(opposed)
        };
        if let Some(by) = against(&finding.advice) {
            finding.advice = without(&finding.advice, by, |clause| against(clause).is_some());
            finding.yields_to = Some(by);
        }
        said.extend(moves(&finding.advice).into_iter().map(|one| (one, finding.id)));
    }
}

/// The advice without the clauses that go against that on `by`.
fn without(advice: &str, by: &str, goes_against: impl Fn(&str) -> bool) -> String {
    let mut kept: Vec<String> = Vec::new();
    for sentence in sentences(advice) {
        if !goes_against(sentence) {
            kept.push(sentence.to_owned());
            continue;
        }
        let clauses: Vec<&str> =
            clauses(sentence).into_iter().filter(|clause| !goes_against(clause)).collect();
        // What only explains a clause that is gone says nothing by itself.
        if clauses.iter().any(|clause| !moves(clause).is_empty()) {
            kept.push(format!("{}.", capital(&clauses.join("; "))));
        }
    }
    // Without its first sentence, what is left is an afterthought, unless it says what to turn.
    let starts_anew = kept.first().is_none_or(|first| !advice.starts_with(first.as_str()));
    if starts_anew && !kept.iter().any(|sentence| !moves(sentence).is_empty()) {
        return format!("First do what {by} advises: it goes deeper.");
    }
    kept.join(" ")
}

fn sentences(advice: &str) -> Vec<&str> {
    advice.split_inclusive(". ").map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

/// The parts of a sentence that each say one thing to do.
fn clauses(sentence: &str) -> Vec<&str> {
    let mut parts = vec![sentence.trim_end_matches('.')];
    for between in ["; or ", "; ", ", or ", ", and ", " and lower ", " and raise "] {
        let keeps_verb = between.trim_start().strip_prefix("and ").filter(|verb| verb.len() > 1);
        parts = parts
            .into_iter()
            .flat_map(|part| match (keeps_verb, part.find(between)) {
                (Some(_), Some(at)) => {
                    let (one, other) = part.split_at(at);
                    vec![one, other.trim_start().trim_start_matches("and ")]
                }
                (Some(_), None) => vec![part],
                (None, _) => part.split(between).collect(),
            })
            .collect();
    }
    parts
}

/// What a text turns, and where to.
fn moves(text: &str) -> Vec<Move> {
    let mut moves = Vec::new();
    for sentence in sentences(text) {
        for clause in clauses(sentence) {
            // "More threads do not help" and the like.
            let warns = ["not help", "make it worse", "only wait", "lose nothing"];
            let is_warning = warns.iter().any(|words| clause.contains(words));
            let mut way = None;
            for word in clause.split_whitespace() {
                let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
                match bare.to_ascii_lowercase().as_str() {
                    "raise" | "raising" | "more" | "another" => way = Some(Way::Up),
                    "lower" | "fewer" => way = Some(Way::Down),
                    _ => {}
                }
                let thing = match bare {
                    "workers" | "processes" | "MaxRequestWorkers" => Some(Thing::Processes),
                    "threads" | "server.thread_pool" => Some(Thing::Threads),
                    _ => None,
                };
                if let (Some(thing), Some(way)) = (thing, way) {
                    moves.push((thing, if is_warning { Way::Down } else { way }));
                }
                // What follows says why.
                if way.is_some() && word.ends_with(':') {
                    break;
                }
            }
        }
    }
    moves.dedup();
    moves
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Whether two texts turn one thing opposite ways.
#[cfg(test)]
pub(super) fn oppose(one: &str, other: &str) -> bool {
    let (ones, others) = (moves(one), moves(other));
    ones.iter().any(|(thing, way)| others.iter().any(|(its, its_way)| its == thing && its_way != way))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &'static str, cost_ns: u64, advice: &str) -> Finding {
        Finding {
            id,
            answer: Answer::Present,
            sentence: String::new(),
            cost_ns,
            evidence: Vec::new(),
            count: 0,
            exemplars: Vec::new(),
            advice: advice.to_owned(),
            follows: None,
            yields_to: None,
        }
    }

    #[test]
    fn advice_against_a_deeper_cause_loses_what_is_against_it_and_nothing_else() {
        let mut all = [
            finding(
                "back-end",
                9,
                "The time is lost in a back end: speed up its answers, or ask it less often. Until then raise --threads (now 8): a \
                 waiting thread costs little.",
            ),
            finding(
                "gil-convoy",
                5,
                "Raise --workers (now 2), and lower --threads (now 8): processes do not share the GIL.",
            ),
        ];
        reconcile(&mut all);
        assert_eq!(
            all[0].advice,
            "The time is lost in a back end: speed up its answers, or ask it less often."
        );
        assert!(all[1].advice.contains("lower --threads"));
    }

    #[test]
    fn advice_of_which_nothing_is_left_points_to_what_goes_deeper() {
        let mut all = [
            finding("slots-exhausted", 9, "Raise --processes (now 2) up to the number of cores."),
            finding("cpu-bound", 5, "More workers or threads would make it worse: give the host more cores."),
        ];
        reconcile(&mut all);
        assert_eq!(all[0].advice, "First do what cpu-bound advises: it goes deeper.");
    }

    #[test]
    fn what_advice_turns_is_read_off_it_and_reasons_are_none() {
        use Thing::{Processes, Threads};
        for (text, expected) in [
            (
                "Raise --workers (now 2) up to the number of cores and lower --threads (now 8): processes do not share the GIL, \
                 threads do.",
                vec![(Processes, Way::Up), (Threads, Way::Down)],
            ),
            (
                "An event loop uses one core at most: raise --workers while cores are free.",
                vec![(Processes, Way::Up)],
            ),
            (
                "Raise --processes up to the number of cores, or make the code faster; more threads do not help while Python holds \
                 the GIL.",
                vec![(Processes, Way::Up), (Threads, Way::Down)],
            ),
            (
                "More workers or threads would not help: the CPU is what is short. Give the server more of it, make the code \
                 faster, or lower --workers so that fewer compete.",
                vec![(Processes, Way::Down), (Threads, Way::Down), (Processes, Way::Down)],
            ),
            (
                "The requests wait rather than compute: raise --threads, a waiting thread costs little.",
                vec![(Threads, Way::Up)],
            ),
            ("Use fewer processes with more threads each.", vec![(Processes, Way::Down), (Threads, Way::Up)]),
            (
                "Raise threads= (now 4; mod_wsgi-express: --threads) where requests wait.",
                vec![(Threads, Way::Up)],
            ),
            (
                "Where requests wait rather than compute, --worker-class gthread with --threads serves several.",
                vec![],
            ),
        ] {
            assert_eq!(moves(text), expected, "{text}");
        }
    }

    /// Findings, and the cases of their numbers, that turn something.
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
    fn no_two_pieces_of_advice_on_any_server_turn_one_thing_opposite_ways() {
        let site = crate::server::site::Site { own_tcp: true, ..Default::default() };
        for kind in crate::server::KINDS {
            for class in ["sync", "gthread", "gevent", "daemon", "embedded", "unknown"] {
                let server = crate::model::Server {
                    name: kind.name().to_owned(),
                    worker_class: class.to_owned(),
                    ..Default::default()
                };
                let advice = |(id, case): (&'static str, &str), cost_ns| {
                    Some(finding(id, cost_ns, &kind.advice(case, &server, &site)?))
                };
                for one in ASKED {
                    for other in ASKED.into_iter().filter(|other| other.0 != one.0) {
                        let (Some(first), Some(second)) = (advice(one, 2), advice(other, 1)) else {
                            continue;
                        };
                        let mut both = [first, second];
                        reconcile(&mut both);
                        let [first, second] = &both;
                        assert!(
                            !oppose(&first.advice, &second.advice),
                            "{}\n{}",
                            first.advice,
                            second.advice
                        );
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
                "Raise --workers (now 2), and lower --threads (now 8): processes do not share the GIL.",
            ),
            finding(
                "cpu-throttled",
                5,
                "Raise the CPU limit of the server's cgroup. If that cannot be, lower --workers (now 2).",
            ),
        ];
        reconcile(&mut all);
        assert_eq!(all[0].advice, "Lower --threads (now 8): processes do not share the GIL.");
    }
}
