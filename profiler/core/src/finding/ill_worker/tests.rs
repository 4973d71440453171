//! Which worker is ill, and which is not.
//!
//! In: workers with what they did, by endpoint. Out: verdicts.

use crate::finding::fixture::{MILLISECOND, SECOND, Scene};
use crate::finding::{Finding, SENTENCE_MAX_CHARS};
use crate::model::by_worker::ByWorker;
use crate::model::capacity::Worker;
use crate::model::life::Life;
use crate::model::{Endpoint, Process};
use crate::phase::{Phase, Phases};

/// What a process did: so many requests of an endpoint, each with this.
type Did<'a> = (u32, &'a str, u64, &'a [(Phase, u64)]);

fn phases(of: &[(Phase, u64)], times: u64) -> Phases {
    let mut phases = Phases::default();
    of.iter().for_each(|(phase, each_ms)| phases.add(*phase, each_ms * MILLISECOND * times));
    phases
}

/// Workers with one slot each, over ten seconds.
fn scene(all: &[Did<'_>]) -> Scene {
    let requests = all.iter().map(|(_, _, requests, _)| requests).sum();
    let mut scene = Scene::gunicorn("sync", 4, 10 * SECOND).requests(requests);
    for (tgid, path, requests, of) in all {
        let endpoints = &mut scene.0.by_endpoint.list;
        if !endpoints.iter().any(|endpoint| endpoint.path_shape == *path) {
            let (method, path_shape) = ("GET".to_owned(), (*path).to_owned());
            endpoints.push(Endpoint { method, path_shape, ..Endpoint::default() });
        }
        let endpoint = endpoints.iter_mut().find(|endpoint| endpoint.path_shape == *path).unwrap();
        (0..*requests).for_each(|_| endpoint.by_worker.add(*tgid, &phases(of, 1)));
        endpoint.count += requests;
        let sum = phases(of, *requests);
        endpoint.phases.add_all(&sum);
        scene.0.requests.phases.add_all(&sum);
        let workers = &mut scene.0.capacity.workers;
        if !workers.iter().any(|worker| worker.tgid == *tgid) {
            workers.push(Worker { tgid: *tgid, slots: 1, seen: 1, ..Worker::default() });
        }
        let worker = workers.iter_mut().find(|worker| worker.tgid == *tgid).unwrap();
        worker.phases.add_all(&sum);
        worker.requests += requests;
    }
    scene
}

fn judge(all: &[Did<'_>]) -> Finding {
    scene(all).judge("ill-worker")
}

/// The figures that are below what they decide from.
fn short(finding: &Finding) -> Vec<&'static str> {
    let short = finding.evidence.iter().filter(|one| one.threshold.is_some_and(|limit| one.value < limit));
    short.map(|one| one.name).collect()
}

const WELL: &[(Phase, u64)] = &[(Phase::Cpu, 10), (Phase::BackendWait, 10)];

#[test]
fn a_worker_that_takes_longer_for_the_same_endpoint_is_named_with_the_phase_and_costs_what_it_takes_longer() {
    let ill = [(Phase::Cpu, 60), (Phase::BackendWait, 20)];
    let finding = judge(&[(7, "/orders", 50, &ill), (8, "/orders", 100, WELL), (9, "/orders", 100, WELL)]);
    finding.assert_present();
    assert_eq!(finding.cost_ns, 50 * 60 * MILLISECOND);
    assert_eq!(
        finding.sentence,
        "Process 7, one of 3 workers, took 4 times as long as the others for the same endpoints (80 ms instead of 20 ms each, \
         50 requests), 83 % of the difference cpu, most of it in GET /orders."
    );
    assert!(finding.advice.contains("a cache that is cold"), "{}", finding.advice);
}

#[test]
fn more_requests_are_no_illness_nor_is_an_endpoint_that_nobody_else_serves() {
    judge(&[(7, "/", 900, WELL), (8, "/", 20, WELL), (9, "/", 20, WELL)]).assert_absent();
    let long = [(Phase::Cpu, 300)];
    let finding = judge(&[(7, "/", 100, WELL), (8, "/", 100, WELL), (7, "/report", 5, &long)]);
    finding.assert_absent();
    assert_eq!(
        finding.sentence,
        "No worker differed from the others at the same endpoints: the slowest of 2 took 1 times as long as they."
    );
    judge(&[(7, "/", 100, WELL), (8, "/", 100, WELL), (7, "/report", 300, &long)]).assert_undecided(
        "only 4.3 % of service time can be compared: endpoints that two workers served 20 times",
    );
}

#[test]
fn twice_as_long_is_where_it_begins() {
    let of = |own_ms: u64| {
        let own = [(Phase::Cpu, own_ms)];
        judge(&[(7, "/", 100, &own), (8, "/", 100, &[(Phase::Cpu, 100)])])
    };
    of(220).assert_present();
    of(180).assert_absent();
}

#[test]
fn a_few_long_requests_do_not_make_a_worker_ill() {
    let long = [(Phase::Cpu, 2_000)];
    judge(&[(7, "/", 96, WELL), (7, "/", 4, &long), (8, "/", 100, WELL)]).assert_absent();
}

#[test]
fn one_endpoint_of_several_is_that_endpoints_own() {
    let long = [(Phase::Cpu, 400)];
    let of = |others: u64| {
        let small = [(Phase::Cpu, 20)];
        let large = [(Phase::Cpu, 20 * others)];
        judge(&[
            (7, "/one", 50, &long),
            (8, "/one", 50, &small),
            (7, "/two", 50, &large),
            (8, "/two", 50, &large),
        ])
    };
    let finding = of(10);
    finding.assert_absent();
    assert_eq!(short(&finding), ["typically_longer_ratio"]);
    let finding = of(1);
    finding.assert_present();
    assert!(short(&finding).is_empty(), "{:?}", finding.evidence);
}

#[test]
fn each_side_needs_enough_requests() {
    let ill = [(Phase::Cpu, 500)];
    let of = |own: u64, others: u64| judge(&[(7, "/", own, &ill), (8, "/", others, WELL)]);
    of(20, 20).assert_present();
    of(19, 500).assert_undecided("only 0 % of service time");
    of(500, 19).assert_undecided("only 0 % of service time");
}

#[test]
fn what_costs_next_to_nothing_is_not_worth_a_look() {
    let ill = [(Phase::Cpu, 40)];
    let finding = judge(&[(7, "/", 20, &ill), (8, "/", 200, WELL)]);
    finding.assert_absent();
    assert_eq!(
        finding.sentence,
        "One of 2 workers took 2 times as long as the others for the same endpoints, but for few requests only, or at little cost."
    );
}

#[test]
fn time_that_is_unexplained_may_be_anything() {
    let ill = [(Phase::Cpu, 10), (Phase::BackendWait, 10), (Phase::Unexplained, 60)];
    judge(&[(7, "/", 100, &ill), (8, "/", 100, WELL)]).assert_undecided(
        "4 times as long as the others for the same endpoints, but 100 % of the difference is unexplained",
    );
}

#[test]
fn waits_that_requests_of_one_process_cause_one_another_say_nothing_of_a_worker_with_more_of_them() {
    for (phase, is_its_own) in [
        (Phase::GilWait, false),
        (Phase::LockWait, false),
        (Phase::RunQueue, false),
        (Phase::Cpu, true),
        (Phase::BackendWait, true),
        (Phase::FaultWait, true),
    ] {
        let (ill, well) = ([(phase, 90)], [(phase, 20)]);
        let all: [Did<'_>; 2] = [(7, "/", 100, &ill), (8, "/", 100, &well)];
        judge(&all).assert_present();
        let mut threads = scene(&all);
        threads.0.capacity.workers.iter_mut().for_each(|worker| (worker.slots, worker.seen) = (4, 4));
        let finding = threads.judge("ill-worker");
        if is_its_own {
            finding.assert_present();
        } else {
            finding.assert_undecided("also had more requests at once");
        }
    }
}

#[test]
fn a_worker_that_began_or_ended_within_the_window_served_at_another_time_than_the_others() {
    let ill = [(Phase::Cpu, 60), (Phase::BackendWait, 20)];
    let of = |lives: &[(u32, Option<u64>, Option<u64>)]| {
        let mut scene = scene(&[(7, "/", 50, &ill), (8, "/", 100, WELL), (9, "/", 100, WELL)]);
        let life = |(tgid, born_ns, ended_ns)| Life { tgid, born_ns, ended_ns, ..Life::default() };
        scene.0.capacity.lives = lives.iter().copied().map(life).collect();
        scene.judge("ill-worker")
    };
    let because =
        "4 times as long as the others for the same endpoints, but it began or ended within the window";
    of(&[(7, Some(3 * SECOND), None)]).assert_undecided(because);
    of(&[(7, None, Some(3 * SECOND))]).assert_undecided(because);
    of(&[(7, None, None), (8, None, Some(3 * SECOND)), (9, Some(3 * SECOND), None)]).assert_present();
}

#[test]
fn threads_that_are_as_busy_as_those_of_others_wait_for_a_reason_of_their_own() {
    let (ill, well) = ([(Phase::LockWait, 90)], [(Phase::LockWait, 20)]);
    let mut scene = scene(&[(7, "/", 25, &ill), (8, "/", 100, &well)]);
    scene.0.capacity.workers.iter_mut().for_each(|worker| (worker.slots, worker.seen) = (4, 4));
    scene.judge("ill-worker").assert_present();
}

#[test]
fn waiting_to_be_taken_and_the_clients_stalls_are_not_the_workers() {
    let slow =
        [(Phase::Cpu, 20), (Phase::AcceptQueue, 500), (Phase::PoolWait, 90), (Phase::ClientReadStall, 700)];
    judge(&[(7, "/", 100, &slow), (8, "/", 100, &[(Phase::Cpu, 20)])]).assert_absent();
}

#[test]
fn one_process_has_no_other_and_a_front_end_is_none() {
    let finding = judge(&[(7, "/", 100, WELL)]);
    finding.assert_absent();
    assert!(finding.sentence.starts_with("One process served all requests"), "{}", finding.sentence);
    let mut scene = scene(&[(7, "/", 100, &[(Phase::Cpu, 300)]), (8, "/", 100, WELL)]);
    scene.0.processes = vec![Process { tgid: 8, role: "front_end".to_owned(), ..Process::default() }];
    scene.judge("ill-worker").assert_absent();
}

#[test]
fn processes_without_room_are_not_compared() {
    let mut scene = scene(&[(7, "/", 100, WELL), (8, "/", 100, WELL)]);
    scene.0.by_endpoint.list[0].by_worker = ByWorker { others: 200, ..ByWorker::default() };
    let finding = scene.judge("ill-worker");
    finding.assert_undecided("only 0 % of service time");
    finding.assert_undecided("; there was no room for 200 requests of further workers");
    assert!(finding.sentence.chars().count() <= SENTENCE_MAX_CHARS, "{}", finding.sentence);
}

#[test]
fn whatever_the_answer_the_evidence_says_how_many_requests_found_no_room() {
    let ill = [(Phase::Cpu, 60), (Phase::BackendWait, 20)];
    let unexplained = [(Phase::Cpu, 20), (Phase::Unexplained, 60)];
    for (own, others) in [(WELL, 0), (WELL, 7), (&ill[..], 7), (&unexplained[..], 7)] {
        let mut scene = scene(&[(7, "/", 100, own), (8, "/", 100, WELL)]);
        scene.0.by_endpoint.list[0].by_worker.others = others;
        let finding = scene.judge("ill-worker");
        let told = finding.evidence.iter().find(|one| one.name == "no_room_requests_count").unwrap();
        assert_eq!(told.value, others as f64, "{}", finding.sentence);
    }
    let mut alone = scene(&[(7, "/", 100, WELL)]);
    alone.0.by_endpoint.list[0].by_worker.others = 200;
    let finding = alone.judge("ill-worker");
    assert!(!finding.sentence.starts_with("One process served all"), "{}", finding.sentence);
}

#[test]
fn too_few_requests_are_undecided() {
    judge(&[(7, "/", 4, WELL), (8, "/", 5, WELL)]).assert_undecided("only 9 requests were seen");
}
