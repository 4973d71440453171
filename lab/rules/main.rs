//! `cargo xtask rules`: what each rule that infers brings ([`Rule`]).
//!
//! In: a program built so that rules can be dropped (`WSGI_TRACE_BINARY`); root; every event loop that the
//! tests know. Out: `lab/results/rules.md`: each loop is recorded under load, and the recordings are read
//! with all rules, without each, and without each where no task was read. The applications are the witness:
//! which of their routes sleep, and which ask a back end, is known.

mod account;
mod page;
mod subject;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use profiler_core::rule::{Rule, WITHOUT};
use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::wsgi_trace_binary;
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::trace::{Trace, parse_requests};

use account::Account;
use page::Worth;
use subject::Subject;

/// By how many clients each loop is under load, one after the other.
const CLIENTS: [u32; 3] = [1, 8, 32];
/// How long by each.
const SECONDS: u32 = 3;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[rules] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    // Recordings of before are read again, as after a change of a rule.
    let again = flags.iter().any(|flag| flag == "--again");
    let directory = wsgi_trace_test_support::root().join("target/rules-recordings");
    std::fs::create_dir_all(&directory)?;
    let subjects = subject::all()?;
    if let Some(unknown) = names.iter().find(|name| subjects.iter().all(|one| name != &one.name)) {
        let known: Vec<&str> = subjects.iter().map(|one| one.name).collect();
        bail!("no such server: {unknown}; these are: {}", known.join(", "));
    }
    let chosen: Vec<&Subject> =
        subjects.iter().filter(|one| names.is_empty() || names.iter().any(|name| name == one.name)).collect();
    let mut worths = Vec::new();
    for subject in chosen {
        let mut recordings = Vec::new();
        for clients in CLIENTS {
            let recording = directory.join(format!("{}-{clients}.wtrace", subject.name));
            if !(again && recording.exists()) {
                eprintln!("[rules] {}: recorded under {clients} clients", subject.name);
                record(subject, clients, &recording)?;
            }
            recordings.push(recording);
        }
        worths.push(measure(subject, &recordings)?);
    }
    let table = page::table(&worths);
    println!("{table}");
    if names.is_empty() {
        page::write(&wsgi_trace_test_support::root().join("lab/results/rules.md"), &table)?;
    }
    Ok(())
}

/// Records a server under the load of so many clients.
fn record(subject: &Subject, clients: u32, recording: &Path) -> anyhow::Result<()> {
    let _alone = exclusive()?;
    let server = Server::start(&*subject.recipe)?;
    let trace = Trace::start(server.pid())?;
    let routes = format!("--routes={}", subject.routes);
    let (clients, seconds) = (format!("--clients={clients}"), format!("--seconds={SECONDS}"));
    Load::run(server.address(), &[&clients, &seconds, "--keep-alive=5", &routes])?;
    let traced = trace.end()?;
    std::fs::copy(&traced.recording, recording).context("the recording could not be kept")?;
    Ok(())
}

/// What recordings of a server give with all rules, without each, and the same where no task was read.
fn measure(subject: &Subject, recordings: &[PathBuf]) -> anyhow::Result<Worth> {
    let all = read(recordings, &[])?;
    let no_task = read(recordings, &[Rule::Task])?;
    let mut without = Vec::new();
    for rule in Rule::ALL.iter().copied() {
        if rule == Rule::Task {
            without.push((rule, no_task.clone(), no_task.clone()));
            continue;
        }
        let (alone, both) = std::thread::scope(|scope| {
            let both = scope.spawn(|| read(recordings, &[rule, Rule::Task]));
            (read(recordings, &[rule]), both.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (alone, both) = (alone?, both?);
        without.push((rule, alone, both));
    }
    eprintln!("[rules] {}: {}", subject.name, all.say());
    Ok(Worth { server: subject.name, about: subject.about, all, no_task, without })
}

/// Reads recordings without these rules.
fn read(recordings: &[PathBuf], without: &[Rule]) -> anyhow::Result<Account> {
    let names: Vec<String> = without.iter().map(|rule| format!("{rule:?}")).collect();
    let mut account = Account::default();
    for recording in recordings {
        let mut command = Command::new(wsgi_trace_binary()?);
        command.arg("report").arg(recording).args(["--format", "ndjson"]).env(WITHOUT, names.join(","));
        let output = command.output().context("the program could not be started")?;
        if !output.status.success() {
            bail!("without {}: {}", names.join(", "), String::from_utf8_lossy(&output.stderr));
        }
        account.add(&parse_requests(&String::from_utf8(output.stdout)?)?);
    }
    Ok(account)
}
