//! Finding `worker-timeouts`: the server killed workers that took too long, and the requests with them.
//!
//! In: ends of workers, connections that ended with them. Out: a verdict that names the request that was
//! running.

use super::basis::{Basis, Outcome, Verdict, decides, explains};
use super::words::{code_line, count, duration, name};
use super::{Judge, Rule, add_where_room};
use crate::model::chain::Chains;
use crate::model::computed::line_of;
use crate::model::dropped::{Asked, Cause};
use crate::model::whereabouts::WasIn;
use crate::server::advice::{Advice, act};

/// Characters of a name.
const NAME_CHARS: usize = 40;

/// The rule.
pub(super) const RULE: Rule = Rule {
    id: "worker-timeouts",
    title: "the server killed workers that took too long",
    question: "workers are killed for taking too long",
    page: include_str!("../../../../docs/findings/worker-timeouts.md"),
    advice: || {
        Advice::first(act("make that request faster").or(act("give it a limit of its own at the back end")))
            .then(act("raise the server's timeout only if such long requests are intended"))
    },
    judge: Judge::Measured(judge),
};

fn judge(basis: &Basis<'_>) -> Outcome {
    basis.require_window()?;
    let dropped = &basis.snapshot.dropped;
    let ends = || dropped.worker_ends.iter().filter(|end| end.cause == Cause::WorkerTimeout);
    let lost = dropped.of(Cause::WorkerTimeout);
    let of_workers = ends().fold(0_u64, |sum, end| sum.saturating_add(end.connections));
    let connections = lost.map_or(0, |counted| counted.count).max(of_workers);
    // The worker may end after the window, its connections before.
    let killed = (ends().count() as u64).max(u64::from(connections > 0));
    let examples = || lost.into_iter().flat_map(|counted| &counted.examples);
    let of_examples =
        examples().filter_map(|example| Some((example.asked.as_ref()?, example.waited_ns.unwrap_or(0))));
    let of_ends = ends().filter_map(|end| Some((end.asked.as_ref()?, end.ran_ns)));
    let longest = of_ends.chain(of_examples).max_by_key(|(_, ran_ns)| *ran_ns);
    let needed = basis.thresholds.workers_killed_min_count;
    let evidence = vec![
        decides("workers_killed_count", killed as f64, needed),
        explains("connections_lost_count", connections as f64),
        explains("longest_request_seconds", longest.map_or(0, |(_, ran_ns)| ran_ns) as f64 / 1e9),
    ];
    if (killed as f64) < needed {
        let sentence = "The server killed no worker for taking too long".to_owned();
        return Ok(Verdict { sentence, evidence, ..Verdict::default() });
    }
    let workers = if killed == 1 { "a worker".to_owned() } else { format!("{} workers", count(killed)) };
    let lost = match connections {
        1 => "1 connection".to_owned(),
        number => format!("{} connections", count(number)),
    };
    let request = longest.map_or_else(String::new, |(asked, ran_ns)| {
        format!("; the longest request was {} after {}", request(asked), duration(ran_ns))
    });
    let mut sentence = format!("The server killed {workers} that took too long, and {lost} with it{request}");
    if let Some(was) = longest.and_then(|(asked, _)| was_in(&basis.snapshot.chains, asked.request?)) {
        add_where_room(&mut sentence, &was);
    }
    let exemplars = examples().filter_map(|example| example.asked.as_ref()?.request).collect();
    let cost_ns = dropped.of(Cause::WorkerTimeout).map_or(0, |counted| counted.waited_ns);
    Ok(Verdict { present: true, sentence, cost_ns, evidence, exemplars, ..Verdict::default() })
}

/// Where in Python a request was then: `, in fetch (shop/pay.py:31) for 30 s`, or `, computing in …`.
fn was_in(chains: &Chains, request: u64) -> Option<String> {
    let of = chains.whereabouts_of(request)?;
    let was = of.was?;
    let frame = chains.place(Some(was.place())).and_then(line_of)?;
    let line = code_line(&frame.function, &frame.file, frame.line, NAME_CHARS);
    Some(match was {
        WasIn::Asleep { slept_ns, .. } => format!(", in {line} for {}", duration(slept_ns)),
        WasIn::Computing(most) => {
            let (part, all) = (count(most.samples), count(of.computed.samples));
            format!(", computing in {line}: {part} of {all} samples")
        }
    })
}

fn request(asked: &Asked) -> String {
    match asked.method.as_str() {
        "" => "one whose head was not read".to_owned(),
        method => format!("{} {}", name(method, 12), name(&asked.path, 50)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SECOND, Scene};
    use crate::fact::place::{PlaceSeen, PythonFrame, Whose};
    use crate::model::computed::{Computed, ComputedAt};
    use crate::model::dropped::{Asked, Cause, WorkerEnd};
    use crate::model::whereabouts::{WasIn, Whereabouts};

    fn place() -> PlaceSeen {
        let frame = |file: &str, function: &str, line, whose| PythonFrame {
            file: file.to_owned(),
            function: function.to_owned(),
            line,
            whose,
        };
        let frames = vec![
            frame("/usr/lib/python3.13/ssl.py", "read", 1138, Whose::Standard),
            frame("/srv/shop/pay.py", "fetch", 31, Whose::Own),
        ];
        PlaceSeen { number: 4, frames, is_cut: false }
    }

    /// A worker that was killed for a request, which was in this.
    fn killed(was: Option<WasIn>) -> String {
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        let asked =
            Asked { request: Some(9), method: "GET".to_owned(), path: "/report".to_owned(), status: 0 };
        scene.0.dropped.worker_ends.push(WorkerEnd {
            time_ns: SECOND,
            tgid: 7,
            cause: Cause::WorkerTimeout,
            evidence: String::new(),
            connections: 1,
            asked: Some(asked),
            ran_ns: 30 * SECOND,
        });
        let places = vec![ComputedAt { place: 4, samples: 2940, collecting: 0 }];
        let computed = Computed { samples: 3000, places, ..Computed::default() };
        scene.0.chains.places = vec![place()];
        scene.0.chains.whereabouts = vec![Whereabouts { request: 9, computed, was }];
        let finding = scene.judge("worker-timeouts");
        finding.assert_present();
        finding.sentence
    }

    #[test]
    fn killed_worker_is_named_with_the_request_that_ran_and_where_that_was() {
        let begin = "the longest request was GET /report after 30 s";
        let asleep = WasIn::Asleep { place: 4, system_call: Some(45), slept_ns: 29 * SECOND };
        let computing = WasIn::Computing(ComputedAt { place: 4, samples: 2940, collecting: 0 });
        for (was, end) in [
            (None, "."),
            (Some(asleep), ", in fetch (shop/pay.py:31) for 29 s."),
            (Some(computing), ", computing in fetch (shop/pay.py:31): 2,940 of 3,000 samples."),
        ] {
            let sentence = killed(was);
            assert!(sentence.ends_with(&format!("{begin}{end}")), "{sentence}");
        }
    }

    #[test]
    fn worker_that_was_told_to_stop_is_no_timeout() {
        let mut scene = Scene::gunicorn("sync", 2, 60 * SECOND);
        scene.0.dropped.worker_ends.push(WorkerEnd {
            time_ns: SECOND,
            tgid: 7,
            cause: Cause::WorkerKilled,
            evidence: String::new(),
            connections: 1,
            asked: None,
            ran_ns: 0,
        });
        scene.judge("worker-timeouts").assert_absent();
    }
}
