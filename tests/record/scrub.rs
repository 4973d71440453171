//! What names this machine is taken out of a recording's facts; kernel records stay as they are.
//!
//! In: a recording. Out: a copy. Host name, and every path in executables, command lines, configuration, cgroups and
//! UNIX listeners are replaced by neutral ones with the same last segment.

use std::path::Path;

use anyhow::Context as _;
use profiler_core::fact::Fact;
use profiler_core::stream::Item;
use wsgi_trace::recording::{Recorder, Recording};

/// Host in every recording of the tree.
const HOST: &str = "server";

/// Copies the recording `from` to `to`.
///
/// # Errors
///
/// Where one cannot be read whole or the other not be written.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = Recording::open(from)?;
    let version = source.tool_version().to_owned();
    let mut copy = Recorder::create(to, &version)?;
    for item in source.by_ref() {
        match item {
            Item::Kernel(record) => copy.record_kernel(&record)?,
            Item::Fact(mut record) => {
                neutral(&mut record.fact);
                copy.record_fact(&record)?;
            }
        }
    }
    anyhow::ensure!(source.summary().is_complete(), "the recording cannot be read whole");
    copy.finish().context("the copy cannot be ended")?;
    Ok(())
}

fn neutral(fact: &mut Fact) {
    match fact {
        Fact::SessionStarted(session) => HOST.clone_into(&mut session.host_name),
        Fact::ProcessSeen(process) => {
            process.executable = format!("/usr/bin/{}", last_segment(&process.executable));
            for argument in &mut process.command_line {
                moved(argument);
            }
            for (_, value) in &mut process.environment {
                moved(value);
            }
            process.configuration_file.iter_mut().for_each(moved);
            process.cgroup.iter_mut().for_each(group);
        }
        Fact::CgroupCpu(cgroup) => group(&mut cgroup.cgroup),
        Fact::ListenerSeen(listener) if listener.family == "unix" => moved(&mut listener.address),
        _ => {}
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A path becomes one under `/srv`.
fn moved(text: &mut String) {
    if text.starts_with('/') {
        *text = format!("/srv/{}", last_segment(text));
    }
}

/// A cgroup below the root becomes `/server`.
fn group(path: &mut String) {
    if path != "/" {
        "/server".clone_into(path);
    }
}
