//! Whose code a file is: the application's, a package's, Python's own, the server's, or what started it.
//!
//! In: paths of files as a process's code objects have them, its command line, what is installed beside them
//! (`*.dist-info`, PyPA: Recording installed projects).
//! Out: [`Whose`]. Files are looked at inside the process's own root; each folder and each package once.

pub(super) mod ask;
mod installed;

use std::sync::Arc;

use profiler_core::fact::place::{OwnBy, OwnCode, PythonFrame, Whose};
use profiler_core::server::{ALSO_CLIENTS, KINDS};
use rustix::fs::OFlags;

use self::installed::{Folders, Listed};
use crate::fact::process::version::open_inside;
use crate::fact::process::{Identity, identity};
use crate::fact::{Proc, mapping, read};

/// Folders above a file that are looked through for packages.
const MAX_FOLDERS: usize = 12;

/// What decides whose code the files of one process are.
#[derive(Debug, Default)]
struct Owners {
    /// Where Python's own library is; `None`: not found.
    standard: Option<String>,
    working_directory: String,
    /// First names of modules that the command line names.
    named: Vec<String>,
    /// What the user names; empty: nothing.
    own: Arc<[Named]>,
}

/// What the user names as own code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// A file, or all in a folder.
    Path(String),
    /// A package or module, by its path in the folder of packages.
    Module(String),
}

impl Named {
    fn of(text: &str) -> Self {
        match text.contains('/') {
            true => Self::Path(text.trim_end_matches('/').to_owned()),
            false => Self::Module(text.replace('.', "/")),
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Path(path) => path.clone(),
            Self::Module(module) => module.replace('/', "."),
        }
    }
}

/// Whose code a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decided {
    whose: Whose,
    /// If it is own code, what that is.
    own: Option<OwnCode>,
}

impl From<Whose> for Decided {
    fn from(whose: Whose) -> Self {
        Self { whose, own: None }
    }
}

fn own(what: impl Into<String>, by: OwnBy) -> Decided {
    Decided { whose: Whose::Own, own: Some(OwnCode { what: what.into(), by }) }
}

impl Owners {
    /// Of a process.
    fn of(proc: &Proc, tgid: u32, own: Arc<[Named]>) -> Self {
        let mapped = mapping::mapped_files(proc, tgid).unwrap_or_default();
        // Python's own extension modules lie in a folder of its library.
        let standard =
            mapped.iter().find_map(|file| Some(file.path.split_once("/lib-dynload/")?.0.to_owned()));
        let identity = identity(proc, tgid).unwrap_or_default();
        Self {
            standard,
            working_directory: read::link(&proc.of(tgid, "cwd")).unwrap_or_default(),
            named: named(&identity),
            own,
        }
    }

    /// A file by its whole path, where a code object has it relative to where the server was started.
    fn whole(&self, proc: &Proc, tgid: u32, file: &str) -> Option<String> {
        if file.starts_with(['/', '<']) || self.working_directory.is_empty() {
            return None;
        }
        let whole = format!("{}/{}", self.working_directory, file.trim_start_matches("./"));
        open_inside(proc, tgid, &whole, OFlags::RDONLY).is_some().then_some(whole)
    }

    /// Whose code a file is, by its whole path.
    fn decide(&self, proc: &Proc, tgid: u32, file: &str, folders: &mut Folders) -> Decided {
        let is_packages = |path: &str| path.contains("/site-packages/") || path.contains("/dist-packages/");
        // `<frozen importlib._bootstrap>`, `<string>`, `__init__`: made while Python runs.
        if file.starts_with('<') || !file.contains(['/', '.']) {
            return Whose::Standard.into();
        }
        // Where its folder really is: Python has the way that led there.
        let real = real(proc, tgid, file, folders);
        let installed = installed_in(proc, tgid, &real, folders);
        let inside = installed.as_ref().map_or_else(
            || real.rsplit_once("-packages/").filter(|_| is_packages(&real)).map_or("", |(_, inside)| inside),
            |(_, inside)| inside,
        );
        if let Some(named) = self.named_by_user(proc, tgid, (file, &real, inside), folders) {
            return own(named, OwnBy::Option);
        }
        if let Some(standard) = &self.standard
            && let Some(rest) = real.strip_prefix(standard.as_str())
            && rest.starts_with('/')
            && !is_packages(rest)
        {
            let first = rest.split('/').nth(1).map(module);
            return if first.is_some_and(is_server) { Whose::Server } else { Whose::Standard }.into();
        }
        let first = inside.split('/').next().map_or("", module);
        if is_server(first) {
            return Whose::Server.into();
        }
        let is_named = self.named.iter().any(|named| named == first);
        let may_be_own = self.own.is_empty();
        match installed.map(|(folder, _)| folders.listed(proc, tgid, &folder, first)) {
            Some(Listed::Local) if may_be_own => own(first, OwnBy::Origin),
            Some(Listed::Package) if is_named && may_be_own => own(first, OwnBy::CommandLine),
            Some(Listed::Local | Listed::Package) => Whose::Package.into(),
            // Packages of a distribution, and copies, have no list.
            Some(Listed::No) if is_packages(&real) && !is_named => Whose::Package.into(),
            None if is_packages(&real) => Whose::Package.into(),
            // Without its extension modules Python's own library is where such files are.
            None if self.standard.is_none() && real.contains("/lib/python3.") => Whose::Standard.into(),
            _ if is_launcher(file) => Whose::Launcher.into(),
            _ if may_be_own => own(self.folder_of(&real), OwnBy::Unlisted),
            _ => Whose::Package.into(),
        }
    }

    /// What the user names that a file is in: by its path as Python has it and as it really is, by the
    /// package that it is in.
    fn named_by_user(
        &self,
        proc: &Proc,
        tgid: u32,
        (file, real, inside): (&str, &str, &str),
        folders: &mut Folders,
    ) -> Option<String> {
        let is_in = |file: &str, path: &str| {
            file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.own.iter().find(|named| match named {
            Named::Path(path) => {
                is_in(file, path)
                    || is_in(real, path)
                    || folders.real(proc, tgid, path).is_some_and(|path| is_in(real, &path))
            }
            Named::Module(path) if !inside.is_empty() => is_in(module(inside), path),
            // Beside no packages a module may begin at any folder.
            Named::Module(path) => {
                let mut cuts = real.match_indices('/').filter_map(|(at, _)| real.get(at + 1..));
                cuts.any(|rest| is_in(module(rest), path))
            }
        });
        found.map(Named::what)
    }

    /// What an own file is said to be in.
    fn folder_of(&self, file: &str) -> String {
        let directory = self.working_directory.as_str();
        let is_inside =
            !directory.is_empty() && file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        match file.rsplit_once('/') {
            _ if is_inside => directory.to_owned(),
            Some((folder, _)) if !folder.is_empty() => folder.to_owned(),
            _ => file.to_owned(),
        }
    }
}

/// A file in the folder in which it really is.
fn real(proc: &Proc, tgid: u32, file: &str, folders: &mut Folders) -> String {
    let parts = file.rsplit_once('/').filter(|(folder, _)| folder.starts_with('/'));
    let real = parts.and_then(|(folder, name)| Some((folders.real(proc, tgid, folder)?, name)));
    real.map_or_else(|| file.to_owned(), |(folder, name)| format!("{folder}/{name}"))
}

/// The nearest folder above a file in which packages are installed, and the way from there to the file.
fn installed_in<'a>(
    proc: &Proc,
    tgid: u32,
    file: &'a str,
    folders: &mut Folders,
) -> Option<(String, &'a str)> {
    let cuts: Vec<usize> = file.match_indices('/').map(|(at, _)| at).collect();
    cuts.into_iter().rev().take(MAX_FOLDERS).find_map(|cut| {
        let (folder, inside) = (file.get(..cut)?, file.get(cut + 1..)?);
        let has_some = !folder.is_empty() && folders.has_packages(proc, tgid, folder);
        has_some.then(|| (folder.to_owned(), inside))
    })
}

/// Frames further out than the server's own are what started it. `is_cut`: what is outermost is not known.
pub(super) fn mark_launcher(frames: &mut [PythonFrame], is_cut: bool) {
    let Some(at) = frames.iter().rposition(|frame| frame.whose == Whose::Server) else { return };
    // A script starts a server; where none does, what looks like one may be a client's library that a view
    // has called.
    let script = frames.iter().rfind(|frame| frame.whose != Whose::Standard);
    let is_started = !is_cut && script.is_some_and(|frame| frame.function == "<module>");
    let is_certain = is_started || frames.get(at).is_some_and(|frame| !may_be_client(&frame.file));
    let outside = frames.get_mut(at..).unwrap_or_default();
    if is_certain {
        for frame in outside.iter_mut().filter(|frame| frame.whose == Whose::Own) {
            frame.whose = Whose::Launcher;
        }
    } else if outside.iter().any(|frame| frame.whose == Whose::Own) {
        for frame in
            frames.iter_mut().filter(|frame| frame.whose == Whose::Server && may_be_client(&frame.file))
        {
            frame.whose = Whose::Package;
        }
    }
}

/// Whether a server's file is of a package that is a client's library too.
fn may_be_client(file: &str) -> bool {
    file.split('/').any(|part| ALSO_CLIENTS.contains(&part))
}

/// A module by the name of its file or folder.
fn module(name: &str) -> &str {
    name.strip_suffix(".py").unwrap_or(name)
}

fn is_server(package: &str) -> bool {
    KINDS.iter().any(|kind| kind.packages().contains(&package))
}

/// Scripts that packages install, and those that only start something else.
fn is_launcher(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let is_script = !name.contains('.') && (folder.ends_with("/bin") || folder.ends_with("/sbin"));
    is_script || name == "manage.py"
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
