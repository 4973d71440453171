//! An installed wsgi-trace, and what it must be able to do.
//!
//! In: the command line that reaches it. Out: verdicts; its reports are those of the program that cargo
//! builds from the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use wsgi_trace_test_support::child::{Child, until};
use wsgi_trace_test_support::gate;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::wsgi_trace_binary;
use wsgi_trace_test_support::{require_bpf, root};

use crate::clean_machine::CleanMachine;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command that must succeed; its standard output.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command that reaches an installed program, with these arguments.
type Reach<'a> = Box<dyn Fn(&[&str]) -> Command + 'a>;

/// One installation.
pub(crate) struct Installed<'a> {
    command: Reach<'a>,
    /// A directory that it sees under the same name.
    shared: PathBuf,
    _own: Option<tempfile::TempDir>,
}

impl<'a> Installed<'a> {
    /// A program on this machine.
    pub(crate) fn program(path: &Path) -> Self {
        let path = path.to_path_buf();
        let own = tempfile::tempdir().ok();
        let shared = own.as_ref().map_or_else(std::env::temp_dir, |own| own.path().to_path_buf());
        let command = move |arguments: &[&str]| {
            let mut command = Command::new(&path);
            command.args(arguments);
            command
        };
        Self { command: Box::new(command), shared, _own: own }
    }

    /// The one on the PATH of a clean machine.
    pub(crate) fn on(machine: &'a CleanMachine) -> Self {
        let command = |arguments: &[&str]| {
            let mut words = vec!["wsgi-trace"];
            words.extend(arguments);
            machine.command(&words)
        };
        Self { command: Box::new(command), shared: machine.shared().to_path_buf(), _own: None }
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeed(&mut (self.command)(arguments))
    }

    /// Everything that works without privileges, and a live trace where there are some.
    pub(crate) fn must_work(&self) -> anyhow::Result<()> {
        let version = concat!("wsgi-trace ", env!("CARGO_PKG_VERSION"));
        assert_eq!(self.run(&["--version"])?.trim(), version);
        assert!(self.run(&["--help"])?.contains("Exit codes:"));
        assert!(self.run(&["explain", "herd"])?.contains("herd"));
        assert!(self.run(&["man"])?.contains(".TH wsgi"));
        self.reports_are_those_of_the_tree()?;
        self.traces()
    }

    fn reports_are_those_of_the_tree(&self) -> anyhow::Result<()> {
        let mut compared = 0;
        for entry in fs::read_dir(root().join("tests/recordings"))?.flatten() {
            if entry.path().extension().is_none_or(|extension| extension != "wtrace") {
                continue;
            }
            let recording = self.shared.join("given.wtrace");
            fs::copy(entry.path(), &recording)?;
            for form in ["text", "json", "ndjson", "html"] {
                self.same_report(&recording, form)?;
            }
            compared += 1;
        }
        assert!(compared > 10, "only {compared} recordings");
        Ok(())
    }

    /// What it reports on a recording is what the program of the tree reports.
    fn same_report(&self, recording: &Path, form: &str) -> anyhow::Result<String> {
        let path = recording.display().to_string();
        let arguments = ["report", &path, "--format", form];
        let environment = [("LC_ALL", "C.UTF-8"), ("COLUMNS", "100")];
        let installed = succeed((self.command)(&arguments).envs(environment))?;
        let tree = succeed(Command::new(wsgi_trace_binary()?).args(arguments).envs(environment))?;
        assert!(!tree.is_empty() || form == "ndjson", "{form} of {path} is empty");
        assert!(installed == tree, "{form} of {path} is not that of the tree");
        Ok(installed)
    }

    /// Two seconds of a real server, recorded: as many requests as were answered, and the same report
    /// everywhere.
    fn traces(&self) -> anyhow::Result<()> {
        require_bpf!(Ok(()));
        assert!(!self.run(&["doctor"])?.is_empty());
        let _alone = gate::exclusive()?;
        let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
        let recording = self.shared.join("live.wtrace");
        let (pid, record) = (server.master().to_string(), recording.display().to_string());
        let (stdout, stderr) = (self.shared.join("stdout"), self.shared.join("stderr"));
        let mut trace =
            (self.command)(&["--pid", &pid, "--duration", "2s", "--format", "json", "--record", &record]);
        trace.stdin(Stdio::null()).stdout(fs::File::create(&stdout)?).stderr(fs::File::create(&stderr)?);
        let mut child = Child::start(&mut trace, "the installed wsgi-trace")?;
        let said = || fs::read_to_string(&stderr).unwrap_or_default();
        until("it to watch", LIMIT, || {
            Ok((said().contains("watching") || child.ended()?.is_some()).then_some(()))
        })?;
        let sent = Load::run(server.address(), &["--requests", "100", "--seconds", "1", "--clients", "2"])?;
        let status = child.wait(LIMIT)?;
        anyhow::ensure!(status.success(), "{}", said());
        let live = fs::read_to_string(&stdout)?;
        let report: Value = serde_json::from_str(&live)?;
        let completed = report.pointer("/requests/completed").and_then(Value::as_u64);
        assert_eq!(completed, u64::try_from(sent.answered()).ok(), "{}", said());
        assert!(sent.answered() >= 50, "{} answered", sent.answered());
        let replayed = self.same_report(&recording, "json")?;
        assert!(replayed == live, "the report of the recording is not that of the run");
        Ok(())
    }
}
