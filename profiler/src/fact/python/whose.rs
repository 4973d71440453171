//! Whose code a file is: the application's, a package's, Python's own, the server's, or what started it.
//!
//! In: paths of files as a process's code objects have them, its command line, what is installed beside them
//! (`*.dist-info`, PyPA: Recording installed projects).
//! Out: [`Whose`]. Files are looked at inside the process's own root; each folder and each package once.

mod installed;

use std::collections::HashMap;

use profiler_core::fact::place::{PythonFrame, Whose};
use profiler_core::server::KINDS;
use rustix::fs::OFlags;

use self::installed::{Folders, Listed};
use crate::fact::process::version::open_inside;
use crate::fact::process::{Identity, identity};
use crate::fact::{Proc, mapping, read};

/// Files of one process that are remembered.
const MAX_FILES: usize = 16_384;
/// Folders above a file that are looked through for packages.
const MAX_FOLDERS: usize = 12;

/// What decides whose code the files of one process are.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Where Python's own library is; `None`: not found.
    standard: Option<String>,
    working_directory: String,
    /// First names of modules that the command line names.
    named: Vec<String>,
    folders: Folders,
    known: HashMap<String, Whose>,
}

impl Owners {
    /// Of a process.
    pub(super) fn of(proc: &Proc, tgid: u32) -> Self {
        let mapped = mapping::mapped_files(proc, tgid).unwrap_or_default();
        // Python's own extension modules lie in a folder of its library.
        let standard =
            mapped.iter().find_map(|file| Some(file.path.split_once("/lib-dynload/")?.0.to_owned()));
        let identity = identity(proc, tgid).unwrap_or_default();
        Self {
            standard,
            working_directory: read::link(&proc.of(tgid, "cwd")).unwrap_or_default(),
            named: named(&identity),
            ..Self::default()
        }
    }

    /// A file by its whole path, where a code object has it relative to where the server was started.
    pub(super) fn whole(&self, proc: &Proc, tgid: u32, file: String) -> String {
        if file.starts_with(['/', '<']) || self.working_directory.is_empty() {
            return file;
        }
        let whole = format!("{}/{}", self.working_directory, file.trim_start_matches("./"));
        if open_inside(proc, tgid, &whole, OFlags::RDONLY).is_some() { whole } else { file }
    }

    /// Whose code a file is, by its whole path.
    pub(super) fn of_file(&mut self, proc: &Proc, tgid: u32, file: &str) -> Whose {
        if let Some(known) = self.known.get(file) {
            return *known;
        }
        let whose = self.decide(proc, tgid, file);
        if self.known.len() < MAX_FILES {
            self.known.insert(file.to_owned(), whose);
        }
        whose
    }

    fn decide(&mut self, proc: &Proc, tgid: u32, file: &str) -> Whose {
        let is_packages = |path: &str| path.contains("/site-packages/") || path.contains("/dist-packages/");
        // `<frozen importlib._bootstrap>`, `<string>`, `__init__`: made while Python runs.
        if file.starts_with('<') || !file.contains(['/', '.']) {
            return Whose::Standard;
        }
        if let Some(standard) = &self.standard
            && let Some(rest) = file.strip_prefix(standard.as_str())
            && rest.starts_with('/')
            && !is_packages(rest)
        {
            let first = rest.split('/').nth(1).map(module);
            return if first.is_some_and(is_server) { Whose::Server } else { Whose::Standard };
        }
        if let Some((folder, first)) = self.installed_in(proc, tgid, file) {
            if is_server(&first) {
                return Whose::Server;
            }
            let is_named = self.named.contains(&first);
            return match self.folders.listed(proc, tgid, &folder, &first) {
                Listed::Local => Whose::Own,
                Listed::Package if is_named => Whose::Own,
                Listed::Package => Whose::Package,
                // Packages of a distribution, and copies, have no list.
                Listed::No if is_packages(file) && !is_named => Whose::Package,
                Listed::No => launcher_or_own(file),
            };
        }
        if is_packages(file) {
            let first = file.rsplit_once("-packages/").and_then(|(_, rest)| rest.split('/').next());
            return if first.is_some_and(is_server) { Whose::Server } else { Whose::Package };
        }
        // Without its extension modules Python's own library is where such files are.
        if self.standard.is_none() && file.contains("/lib/python3.") {
            return Whose::Standard;
        }
        launcher_or_own(file)
    }

    /// The nearest folder above a file in which packages are installed, and what of it the file is in.
    fn installed_in(&mut self, proc: &Proc, tgid: u32, file: &str) -> Option<(String, String)> {
        let cuts: Vec<usize> = file.match_indices('/').map(|(at, _)| at).collect();
        cuts.into_iter().rev().take(MAX_FOLDERS).find_map(|cut| {
            let (folder, rest) = (file.get(..cut)?, file.get(cut + 1..)?);
            if folder.is_empty() || !self.folders.has_packages(proc, tgid, folder) {
                return None;
            }
            let first = rest.split('/').next()?;
            Some((folder.to_owned(), module(first).to_owned()))
        })
    }
}

/// Frames further out than the server's own are what started it.
pub(super) fn mark_launcher(frames: &mut [PythonFrame]) {
    let outermost = frames.iter().rposition(|frame| frame.whose == Whose::Server);
    let outside = outermost.and_then(|at| frames.get_mut(at..)).unwrap_or_default();
    for frame in outside.iter_mut().filter(|frame| frame.whose == Whose::Own) {
        frame.whose = Whose::Launcher;
    }
}

/// A module by the name of its file or folder.
fn module(name: &str) -> &str {
    name.strip_suffix(".py").unwrap_or(name)
}

fn is_server(package: &str) -> bool {
    KINDS.iter().any(|kind| kind.packages().contains(&package))
}

/// Scripts that packages install, and those that only start something else.
fn launcher_or_own(file: &str) -> Whose {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let is_script = !name.contains('.') && (folder.ends_with("/bin") || folder.ends_with("/sbin"));
    if is_script || name == "manage.py" { Whose::Launcher } else { Whose::Own }
}

/// First names of the modules that a command line names: `shop` of `shop.wsgi:app`.
fn named(identity: &Identity) -> Vec<String> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && name.chars().all(|one| one.is_alphanumeric() || one == '_' || one == '.')
    };
    let arguments = identity.command_line.iter().skip(1).map(|argument| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        value.split_once(':').map_or((value, false), |(module, _)| (module, true))
    });
    // Without a colon it may be anything: the last argument of a server is its application.
    let last = identity.command_line.len().saturating_sub(2);
    let named = arguments.enumerate().filter(|(at, (module, has_colon))| {
        is_name(module) && (*has_colon || *at == last && module.contains('.') && !module.ends_with(".py"))
    });
    let first = named.filter_map(|(_, (module, _))| module.split('.').next());
    first.filter(|first| !is_server(first)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
