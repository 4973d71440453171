//! `lab/results/thousand-clients.md` and `.json`.
//!
//! In: rows. Out: the table between the marks of the page, and all rows as JSON beside it.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::{CLIENTS, Row};

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of the table -->";

#[derive(Serialize)]
struct File<'a> {
    machine: &'a str,
    clients: u64,
    path: &'static str,
    patience_seconds: u64,
    rows: &'a [Row],
}

/// The rows as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| server | open files | clients saw | the report: served | not served, by cause | attempts refused | agrees |\n\
                |---|--:|---|--:|---|--:|---|";
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("{head}\n{}\n", lines.join("\n"))
}

fn line(row: &Row) -> String {
    let mut causes: Vec<String> =
        row.causes.iter().map(|(cause, count)| format!("`{cause}` {}", share(*count))).collect();
    if row.open > 0 {
        causes.push(format!("still open {}", share(row.open)));
    }
    let saw: Vec<String> =
        row.saw.iter().map(|(what, count)| format!("{} {}", words(what), share(*count))).collect();
    let none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    format!(
        "| {} ({}) | {} | {} | {} | {} | {} | {} |",
        row.setup,
        row.server,
        row.open_files.map_or_else(|| "not limited".to_owned(), |limit| limit.to_string()),
        none(saw),
        share(row.served),
        none(causes),
        row.refused_attempts.map_or_else(|| "not known".to_owned(), |count| count.to_string()),
        if row.differs.is_empty() { "yes".to_owned() } else { row.differs.join("; ") }
    )
}

fn share(count: u64) -> String {
    format!("{:.1} %", count as f64 * 100.0 / CLIENTS as f64)
}

/// What a client saw, in words.
fn words(saw: &str) -> String {
    match saw {
        "200" => "an answer",
        "refused" => "refused",
        "unconnected" => "never connected",
        "unheard" => "connected but never heard",
        "reset" => "a reset",
        "reset_within" => "a reset in the answer",
        "closed" => "closed without a byte",
        "cut" => "an answer cut short",
        "waited" => "waited for nothing",
        "waited_within" => "waited in the answer",
        status => return format!("status {status}"),
    }
    .to_owned()
}

/// Writes both files.
pub(crate) fn write(page: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let machine = machine();
    let file = File {
        machine: &machine,
        clients: CLIENTS,
        path: crate::PATH,
        patience_seconds: crate::PATIENCE.as_secs(),
        rows,
    };
    std::fs::write(page.with_extension("json"), serde_json::to_string_pretty(&file)? + "\n")?;
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    std::fs::write(page, format!("{before}{BEGIN}Measured on {machine}.\n\n{}{END}{after}", table(rows)))?;
    Ok(())
}

/// The machine in words.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once([':', '=']).map_or("", |(_, value)| value).trim().trim_matches('"').to_owned()
    };
    let cpuinfo = read("/proc/cpuinfo");
    let is_virtual = field(&cpuinfo, "flags").split_whitespace().any(|flag| flag == "hypervisor");
    let memory_kib: u64 =
        field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").trim().parse().unwrap_or(0);
    format!(
        "{}: {}, {} CPUs, {} GiB, Linux {}, {}; net.core.somaxconn {}",
        if is_virtual { "a virtual machine" } else { "bare metal" },
        field(&cpuinfo, "model name"),
        std::thread::available_parallelism().map_or(1, usize::from),
        memory_kib.div_ceil(1024 * 1024),
        read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default(),
        field(&read("/etc/os-release"), "PRETTY_NAME"),
        read("/proc/sys/net/core/somaxconn").trim()
    )
}
