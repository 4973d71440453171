//! `verdict`: the first thing to say, and what it rests on.
//!
//! In: the verdict of a snapshot. Out: a serialisable view of it.

use profiler_core::finding;
use profiler_core::model::Snapshot;
use profiler_core::model::chain::{Held, NotFollowed, TakenBy, Unreleased};
use profiler_core::phase::Phase;
use profiler_core::verdict;

use super::chain_seen::SeenView;
use super::finding::{AdvisedSetting, settings};
use super::rounded;
use crate::report::{chain_words, verdict_words};

view! {
    pub(super) struct Verdict<'a>(
        snapshot: &'a Snapshot,
        findings: &[finding::Finding],
        verdict: &'a verdict::Verdict,
    ) with {
        let chains = &snapshot.chains;
        let cause = verdict.cause();
        let time = cause.and_then(|cause| cause.time(chains));
    } {
        /// What kind of sentence it is.
        #[cfg_attr(test, schemars(extend("examples" = verdict::Pattern::ALL.map(verdict::Pattern::name))))]
        pattern: &'static str = verdict.pattern.name(),
        /// It says that something is wrong.
        is_wrong: bool = verdict.pattern.is_wrong(),
        /// The first sentence of the report.
        sentence: String = format!("{}.", verdict_words::sentence(snapshot, findings, verdict)),
        /// Kind of what is waited for or done: see chains.md; null: no one cause is named.
        #[cfg_attr(test, schemars(extend("examples" = profiler_core::model::chain::LeafKind::ALL.map(profiler_core::model::chain::LeafKind::name))))]
        kind: Option<&'static str> = cause.map(|cause| cause.kind.name()),
        /// What is waited for, in words (port 5432); null: not known, or no object is most of it.
        object: Option<String> =
            cause.and_then(|cause| chain_words::object_of(chains, cause, chain_words::Length::Full)),
        /// What a look at the sleeping thread saw; null: no look was taken, or it saw no object.
        seen: Option<SeenView<'a>> = cause
            .and_then(|cause| chains.objects.get(cause.seen? as usize))
            .map(SeenView::new),
        /// How the process was held from outside; null: it was not, or that was not seen.
        #[cfg_attr(test, schemars(extend("examples" = Held::ALL.map(Held::name))))]
        held: Option<&'static str> = time.and_then(|time| time.leaf.held).map(Held::name),
        /// How sure it is that nobody could release a lock; null: it is about none.
        #[cfg_attr(test, schemars(extend("examples" = Unreleased::ALL.map(Unreleased::name))))]
        unreleased: Option<&'static str> = time.and_then(|time| time.leaf.unreleased).map(Unreleased::name),
        /// Who had the CPU; null: not known, or it is about none.
        #[cfg_attr(test, schemars(extend("examples" = TakenBy::NAMES)))]
        taken_by: Option<&'static str> = cause.and_then(|cause| cause.taken_by).map(TakenBy::name),
        /// The endpoint that is at it; null: none is most of it, or not known.
        endpoint: Option<&'a str> =
            cause.and_then(|cause| cause.endpoint).and_then(|number| chains.endpoint(number)),
        /// The application's own lines at which it is, the outermost first; null: not known.
        line: Option<String> = cause.and_then(|cause| chain_words::lines(chains, cause.place)),
        /// The lock or the pool that those wait for who wait for one on the way, by the line where they do;
        /// null: none does, or not known.
        waits_at: Option<String> =
            cause.and_then(|cause| cause.waited_at).and_then(|place| chain_words::lock(chains, place)),
        /// The way there, each hop by the phase of its wait, the request's own wait first.
        path: Vec<&'static str> = cause.map_or_else(Vec::new, |cause| cause.path.iter().map(Phase::name).collect()),
        /// Only one at a time gets on there: more workers or threads would wait as well.
        is_serial: bool = cause.is_some_and(|cause| cause.is_serial),
        /// Whether those at it wait for one another: independent, shared or unknown, as in chains.
        #[cfg_attr(test, schemars(extend("examples" = profiler_core::model::independence::Independence::ALL.map(profiler_core::model::independence::Independence::name))))]
        independence: &'static str = cause.map(|cause| cause.independence).unwrap_or_default().name(),
        /// Part of all slots (workers, threads) that requests at it keep, on average under load.
        /// It is said where others wait for a free one; null: they do not, or it is not known.
        held_slots_ratio: Option<f64> =
            verdict.held_slots.and_then(|slots| rounded(slots.held / f64::from(slots.of.max(1)))),
        /// Whether more workers or threads would help those that wait: yes, no or unknown.
        #[cfg_attr(test, schemars(extend("examples" = verdict::MoreSlotsHelp::ALL.map(verdict::MoreSlotsHelp::name))))]
        more_slots_help: &'static str = verdict.more_slots_help.name(),
        /// Who waits.
        victims: Victims<'a> = Victims::new(snapshot, cause),
        /// Request time there, in ns.
        held_ns: Option<u64> = cause.map(|cause| cause.held_ns),
        /// The part of held_ns that is waiting through somebody else, in ns.
        held_by_others_ns: Option<u64> = cause.map(|cause| cause.inflicted_ns),
        /// Request time that would not have been without it, in ns; null: not replayed.
        prevented_ns: Option<u64> = cause.and_then(|cause| cause.prevented_ns),
        /// All request time that was waiting through somebody else, in ns.
        all_waiting_ns: u64 = verdict.inflicted_ns,
        /// The other causes where no single one is most of it, each by its kind.
        other_kinds: Vec<&'static str> = verdict.causes.iter().skip(1).map(|cause| cause.kind.name()).collect(),
        /// No request was answered.
        is_nobody_served: bool = verdict.is_nobody_served,
        /// Requests that failed, where these are many.
        failures: Vec<Failures> = verdict.failed.iter().map(Failures::new).collect(),
        /// Why chains were not followed; null: they were.
        #[cfg_attr(test, schemars(extend("examples" = NotFollowed::ALL.map(NotFollowed::name))))]
        not_followed: Option<&'static str> = verdict.not_followed.map(NotFollowed::name),
        /// What to change, and what that costs; empty: nothing.
        advice: String = verdict.advice.to_string(),
        /// The settings that the advice changes, in the order in which it names them.
        settings: Vec<AdvisedSetting<'a>> = settings(&verdict.advice),
        /// The finding whose advice that is; null: no rule's.
        finding: Option<&'static str> = verdict.finding,
    }
}

view! {
    struct Victims<'a>(snapshot: &'a Snapshot, cause: Option<&verdict::Cause>) {
        /// The endpoint of most of them; null: several, or not known.
        endpoint: Option<&'a str> =
            cause.and_then(|cause| cause.victim).and_then(|number| snapshot.chains.endpoint(number)),
        /// Requests concerned, at least.
        requests: u64 = cause.map_or(0, |cause| cause.requests),
        /// The most that one of them has there, in ns.
        longest_ns: u64 = cause.map_or(0, |cause| cause.longest_ns),
    }
}

view! {
    struct Failures(failed: &verdict::Failed) {
        /// The finding that says how they failed.
        finding: &'static str = failed.finding,
        /// How many.
        count: u64 = failed.count,
        /// A wait lies behind it.
        is_behind_wait: bool = failed.is_behind_wait,
    }
}
