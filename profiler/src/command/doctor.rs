//! `wsgi-trace doctor`: what this kernel, this user and this target allow, and what each missing part costs.
//!
//! In: the running kernel, our privileges, a target if one is named. Out: a list; a failure if tracing is impossible.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{Failure, print};
use crate::attach::plan::{Load, Settings, plan};
use crate::attach::table::PROGRAMS;
use crate::capability::kernel_btf::KernelBtf;
use crate::capability::{Capabilities, KERNEL_BTF};
use crate::cli::{Doctor, PlainFormat};
use crate::fact::{Proc, server_facts, server_tree};
use crate::report::escape::{Charset, line};
use crate::session::SessionError;

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// What it says, or what is missing and what that costs.
    detail: String,
}

/// Says what can be done here.
///
/// # Errors
/// [`Failure`] with the exit code that a trace would end with, after the list has been printed.
pub fn run(options: &Doctor) -> Result<(), Failure> {
    let btf = KernelBtf::load(Path::new(KERNEL_BTF));
    let capabilities = Capabilities::probe(btf.as_ref().ok());
    let mut checks = vec![privileges(&capabilities)];
    checks.push(match &btf {
        Ok(_) => check("kernel types", true, format!("{KERNEL_BTF} can be read")),
        Err(error) => check("kernel types", false, error.to_string()),
    });
    // Planned as if the user could: what the kernel allows is told apart from what the user may.
    let as_root = Capabilities { effective: u64::MAX, ..capabilities.clone() };
    let planned = plan(&as_root, &Settings::default(), Load::default());
    match &planned {
        Ok(plan) => {
            let release = &capabilities.kernel_release;
            checks.push(check("kernel", true, format!("Linux {release} has what is needed")));
            for program in &plan.programs {
                checks.push(check(program.name, true, program.question.to_owned()));
            }
            for missing in &plan.missing {
                let detail = format!("{}; without it {}", missing.reason, missing.consequence);
                checks.push(check(&missing.program, false, detail));
            }
        }
        Err(error) => {
            checks.push(check("kernel", false, error.to_string()));
            for program in PROGRAMS {
                checks.push(check(program.name, false, format!("not planned; needs {}", program.needs)));
            }
        }
    }
    let mut target_failure = None;
    if let Some(pid) = options.pid
        && let Err(failure) = target_checks(pid, &mut checks)
    {
        checks.push(check("target", false, failure.sentence.clone()));
        target_failure = Some(failure);
    }
    print(&match options.format {
        PlainFormat::Text => text(&checks),
        PlainFormat::Json => json(&checks),
    })?;
    // In the order in which a trace would meet them.
    if let Some(failure) = target_failure {
        return Err(failure);
    }
    plan(&capabilities, &Settings::default(), Load::default()).map_err(SessionError::from)?;
    Ok(())
}

fn check(name: &str, ok: bool, detail: String) -> Check {
    Check { name: name.to_owned(), ok, detail }
}

fn privileges(capabilities: &Capabilities) -> Check {
    let missing = capabilities.missing_privileges();
    let detail = if missing.is_empty() {
        "this user may load and attach BPF programs".to_owned()
    } else {
        format!("{} missing: run as root (sudo)", missing.join(" and "))
    };
    check("privileges", missing.is_empty(), detail)
}

/// Looks at the server; the failure is the one that a trace of it would end with.
fn target_checks(pid: u32, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let proc = Proc::default();
    let tree = server_tree(&proc, pid)?;
    let facts = server_facts(&proc, &tree.tgids);
    let recognised = profiler_core::server::recognise(&facts.processes, &facts.listeners);
    let server = recognised.kind.refine(&recognised.server, &facts.observed(&recognised.roles));
    let known = server.name != "unknown";
    let processes = match tree.tgids.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    checks.push(check(
        "server",
        known,
        if known {
            let version = server.version.as_deref().unwrap_or("of unknown version");
            format!("{} {version}, worker class {}, {processes}", server.name, server.worker_class)
        } else {
            format!("of no known kind, {processes}; without that its slots and settings are guessed at")
        },
    ));
    let addresses: Vec<_> =
        facts.listeners.iter().map(|listener| line(&listener.address, 80, Charset::Ascii)).collect();
    let mut unique = addresses;
    unique.sort_unstable();
    unique.dedup();
    checks.push(check(
        "listeners",
        !unique.is_empty(),
        if unique.is_empty() { "none is seen".to_owned() } else { unique.join(", ") },
    ));
    if !facts.hidden.is_empty() {
        let detail =
            format!("descriptors of {} processes may not be looked at: run as root", facts.hidden.len());
        checks.push(check("visibility", false, detail));
    }
    if facts.processes.iter().any(|process| process.uses_io_uring) {
        let detail = "the target uses io_uring: what goes through it is not seen";
        checks.push(check("io_uring", false, detail.to_owned()));
    }
    // Where something is hidden, the listener may be among it.
    if unique.is_empty() && facts.hidden.is_empty() {
        return Err(SessionError::NoListener { pid }.into());
    }
    Ok(())
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = if check.ok { "ok" } else { "NO" };
        let _ = writeln!(text, "{mark}  {:width$}  {}", check.name, check.detail);
    }
    text
}

fn json(checks: &[Check]) -> String {
    // Strings and booleans alone: this cannot fail.
    serde_json::to_string_pretty(&serde_json::json!({ "checks": checks })).unwrap_or_default() + "\n"
}
