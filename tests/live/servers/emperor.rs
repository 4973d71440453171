//! uWSGI's emperor: its vassals share nothing but their parent, and each is a server of its own.
//!
//! In: two vassals of two workers each, both under load. Out: verdicts against each vassal's own log.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::Program;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::{Place, Recipe, Server, children_of};
use wsgi_trace_test_support::trace::Trace;

const VASSALS: [&str; 2] = ["one", "two"];
const WORKERS: usize = 2;
/// How long a log may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An emperor whose first vassal listens where the server does; the second one says where in the file
/// `two.address`.
struct Emperor;

impl Recipe for Emperor {
    fn name(&self) -> &'static str {
        "uwsgi"
    }

    fn about(&self) -> String {
        "uWSGI's emperor with two vassals".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let vassals = place.file("vassals");
        std::fs::create_dir(&vassals)?;
        for (name, address) in VASSALS.into_iter().zip([place.address.clone(), place.another_address()?]) {
            let log = place.file(&format!("{name}.log"));
            let text = format!(
                "[uwsgi]\nmaster = true\nneed-app = true\nlazy-apps = true\nprocesses = {WORKERS}\nhttp-socket = {address}\n\
                 module = demo_app:app\nlog-format = %(uri)\nreq-logger = file:{}\n",
                log.display()
            );
            std::fs::write(place.file(&format!("{name}.address")), address.to_string())?;
            std::fs::write(vassals.join(format!("{name}.ini")), text)?;
        }
        let mut command = Command::new(Place::servers_program("uwsgi"));
        command.args(["--die-on-term", "--emperor"]).arg(&vassals);
        Ok(vec![command])
    }

    /// A vassal may lead a group of its own.
    fn must_be_asked_to_end(&self) -> bool {
        true
    }

    fn loads(&self) -> usize {
        VASSALS.len() * WORKERS
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}

/// Paths of the requests that a vassal logged.
fn logged(server: &Server, name: &str) -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(server.file(&format!("{name}.log")))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Whether each of these servers has this application and class in `list`, which only their files say.
fn is_known_by_its_file(pids: &[u32], application: &str, class: &str) -> anyhow::Result<()> {
    let outcome = Program::run(&["list", "--format", "json"], Duration::from_secs(60))?;
    let list: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
    let servers = list.as_array().or_else(|| list.get("servers")?.as_array()).context("no list")?;
    for pid in pids {
        let row =
            servers.iter().find(|row| row["pid"] == *pid).with_context(|| format!("no {pid}: {list}"))?;
        ensure!(row["application"] == application && row["worker_class"] == class, "{row}");
    }
    Ok(())
}

/// One uWSGI with a file that it is told by its whole path, and goes to another directory.
struct WithFile(&'static str);

impl Recipe for WithFile {
    fn name(&self) -> &'static str {
        "uwsgi"
    }

    fn about(&self) -> String {
        "uWSGI with a file".to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (file, address) = (place.file("site.ini"), &place.address);
        let text = format!(
            "[uwsgi]\nmaster = true\nneed-app = true\nlazy-apps = true\nprocesses = {WORKERS}\nthreads = {}\n\
             http-socket = {address}\nwsgi-file = {}\ncallable = app\nchdir = /\n",
            self.0,
            Place::apps().join("demo_app.py").display()
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new(Place::servers_program("uwsgi"));
        command.args(["--die-on-term", "--ini"]).arg(file);
        Ok(vec![command])
    }

    fn loads(&self) -> usize {
        WORKERS
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}

#[test]
#[ignore = "make live-all"]
fn a_server_is_known_by_the_file_that_it_was_told() -> anyhow::Result<()> {
    let _turn = shared()?;
    let server = Server::start(&WithFile("3"))?;
    let file = Place::apps().join("demo_app.py");
    is_known_by_its_file(&[server.pid()], &file.display().to_string(), "threads")?;
    drop(server);
    // What uWSGI makes of a value is not known: the class stays what it is without the file.
    let server = Server::start(&WithFile("%k"))?;
    let told = is_known_by_its_file(&[server.pid()], &file.display().to_string(), "threads");
    ensure!(told.is_err(), "a value was taken that the file does not say");
    Ok(())
}

#[test]
#[ignore = "make live-all"]
fn vassals_of_one_emperor_are_servers_of_their_own() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    let server = Server::start(&Emperor)?;
    let addresses: Vec<Address> = VASSALS
        .into_iter()
        .map(|name| Ok(Address::Tcp(std::fs::read_to_string(server.file(&format!("{name}.address")))?)))
        .collect::<anyhow::Result<_>>()?;
    let vassals = children_of(server.pid());
    ensure!(vassals.len() == 2, "vassals: {vassals:?}");
    is_known_by_its_file(&vassals, "demo_app:app", "sync")?;
    let emperor = Program::run(&["doctor", "--pid", &server.pid().to_string()], Duration::from_secs(60))?;
    let (first, second) = (vassals[0].to_string(), vassals[1].to_string());
    ensure!(
        [first.as_str(), second.as_str(), "several servers"].iter().all(|part| emperor.stderr.contains(part)),
        "{}",
        emperor.stderr
    );

    let traces = [Trace::start(vassals[0])?, Trace::start(vassals[1])?];
    // Each has paths of its own.
    let start = |address: &Address, route: &str| {
        Load::start(
            address,
            &["--clients=3", "--requests=80", "--keep-alive=1", &format!("--routes={route}")],
        )
    };
    let loads = [start(&addresses[0], "/fast")?, start(&addresses[1], "/sleep/3")?];
    for load in loads {
        load.finish()?;
    }
    let mut matched = BTreeSet::new();
    for trace in traces {
        let traced = trace.end()?;
        let seen: BTreeSet<String> = traced.requests.iter().map(|one| one.path().to_owned()).collect();
        // uWSGI's loggers write when they come to it.
        let place = until("one vassal's log to have just these requests", LIMIT, || {
            let logs = [logged(&server, VASSALS[0])?, logged(&server, VASSALS[1])?];
            Ok(logs.iter().position(|log| *log == seen))
        })
        .with_context(|| format!("{seen:?}"))?;
        ensure!(seen.len() > 50, "{} requests", seen.len());
        matched.insert(place);
        let slots = traced.value("/slots/list")?.as_array().map_or(0, Vec::len);
        ensure!(slots == WORKERS, "{slots} slots");
    }
    ensure!(matched.len() == 2, "both reports are of one vassal");
    Ok(())
}
