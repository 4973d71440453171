//! What names this machine is taken out of a recording's facts; kernel records stay as they are.
//!
//! In: a recording. Out: a copy. Host name, the kernel's build, and every path in executables, command lines,
//! configuration, Python files, cgroups and UNIX listeners are replaced by neutral ones with the same last
//! segment.

use std::path::Path;

use anyhow::Context as _;
use profiler_core::fact::Fact;
use profiler_core::fact::asleep::{AsleepSeen, ObjectSeen};
use profiler_core::fact::container::Container;
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
        Fact::SessionStarted(session) => {
            HOST.clone_into(&mut session.host_name);
            // What a distribution or a vendor of machines appends to the kernel's version.
            if let Some((version, _)) = session.kernel_release.split_once('-') {
                session.kernel_release = version.to_owned();
            }
        }
        Fact::ProcessSeen(process) => {
            process.executable = format!("/usr/bin/{}", last_segment(&process.executable));
            let values = process.environment.iter_mut().chain(&mut process.configuration);
            let texts = process.command_line.iter_mut().chain(values.map(|(_, value)| value));
            texts.chain(&mut process.configuration_file).for_each(moved);
            process.cgroup.iter_mut().for_each(group);
        }
        Fact::CgroupCpu(cgroup) => group(&mut cgroup.cgroup),
        Fact::CgroupMemory(cgroup) => group(&mut cgroup.cgroup),
        Fact::Container(container) => {
            *container =
                Container { id: "0".repeat(64), runtime: container.runtime.take(), ..Container::default() };
        }
        Fact::FrameSeen(frame) => moved(&mut frame.file),
        Fact::PlaceSeen(place) => place.frames.iter_mut().for_each(|frame| moved(&mut frame.file)),
        Fact::AsleepSeen(AsleepSeen { object: Some(object), .. }) => neutral_object(object),
        Fact::ListenerSeen(listener) if listener.family == "unix" => moved(&mut listener.address),
        _ => {}
    }
}

fn neutral_object(object: &mut ObjectSeen) {
    match object {
        ObjectSeen::File(file) | ObjectSeen::FileLock { file, .. } => {
            moved(&mut file.path);
            moved(&mut file.mount);
        }
        ObjectSeen::Pipe { path, .. } | ObjectSeen::Unix { path, .. } | ObjectSeen::Device { path } => {
            moved(path);
        }
        _ => {}
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Every absolute path in the text becomes one under `/srv`.
fn moved(text: &mut String) {
    let mut neutral = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find('/') {
        let (before, path) = rest.split_at(start);
        let length = path.find(|c: char| c.is_whitespace() || ":,;'\"".contains(c)).unwrap_or(path.len());
        let (path, after) = path.split_at(length);
        neutral.push_str(before);
        let is_absolute = before.is_empty() || before.ends_with([':', '=', ' ', ',', ';', '\'', '"']);
        if is_absolute && path.len() > 1 {
            neutral.push_str("/srv/");
            neutral.push_str(last_segment(path.trim_end_matches('/')));
        } else {
            neutral.push_str(path);
        }
        rest = after;
    }
    neutral.push_str(rest);
    *text = neutral;
}

/// A cgroup below the root becomes `/server`.
fn group(path: &mut String) {
    if path != "/" {
        "/server".clone_into(path);
    }
}
