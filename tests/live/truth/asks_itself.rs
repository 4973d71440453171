//! Requests that ask their own server: where all that could serve wait for that, the verdict says so.
//!
//! In: servers with `asks_itself`, more clients than slots, and fewer. Out: verdicts. The application is the
//! witness: it answers 504 where its own server gave no answer.

use anyhow::ensure;
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::asks_itself::AsksItself;
use wsgi_trace_test_support::server::waitress::Waitress;
use wsgi_trace_test_support::server::{Recipe, Server};
use wsgi_trace_test_support::trace::Trace;

/// What the verdict says of so many clients of four slots, and how many requests their server did not answer.
fn verdict_of(recipe: &dyn Recipe, clients: &str) -> anyhow::Result<(String, String, usize)> {
    let server = Server::start(recipe)?;
    let trace = Trace::start_with(server.pid(), &[])?;
    let options = ["--clients", clients, "--requests", "32", "--seconds", "20", "--routes", "/outer"];
    let sent = Load::run(server.address(), &options)?;
    let traced = trace.end()?;
    let unanswered = sent.requests.iter().filter(|request| request.status == Some(504)).count();
    let said =
        |pointer: &str| traced.value(pointer).map(|value| value.as_str().unwrap_or_default().to_owned());
    let (sentence, advice) = (said("/verdict/sentence")?, said("/verdict/advice")?);
    eprintln!("{}, {clients} clients: {unanswered} unanswered: {sentence} {advice}", recipe.about());
    Ok((sentence, advice, unanswered))
}

fn all_wait_for_itself(recipe: &dyn Recipe) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let recipe = AsksItself(recipe);
    let (sentence, advice, unanswered) = verdict_of(&recipe, "8")?;
    ensure!(unanswered >= 4, "only {unanswered} waited for nothing");
    ensure!(sentence.contains("wait for this server itself"), "{sentence}");
    ensure!(!advice.contains("--workers") && !advice.contains("--threads"), "sizes are advised: {advice}");
    // One at a time is answered at once.
    let (sentence, _, unanswered) = verdict_of(&recipe, "1")?;
    ensure!(unanswered == 0 && !sentence.contains("itself"), "{unanswered}: {sentence}");
    Ok(())
}

#[test]
#[ignore = "make live"]
fn sync_workers_that_all_ask_themselves_wait_for_this_server_itself() -> anyhow::Result<()> {
    all_wait_for_itself(&Settings::sync(Version::V27, 4))
}

#[test]
#[ignore = "make live"]
fn threads_of_a_pool_that_all_ask_themselves_wait_for_this_server_itself() -> anyhow::Result<()> {
    all_wait_for_itself(&Waitress { threads: 4 })
}
