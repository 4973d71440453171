//! `cargo xtask bench`: what wsgi-trace costs, beside nothing, beside empty programs, beside the tools that
//! people use.
//!
//! In: names of parts (none: all), `--quick`, `--only TITLE`; the `wsgi-trace` beside this program.
//! Out: `target/bench/PART.json` (`quick-PART.json` of a short look); `lab/results/what-it-costs.{json,md}`
//! once all parts were run in full, or with `--publish`, which puts parts that were run alone beside the
//! others as they were published.

mod account;
mod child;
mod client;
mod figure;
mod instructions;
mod light_replay;
mod machine;
mod page;
mod part;
mod replay;
mod rounds;
mod server;
mod statistics;
mod subject;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};

use part::{Bench, PARTS};

const USAGE: &str = "usage: bench [PART…] [--quick] [--only TITLE] | --publish | --check-instructions | --accept-instructions | --make-recording[-in-line] FILE REQUESTS | --make-light-recording FILE REQUESTS";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[bench] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    if arguments.first().is_some_and(|first| first == child::ARGUMENT) {
        return child::run();
    }
    let mut bench = Bench { quick: false, only: None, started: Instant::now() };
    let mut names = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        // For profiles: the recordings that instructions are counted with.
        if let Some(make) = instructions::maker(&argument) {
            let path = arguments.next().context("which file?")?;
            let requests = arguments.next().context("how many requests?")?.parse()?;
            println!("{} slices or messages", make(path.as_ref(), requests)?);
            return Ok(());
        }
        match argument.as_str() {
            "--quick" => bench.quick = true,
            "--only" => bench.only = arguments.next(),
            "--publish" => return page::publish(),
            "--check-instructions" => return instructions::check(false),
            "--accept-instructions" => return instructions::check(true),
            name if PARTS.iter().any(|part| part.name == name) => names.push(argument),
            other => {
                let parts: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
                bail!("{other:?} is neither an option nor a part ({})\n{USAGE}", parts.join(", "));
            }
        }
    }
    // Live tests of this tree wait for a full run; a short look is noisy anyway.
    let _alone = if bench.quick { None } else { Some(wsgi_trace_test_support::gate::exclusive()?) };
    if !wsgi_trace_test_support::gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    let disturbance = account::disturbance();
    if disturbance > 0.1 {
        bench.say(&format!(
            "others use {:.0} % of a core here: the figures will be noisy",
            disturbance * 100.0
        ));
    }
    let (mut failed, mut results) = (Vec::new(), Vec::new());
    for part in PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name)) {
        bench.say(&format!("part {}", part.name));
        match (part.run)(&bench) {
            Ok(result) => results.push(result),
            Err(error) => {
                bench.say(&format!("part {} failed", part.name));
                let mut result = bench.begin(part.name);
                result.miss(part.title, "all", &format!("{error:#}"));
                results.push(bench.finish(result)?);
                failed.push(part.name);
            }
        }
    }
    print!("{}", page::tables(&results));
    // A part that failed is named on the page.
    if names.is_empty() && !bench.quick && bench.only.is_none() {
        page::publish()?;
    } else if !bench.quick && bench.only.is_none() {
        bench.say("`cargo xtask bench --publish` puts this into the guide, beside the other parts as they are there");
    }
    bench.say("done");
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
