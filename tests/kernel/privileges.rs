//! What the program may do on a kernel that is told to forbid something: it traces with exactly the
//! documented capabilities, or says what forbids it.
//!
//! In: `LOCKDOWN` (the level at which the kernel is locked down), `UNPRIVILEGED_BPF` (the value of
//! `kernel.unprivileged_bpf_disabled`), `setpriv`. Out: verdicts, and what `doctor` says, for the reviewed
//! report.

use std::process::Command;

use anyhow::{Context as _, ensure};
use wsgi_trace::capability::CAPABILITIES_WANTED;
use wsgi_trace::cli::exit::ExitCode;
use wsgi_trace_test_support::program::{Outcome, Program, wsgi_trace_binary};

use crate::attached;
use crate::checks::Check;
use crate::machine;
use crate::program::reports_by;
use crate::server::LIMIT;
use crate::toy::Toy;

/// Some user who owns nothing.
const USER: &str = "65534";
const LEVELS: &str = "/sys/kernel/security/lockdown";
/// As the program names what forbids it.
const LOCKED: &str = "lockdown=confidentiality";
const UNPRIVILEGED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
/// From 3 on Debian's kernels let only those open perf events who have `CAP_SYS_ADMIN`; it is 3 unless it is
/// set.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
/// Every way to hook, with its name in a report.
const WAYS: [Way; 3] = [(&["--hooks=btf"], "btf"), TRACEPOINTS, (&["--light"], "light")];
const TRACEPOINTS: Way = (&["--hooks=tracepoints"], "tracepoints");

/// Options, and the name in a report.
type Way = (&'static [&'static str], &'static str);

/// All checks.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    if hides_its_memory() {
        checks.push((
            "root is refused by a kernel that does not say that it is locked down",
            is_refused(root, &WAYS, LOCKED),
        ));
    }
    machine::mount_security();
    checks.push(("the kernel forbids what it was told to", is_told()));
    if hides_its_memory() {
        checks.push(("root is refused in one sentence", is_refused(root, &WAYS, LOCKED)));
        checks.push(("so are the documented capabilities", is_refused(with_the_documented, &WAYS, LOCKED)));
    } else {
        checks.push(("root traces every request", traces(root, &WAYS)));
        checks.push((
            "tracepoints of single calls are refused to the documented capabilities where Debian keeps them",
            are_kept(),
        ));
        checks.push(("the documented capabilities trace every request", traces(with_the_documented, &WAYS)));
    }
    checks.push(("a user without capabilities is told which", names_what_is_missing()));
    checks.push(("doctor says what holds here", doctor()));
    checks
}

/// The kernel has what this machine was started for, so that no check passes because the setting was not
/// there.
fn is_told() -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
    let mut asked = 0;
    if let Ok(level) = std::env::var("LOCKDOWN") {
        let levels = read(LEVELS)?;
        ensure!(levels.contains(&format!("[{level}]")), "{levels}");
        asked += 1;
    }
    if let Ok(value) = std::env::var("UNPRIVILEGED_BPF") {
        let now = read(UNPRIVILEGED)?;
        ensure!(now.trim() == value, "{UNPRIVILEGED} is {now}");
        asked += 1;
    }
    ensure!(asked > 0, "the kernel was told nothing");
    Ok(())
}

/// Whether no program may read the kernel's memory here.
fn hides_its_memory() -> bool {
    std::env::var("LOCKDOWN").is_ok_and(|level| level == "confidentiality")
}

/// How the program is started.
type Start = fn(&[&str]) -> anyhow::Result<Program>;

fn root(arguments: &[&str]) -> anyhow::Result<Program> {
    Program::start(arguments)
}

/// As docs/security.md has it: another user, who has these capabilities and no others.
fn with_the_documented(arguments: &[&str]) -> anyhow::Result<Program> {
    let names = CAPABILITIES_WANTED.split([',', ' ']).filter_map(|word| word.strip_prefix("CAP_"));
    let list: Vec<String> = names.map(|name| format!("+{}", name.to_lowercase())).collect();
    ensure!(list.len() == 5, "{list:?}");
    as_user(&list.join(","), arguments)
}

fn with_none(arguments: &[&str]) -> anyhow::Result<Program> {
    as_user("-all", arguments)
}

fn as_user(capabilities: &str, arguments: &[&str]) -> anyhow::Result<Program> {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
    command.arg(wsgi_trace_binary()?).args(arguments);
    Program::start_by(command)
}

/// Every way to hook counts each request of the toy.
fn traces(start: Start, ways: &[Way]) -> anyhow::Result<()> {
    for (options, hooks) in ways {
        println!("-- {}", options.join(" "));
        let report = reports_by(start, options).with_context(|| options.join(" "))?;
        let chosen = report.pointer("/tool/hooks");
        ensure!(chosen.is_some_and(|name| name == hooks), "{chosen:?} and not {hooks}");
    }
    Ok(())
}

/// With Debian's setting they are refused in one sentence that names it, and by doctor; from here on it is
/// that of the kernel's own releases.
fn are_kept() -> anyhow::Result<()> {
    let paranoid = std::fs::read_to_string(PARANOID)?;
    ensure!(paranoid.trim() == "3", "{PARANOID} is {paranoid}");
    is_refused(with_the_documented, &[TRACEPOINTS], "kernel.perf_event_paranoid is 3")?;
    let Outcome { stdout, .. } = with_the_documented(&["doctor"])?.finish(LIMIT)?;
    let line = stdout.lines().find(|line| line.contains("single system calls"));
    ensure!(
        line.is_some_and(|line| line.starts_with("NO") && line.contains("perf_event_paranoid")),
        "{stdout}"
    );
    std::fs::write(PARANOID, "2").context("it cannot be set")
}

/// Each of these ways ends at once, in one sentence that names the setting.
fn is_refused(start: Start, ways: &[Way], setting: &str) -> anyhow::Result<()> {
    let toy = Toy::start()?;
    let pid = toy.pid().to_string();
    for (options, _) in ways {
        let Outcome { status, stderr, .. } =
            start(&[&["--pid", &pid][..], *options].concat())?.finish(LIMIT)?;
        println!("it says: {}", stderr.trim_end());
        ensure!(
            status.code() == Some(i32::from(ExitCode::KernelUnsuitable.number())),
            "{options:?}: {status}: {stderr}"
        );
        ensure!(stderr.lines().count() == 1 && stderr.contains(setting), "{options:?}: {stderr}");
    }
    toy.drive(1)
}

fn names_what_is_missing() -> anyhow::Result<()> {
    let toy = Toy::start()?;
    let Outcome { status, stderr, .. } = with_none(&["--pid", &toy.pid().to_string()])?.finish(LIMIT)?;
    ensure!(status.code() == Some(i32::from(ExitCode::NotPermitted.number())), "{status}: {stderr}");
    ensure!(stderr.lines().count() == 1 && stderr.contains("CAP_BPF and CAP_PERFMON"), "{stderr}");
    Ok(())
}

/// What it says is for a reviewer; that it ends as a trace would is a check.
fn doctor() -> anyhow::Result<()> {
    for (title, start) in [
        ("doctor, as root", root as Start),
        ("doctor, with the documented capabilities", with_the_documented),
    ] {
        let Outcome { status, stdout, stderr } = start(&["doctor"])?.finish(LIMIT)?;
        let code = if hides_its_memory() { i32::from(ExitCode::KernelUnsuitable.number()) } else { 0 };
        ensure!(status.code() == Some(code), "{title}: {status}: {stdout}{stderr}");
        let line = stdout.lines().find(|line| line.contains("  lockdown "));
        let expected = std::env::var("LOCKDOWN").is_ok();
        ensure!(line.is_some() == expected, "{title}: {stdout}");
        ensure!(line.is_none_or(|line| line.starts_with("NO") == hides_its_memory()), "{title}: {line:?}");
        attached::note_text(title, &format!("{stdout}{stderr}"));
    }
    Ok(())
}
