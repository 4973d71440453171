//! `wsgi-trace doctor`: what this kernel, this user and this target allow, and what each missing part costs.
//!
//! In: the running kernel, our privileges, a target if one is named. Out: a list, of programs what became of
//! them when they were attached for a moment; a failure if tracing is impossible.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use profiler_core::fact::MissingProgram;
use serde::Serialize;

use super::mode::{Mode, has_light, no_light};
use super::target::find;
use super::{Failure, print};
use crate::attach::plan::{Load, Settings, plan};
use crate::attach::{AttachError, try_out};
use crate::capability::kernel_btf::KernelBtf;
use crate::capability::tried;
use crate::capability::{
    CAPABILITIES_WANTED, Capabilities, KERNEL_BTF, LOOKING_WANTED, PRIVILEGES, Privilege,
};
use crate::cli::{Doctor, PlainFormat, Target};
use crate::fact::{Proc, server_facts, server_tree};
use crate::hook::stack::LENT_FROM_BYTES;
use crate::hook::table::PROGRAMS;
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
    checks.extend(PRIVILEGES.iter().map(|privilege| of_privilege(privilege, &capabilities)));
    checks.push(match &btf {
        Ok(_) => check("kernel types", true, format!("{KERNEL_BTF} can be read")),
        Err(error) => check("kernel types", false, error.to_string()),
    });
    checks.extend(capabilities.lockdown.as_deref().map(|level| lockdown(level, &capabilities)));
    checks.push(probes(&capabilities));
    checks.extend(capabilities.no_call_tracepoints.as_deref().map(without_call_tracepoints));
    checks.push(light(&capabilities));
    let tried = programs(&capabilities, &mut checks);
    let target = target(options)
        .and_then(|pid| pid.map_or(Ok(()), |pid| target_checks(pid, &capabilities, &mut checks)));
    if let Err(failure) = &target {
        checks.push(check("target", false, failure.sentence.clone()));
    }
    print(&match options.format {
        PlainFormat::Text => text(&checks),
        PlainFormat::Json => json(&checks),
    })?;
    // In the order in which a trace would meet them.
    target?;
    Ok(tried.map_err(SessionError::from)?)
}

/// The process that the options name, if any.
fn target(options: &Doctor) -> Result<Option<u32>, Failure> {
    if options.pid.is_none() && options.port.is_none() && options.name.is_none() {
        return Ok(None);
    }
    let Doctor { pid, port, name, .. } = options.clone();
    let (_, pid) = find(&Target { pid, port, name })?;
    Ok(Some(pid))
}

/// Attaches what a trace would attach, for a moment, and says of each program whether that went. Where this
/// user may not, what the kernel has is distinguished from what the user may.
fn programs(capabilities: &Capabilities, checks: &mut Vec<Check>) -> Result<(), AttachError> {
    let plan_of = |capabilities| plan(capabilities, &Settings::default(), Load::default());
    let planned = match plan_of(&capabilities.as_of_root()) {
        Ok(planned) => planned,
        Err(error) => {
            checks.push(check("kernel", false, error.to_string()));
            // A lockdown is the reason for all of them, and the line above says it.
            if !capabilities.hides_its_memory() {
                checks.extend(PROGRAMS.iter().map(|program| {
                    check(program.name, false, format!("not planned; needs {}", program.needs))
                }));
            }
            return plan_of(capabilities).map(drop);
        }
    };
    let release = &capabilities.kernel_release;
    checks.push(check("kernel", true, format!("Linux {release} has what is needed")));
    checks.extend(
        tried::kernel(std::env::consts::ARCH, release)
            .map(|row| check("tried", true, format!("kernels like this one: {}", row.tried))),
    );
    let started = Instant::now();
    let tried = try_out(&Settings::default());
    match &tried {
        Ok(_) => {
            let took_ms = started.elapsed().as_millis();
            let detail = format!("attached to wsgi-trace itself and detached again, in {took_ms} ms");
            checks.push(check("attaching", true, detail));
        }
        // The line on privileges has said it.
        Err(AttachError::Privileges { .. }) => {}
        Err(error) => checks.push(check("attaching", false, error.to_string())),
    }
    let missing = tried.as_ref().map_or(&planned.missing, |attached| &attached.missing);
    for program in &planned.programs {
        match (&tried, missing.iter().find(|missing| missing.program == program.name)) {
            (Ok(_), Some(missing)) => checks.push(of_missing(missing)),
            (Ok(_), None) => checks.push(check(program.name, true, program.question.to_owned())),
            (Err(_), _) => {
                let detail = format!("the kernel has it; not tried: {}", program.question);
                checks.push(check(program.name, true, detail));
            }
        }
    }
    checks.extend(planned.missing.iter().map(of_missing));
    tried.map(drop)
}

fn of_missing(missing: &MissingProgram) -> Check {
    check(&missing.program, false, format!("{}; without it {}", missing.reason, missing.consequence))
}

fn of_privilege(privilege: &Privilege, capabilities: &Capabilities) -> Check {
    let has = capabilities.has(privilege);
    let Privilege { name, allows, without, .. } = *privilege;
    check(name, has, if has { allows.to_owned() } else { format!("{allows}; without it {without}") })
}

fn check(name: &str, ok: bool, detail: String) -> Check {
    Check { name: name.to_owned(), ok, detail }
}

fn privileges(capabilities: &Capabilities) -> Check {
    let missing = capabilities.missing_privileges();
    let detail = if missing.is_empty() {
        "this user may load and attach BPF programs".to_owned()
    } else {
        format!("{} missing: run as root (sudo), or grant {CAPABILITIES_WANTED}", missing.join(" and "))
    };
    check("privileges", missing.is_empty(), detail)
}

/// What a kernel that is locked down forbids.
fn lockdown(level: &str, capabilities: &Capabilities) -> Check {
    if capabilities.hides_its_memory() {
        let detail = format!(
            "{level}: no program may read the kernel's memory, whoever loads it, so nothing can be traced"
        );
        return check("lockdown", false, detail);
    }
    check("lockdown", true, format!("{level}: it forbids nothing that tracing needs"))
}

/// What `--hooks tracepoints` would end with.
fn without_call_tracepoints(reason: &str) -> Check {
    let detail = format!(
        "{reason}; without them `--hooks tracepoints` is refused, and all calls are hooked by two programs"
    );
    check("single system calls", false, detail)
}

/// Whether `--gil` and `--tls` may choose probes.
fn probes(capabilities: &Capabilities) -> Check {
    match &capabilities.no_probes {
        Some(reason) => {
            let detail = format!(
                "{reason}; without them waits for the GIL are known from system calls alone, and requests over TLS have no names"
            );
            check("probes in interpreters", false, detail)
        }
        None => {
            let detail = format!(
                "may be placed: each uses less than the {LENT_FROM_BYTES} bytes of stack from which kernels may panic on them"
            );
            check("probes in interpreters", true, detail)
        }
    }
}

/// Whether this kernel has what light mode needs.
fn light(capabilities: &Capabilities) -> Check {
    match no_light(capabilities) {
        None => check("light mode", true, "this kernel has what `--light` needs".to_owned()),
        Some(error) => check("light mode", false, error.to_string()),
    }
}

/// Looks at the server; the failure is the one that a trace of it would end with.
fn target_checks(pid: u32, capabilities: &Capabilities, checks: &mut Vec<Check>) -> Result<(), Failure> {
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
    if let Some(mode) = Mode::of(recognised.kind, &server, has_light(capabilities)).filter(|_| known) {
        checks.push(check("mode", true, mode.advice().to_owned()));
    }
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
        let detail = format!(
            "file descriptors of {} processes may not be looked at: run as root, or with {LOOKING_WANTED}",
            facts.hidden.len()
        );
        checks.push(check("visibility", false, detail));
    }
    // Sockets of libuv's, and so uvloop's, are read and written by ordinary calls.
    if facts.processes.iter().any(|process| process.uses_io_uring && !process.maps_uvloop()) {
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
