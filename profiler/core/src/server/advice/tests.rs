//! Advice as sentences, and what is left of it beside deeper advice.

use super::fixture::{threads, workers};
use super::*;

/// A value to set.
fn sixty() -> Part {
    act("set --timeout (now 30) to 60").with_value(Setting::named("--timeout").now(30), "60")
}

#[test]
fn a_step_reads_as_a_sentence() {
    for (advice, expected) in [
        (
            Advice::first(
                raise(&workers())
                    .so("up to the number of cores")
                    .and(lower(&threads()))
                    .because("processes do not share the GIL, threads do"),
            ),
            "Raise --workers (now 2) up to the number of cores and lower --threads (now 8): processes do not share the GIL, threads do.",
        ),
        (
            Advice::first(act("speed up its answers").or(act("ask it less often")))
                .then(raise(&threads()).when("Until then").because("a waiting thread costs little")),
            "Speed up its answers, or ask it less often. Until then, raise --threads (now 8): a waiting thread costs little.",
        ),
        (
            Advice::first(raise(&workers())).then(say("more threads do not help").no_more(Sizes::Threads)),
            "Raise --workers (now 2). More threads do not help.",
        ),
        (sixty().into(), "Set --timeout (now 30) to 60."),
    ] {
        assert_eq!(advice.to_string(), expected);
    }
}

#[test]
fn an_option_says_its_present_value_and_its_other_name() {
    let option = Setting::named("threads=").now(4).or_as("mod_wsgi-express: --threads");
    assert_eq!(option.to_string(), "threads= (now 4; mod_wsgi-express: --threads)");
    assert_eq!(Setting { is_seen: true, ..threads() }.to_string(), "--threads (seen: 8)");
    assert_eq!(Setting::named("--backlog").to_string(), "--backlog");
}

#[test]
fn what_is_against_deeper_advice_goes_and_nothing_else() {
    let fewer_threads = |change: Move| Move::down(Sizes::Threads).opposes(change);
    let fewer_processes = |change: Move| Move::down(Sizes::Processes).opposes(change);
    let back_end = Advice::first(act("speed up its answers")).then(raise(&threads()).when("Until then"));
    assert_eq!(
        back_end.without(fewer_threads).map(|advice| advice.to_string()).as_deref(),
        Some("Speed up its answers.")
    );
    let convoy =
        Advice::first(raise(&workers()).and(lower(&threads())).because("processes do not share the GIL"));
    assert_eq!(
        convoy.without(fewer_processes).map(|advice| advice.to_string()).as_deref(),
        Some("Lower --threads (now 8): processes do not share the GIL.")
    );
    let exhausted =
        Advice::first(raise(&workers())).then(say("more threads do not help").no_more(Sizes::Threads));
    assert_eq!(exhausted.without(fewer_processes), None, "a warning alone is nothing to do");
    assert_eq!(Advice::first(raise(&workers())).without(fewer_processes), None);
}

#[test]
fn settings_that_need_each_other_are_one_alternative() {
    let advice = Advice::first(raise(&workers()).up_to_cores().and(lower(&threads())))
        .then(act("make the code faster").or(sixty()))
        .then(lower(&threads()).and(act("run a second server beside it")));
    let names =
        |one: &Alternative<'_>| one.changes.iter().map(|change| change.setting.name.clone()).collect();
    let alternatives = advice.alternatives();
    let named: Vec<Vec<String>> = alternatives.iter().map(names).collect();
    assert_eq!(named, [vec!["--workers", "--threads"], vec![], vec!["--timeout"], vec!["--threads"]]);
    assert_eq!(alternatives[0].changes[0].limit, Some(Limit::Cores));
    assert_eq!(alternatives[2].changes[0].proposed.as_deref(), Some("60"));
    let needs: Vec<&[&str]> = alternatives.iter().map(|one| one.needs.as_slice()).collect();
    assert_eq!(needs, [&[][..], &["make the code faster"], &[], &["run a second server beside it"]]);
}

#[test]
fn what_holds_only_at_times_says_when() {
    let timeout = raise(&Setting::named("--timeout")).only("if they are intended");
    let advice = Advice::first(act("make it faster").also(timeout))
        .then(raise(&threads()).when("Until then"))
        .then(raise(&workers()).at_most(9));
    let when: Vec<&str> = advice.alternatives().iter().map(|one| one.when).collect();
    assert_eq!(when, ["", "if they are intended", "Until then", ""]);
    assert_eq!(advice.changes()[2].at_most, Some(9));
    assert!(
        advice
            .to_string()
            .starts_with("Make it faster; raise --timeout if they are intended. Until then, raise")
    );
}

#[test]
fn what_explains_a_step_that_is_gone_goes_with_it() {
    let advice = Advice::first(raise(&workers()))
        .then(say("with as many as cores it does not start"))
        .then(raise(&threads()).when("Where requests wait"))
        .then(say("a thread costs little"));
    let left = advice.without(|change| Move::down(Sizes::Processes).opposes(change));
    let left = left.map(|advice| advice.to_string());
    assert_eq!(left.as_deref(), Some("Where requests wait, raise --threads (now 8). A thread costs little."));
}

#[test]
fn the_imperative_comes_without_its_reason() {
    let advice = Advice::first(say("the requests wait rather than compute"))
        .then(raise(&threads()).because("a waiting thread costs little"));
    assert_eq!(advice.imperative(), "Raise --threads (now 8)");
    assert_eq!(Advice::first(say("idle connections hold no thread")).imperative(), "");
}

#[test]
fn a_number_to_raise_to_is_in_the_sentence_and_in_the_data() {
    let number = |change: &Change| {
        let is_meant = change.setting.name == "--threads";
        is_meant.then_some(Number { value: 16, prevented_ns: 7 })
    };
    for (advice, sentence, proposed) in [
        (
            Advice::first(raise(&threads()).so("in each")),
            "Raise --threads (now 8) to 16 in each.",
            Some("16"),
        ),
        (Advice::first(raise(&workers())), "Raise --workers (now 2).", None),
        (
            Advice::first(act("use gthread with --threads").with(threads(), Direction::Raise)),
            "Use gthread with --threads 16.",
            Some("16"),
        ),
        (
            Advice::first(lower(&workers()).and(raise(&threads()))),
            "Lower --workers (now 2) and raise --threads (now 8).",
            None,
        ),
        (
            Advice::first(raise(&threads()).or(lower(&workers()))),
            "Raise --threads (now 8) to 16, or lower --workers (now 2).",
            Some("16"),
        ),
    ] {
        let advice = advice.raised_to(number);
        assert_eq!(advice.to_string(), sentence);
        let first = advice.changes().into_iter().find_map(|change| change.proposed.as_deref());
        assert_eq!(first, proposed, "{sentence}");
    }
}
