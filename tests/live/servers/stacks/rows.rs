//! A question for each row (N+1): as many as the application counts, to the store that it asks, and it is
//! said.
//!
//! In: Django on PostgreSQL, Flask on Redis. Out: verdicts against the application's own count.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::require_stacks;
use wsgi_trace_test_support::server::stack::{Application, On, Stack};
use wsgi_trace_test_support::trace::TracedRequest;

use super::{Gil, Watched, watch};

/// One for the list, and one for each of its thirty rows.
const QUESTIONS: u64 = 31;

/// Each request asked as often as the application counted, and only there.
fn are_as_many(seen: &Watched, port: Option<u16>) -> anyhow::Result<u64> {
    let requests = seen.window.traced.requests.iter();
    let ours: BTreeMap<u64, &TracedRequest> = requests.filter_map(|one| Some((one.id()?, one))).collect();
    let mut most = 0;
    for witness in seen.window.witnesses.iter().filter(|witness| witness.kind == "backend") {
        let request = ours.get(&witness.id.parse()?).context("a request is missing")?;
        let trips =
            request.back_end_round_trips.as_ref().with_context(|| format!("no trips: {request:?}"))?;
        let told: Vec<(Option<u16>, Option<u64>)> =
            trips.by_port.iter().map(|to| (to.port, to.count)).collect();
        ensure!(told == [(port, Some(witness.calls))], "{told:?}, not {} to {port:?}", witness.calls);
        ensure!(trips.total == Some(witness.calls), "{:?} in all, not {}", trips.total, witness.calls);
        most = most.max(witness.calls);
    }
    Ok(most)
}

/// What endpoints say adds up to what requests say.
fn endpoint_has_them(seen: &Watched, path_shape: &str) -> anyhow::Result<()> {
    let endpoints = seen.window.traced.value("/endpoints")?.as_array().context("no endpoints")?;
    let mut of_it = endpoints.iter().filter(|one| one["path_shape"] == path_shape);
    let endpoint = of_it.next().with_context(|| format!("no endpoint {path_shape}: {endpoints:?}"))?;
    let number = |pointer: &str| endpoint.pointer(pointer).and_then(serde_json::Value::as_u64);
    let (total, count) = (number("/back_end_round_trips/total"), number("/count"));
    ensure!(total == count.map(|count| count * QUESTIONS), "{total:?} of {count:?} requests");
    Ok(())
}

/// One client at a time: nobody waits for another's interpreter.
const LOAD: [&str; 4] = ["--clients=1", "--requests=44", "--seconds=20", "--keep-alive=5"];

fn watched(stack: &Stack, routes: &str) -> anyhow::Result<Watched> {
    watch(stack, Gil::Calm, &[&LOAD[..], &[routes]].concat())
}

/// A question for each row is counted.
fn counts_31_times(seen: &Watched, port: u16, path_shape: &str) -> anyhow::Result<()> {
    ensure!(are_as_many(seen, Some(port))? == QUESTIONS, "the application asked another number of times");
    endpoint_has_them(seen, path_shape)?;
    seen.advises_no_more_threads()
}

/// Other requests take most of all time.
#[test]
#[ignore = "make live-all"]
fn django_asks_postgresql_for_each_row_beside_requests_that_sleep() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let stack = Stack::new(Application::Django, On::Gthread(4), 4);
    let seen = watched(&stack, "--routes=/rows,/sleep/120")?;
    let (postgresql, _) = seen.window.ports.context("no stores")?;
    counts_31_times(&seen, postgresql, "/rows/{number}")
}

/// Its questions take most of all time.
#[test]
#[ignore = "make live-all"]
fn flask_asks_redis_for_each_key_on_cheroot() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let stack = Stack::new(Application::Flask, On::Cheroot(4), 4);
    let seen = watched(&stack, "--routes=/keys/1,/fast")?;
    let (_, redis) = seen.window.ports.context("no stores")?;
    // Its questions are most of what requests do, so the first sentence says how often.
    let sentence = seen.window.traced.value("/verdict/sentence")?.to_string();
    ensure!(sentence.contains("31 times a request"), "how often it asks is not said: {sentence}");
    counts_31_times(&seen, redis, "/keys/{number}/{number}")
}

/// Rows by one query, over the UNIX sockets of a pool that was there before.
#[test]
#[ignore = "make live-all"]
fn django_that_joins_is_not_told_to() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    require_stacks!(Ok(()));
    let stack = Stack::new(Application::Django, On::Gthread(4), 4).by_socket();
    let seen = watched(&stack, "--routes=/joined,/fast")?;
    ensure!(are_as_many(&seen, None)? == 1, "the application asked another number of times");
    let sentence = seen.window.traced.value("/verdict/sentence")?.to_string();
    ensure!(!sentence.contains("times a request"), "{sentence}");
    Ok(())
}
