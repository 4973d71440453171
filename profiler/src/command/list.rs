//! `wsgi-trace list`: the WSGI servers that run here.
//!
//! In: `/proc`, as far as this user may look. Out: a table, or JSON.

use std::io::{self, Write};

use profiler_core::fact::container::Container;
use profiler_core::model::Server;
use profiler_core::server::Role;
use serde::Serialize;

use super::mode::{Mode, running_kernel_has_light};
use crate::cli::{List, PlainFormat};
use crate::fact::container;
use crate::fact::find::{Found, list_servers};
use crate::fact::{FactError, Proc};
use crate::output_file::plain;

/// Why the list could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// `/proc` cannot be read.
    #[error(transparent)]
    Fact(#[from] FactError),
    /// The output cannot be written.
    #[error("the list could not be written: {}; send it elsewhere", plain(.0))]
    Output(#[from] io::Error),
}

/// One server in the JSON list.
#[derive(Serialize)]
pub(super) struct Row {
    pid: u32,
    pub(super) server: String,
    version: Option<String>,
    worker_class: String,
    workers: Option<u64>,
    threads: Option<u64>,
    slots: Option<u32>,
    /// `light` or `full`: how it is best watched for long on this kernel; null: its worker class is not
    /// known.
    mode: Option<&'static str>,
    listeners: Vec<String>,
    python: Option<String>,
    pub(super) application: Option<String>,
    /// The container that it runs in; null: none that is known.
    pub(super) container: Option<Container>,
    processes: Vec<ProcessRow>,
}

/// One process in the JSON list.
#[derive(Serialize)]
pub(super) struct ProcessRow {
    pid: u32,
    role: &'static str,
}

/// Writes the list.
///
/// # Errors
/// When `/proc` cannot be read or `out` cannot be written.
pub fn run(options: &List, out: &mut impl Write) -> Result<(), ListError> {
    let found = list_servers(&Proc::default())?;
    let has_light = running_kernel_has_light();
    let rows: Vec<Row> = found.iter().map(|found| row(found, has_light)).collect();
    let hidden = found.iter().any(|found| !found.facts.hidden.is_empty());
    match options.format {
        PlainFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, &rows).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        PlainFormat::Text => text(&rows, hidden, out)?,
    }
    Ok(())
}

/// What is said of one.
pub(super) fn row(found: &Found, has_light: bool) -> Row {
    let server = &found.recognised.server;
    let mut listeners: Vec<String> = Vec::new();
    for listener in found.facts.listeners.iter().filter(|listener| is_public(found, listener.inode)) {
        let address = harmless(&listener.address);
        if !listeners.contains(&address) {
            listeners.push(address);
        }
    }
    // Without privileges the sockets are not seen; what was asked for is.
    if listeners.is_empty() {
        listeners.extend(value(server, "bind"));
    }
    Row {
        pid: found.tree.root,
        server: server.name.clone(),
        version: server.version.clone(),
        worker_class: harmless(&server.worker_class),
        workers: server.number("workers").or_else(|| server.number("processes")),
        threads: matches!(server.worker_class.as_str(), "gthread" | "daemon")
            .then(|| server.number("threads"))
            .flatten(),
        slots: found.recognised.kind.configured_slots(server),
        mode: Mode::of(found.recognised.kind, server, has_light).map(Mode::name),
        listeners,
        python: server.python_version.clone(),
        application: value(server, "wsgi_app").or_else(|| value(server, "proc_name")),
        container: container::of_process(&Proc::default(), found.tree.root),
        processes: found
            .recognised
            .roles
            .iter()
            .map(|(pid, role)| ProcessRow { pid: *pid, role: role.name() })
            .collect(),
    }
}

/// A listener that only the master holds is not where requests come in (gunicorn's control socket). Nor is
/// one of workers that have a front end of their own (mod_wsgi's daemons).
fn is_public(found: &Found, inode: u64) -> bool {
    let roles = &found.recognised.roles;
    let in_front =
        if roles.iter().any(|(_, role)| *role == Role::FrontEnd) { Role::FrontEnd } else { Role::Worker };
    let workers = || roles.iter().filter(|(_, role)| *role == in_front);
    workers().next().is_none()
        || workers().any(|(worker, _)| {
            found.facts.listeners.iter().any(|listener| listener.tgid == *worker && listener.inode == inode)
        })
}

fn value(server: &Server, name: &str) -> Option<String> {
    server.settings.iter().find(|setting| setting.name == name).map(|setting| harmless(&setting.value))
}

/// By its pod, where that is known.
fn in_brief(container: &Container) -> String {
    match (&container.k8s_namespace_name, &container.k8s_pod_name) {
        (Some(namespace), Some(pod)) => format!("{} ({namespace}/{pod})", container.short_id()),
        _ => container.short_id().to_owned(),
    }
}

/// What other programs wrote, without what a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars().take(200).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn text(rows: &[Row], hidden: bool, out: &mut impl Write) -> io::Result<()> {
    if rows.is_empty() {
        writeln!(out, "No WSGI server of a known kind runs here, as far as this user may look.")?;
        return writeln!(out, "Any other server can be traced all the same: wsgi-trace --pid PID");
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header =
        vec!["PID", "SERVER", "CLASS", "WORKERS", "THREADS", "MODE", "PYTHON", "LISTENERS", "APPLICATION"];
    let any_container = rows.iter().any(|row| row.container.is_some());
    header.extend(any_container.then_some("CONTAINER"));
    table.set_header(header);
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for row in rows {
        let server = match &row.version {
            Some(version) => format!("{} {version}", row.server),
            None => row.server.clone(),
        };
        let mut cells = vec![
            row.pid.to_string(),
            server,
            row.worker_class.clone(),
            number(row.workers),
            number(row.threads),
            row.mode.unwrap_or("-").to_owned(),
            row.python.clone().unwrap_or_else(|| "-".to_owned()),
            if row.listeners.is_empty() { "-".to_owned() } else { row.listeners.join(", ") },
            row.application.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        cells.extend(any_container.then(|| row.container.as_ref().map_or_else(|| "-".to_owned(), in_brief)));
        table.add_row(cells);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    if hidden {
        writeln!(out, "This user may not look at some processes: run it as root to see more.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Row {
        Row {
            pid: 42,
            server: "gunicorn".into(),
            version: Some("27.0.1".into()),
            worker_class: "gthread".into(),
            workers: Some(2),
            threads: Some(4),
            slots: Some(8),
            mode: Some("light"),
            listeners: vec!["127.0.0.1:8000".into(), "/run/app.sock".into()],
            python: Some("3.11".into()),
            application: None,
            container: None,
            processes: vec![ProcessRow { pid: 42, role: "master" }],
        }
    }

    #[test]
    fn a_server_is_one_line_under_a_header() {
        let mut out = Vec::new();
        text(&[sample()], false, &mut out).expect("writes");
        let out = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        for word in ["42", "gunicorn 27.0.1", "gthread", "light", "127.0.0.1:8000, /run/app.sock", "3.11"] {
            assert!(lines[1].contains(word), "{out}");
        }
    }

    #[test]
    fn containers_have_a_column_where_there_are_any() {
        let contained = Container {
            id: "0123456789abcdef".repeat(4),
            k8s_namespace_name: Some("shop".into()),
            k8s_pod_name: Some("web-0".into()),
            ..Container::default()
        };
        let mut out = Vec::new();
        text(&[sample(), Row { container: Some(contained), ..sample() }], false, &mut out).expect("writes");
        let out = String::from_utf8(out).expect("text");
        let ends: Vec<&str> = out.lines().map(|line| line.rsplit("  ").next().unwrap_or_default()).collect();
        assert_eq!(ends, ["CONTAINER", "-", "0123456789ab (shop/web-0)"], "{out}");
    }

    #[test]
    fn nothing_found_says_what_can_be_done() {
        let mut out = Vec::new();
        text(&[], false, &mut out).expect("writes");
        assert!(String::from_utf8(out).expect("text").contains("--pid PID"));
    }

    #[test]
    fn what_a_server_calls_itself_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
    }

    #[test]
    fn the_list_of_this_machine_is_valid_json() {
        let mut out = Vec::new();
        run(&List { format: PlainFormat::Json }, &mut out).expect("list");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert!(value.is_array());
    }
}
