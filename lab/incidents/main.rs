//! `make incidents`: incidents that are composed by seed, a leaf behind hops behind a server, and what the
//! report's leaves say of each.
//!
//! In: see [`options::USAGE`]; the `wsgi-trace` of this build. Out: a line for each as it ends, and a line of
//! JSON in `target/incidents/runs.jsonl`; a table. Reports and recordings of what is not right stay there. A
//! leaf that is wrong, or does not exist, fails the run: worse than one that is not followed.

mod applied;
mod decoy;
mod draw;
mod incident;
mod judge;
mod leaf;
mod meeting;
mod options;
mod outside;
mod path;
mod prevented;
mod record;
mod run;
mod sentence;
mod server;
mod table;
mod truth;
mod watch;

use std::process::ExitCode;

use anyhow::bail;

use options::Options;
use record::Record;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[incidents] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Some(options) = Options::parse(arguments)? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let incidents = options.incidents();
    if options.is_list {
        for incident in &incidents {
            println!("{:>6}  {}", incident.seed, incident.about());
        }
        return Ok(());
    }
    if !wsgi_trace_test_support::gate::can_bpf() {
        bail!("needs root, or CAP_BPF and CAP_PERFMON");
    }
    let place = wsgi_trace_test_support::root().join("target/incidents");
    std::fs::create_dir_all(&place)?;
    let mut records: Vec<Record> = Vec::new();
    for (done, incident) in (1_usize..).zip(&incidents) {
        let of_incident = if options.is_again {
            options.modes.iter().map(|mode| run::again(incident, *mode, &place)).collect()
        } else {
            run::run(incident, &options.modes, (&place, options.keeps))
        };
        for record in of_incident {
            record::append(&place.join("runs.jsonl"), &record)?;
            eprintln!("[incidents] {done}/{} {}", incidents.len(), record.line());
            records.push(record);
        }
    }
    println!("{}", table::table(&records));
    let lies = records.iter().filter(|record| record.lies()).count();
    if lies > 0 {
        bail!("{lies} of {} reports name a wrong leaf or one that does not exist", records.len());
    }
    Ok(())
}
