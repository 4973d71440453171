//! Servers that a program of one's own starts: `python app.py`, which calls `waitress.serve`.
//!
//! In: the functions in which the threads of a process stand, read by whoever can; facts. Out: [`ServedBy`];
//! settings by the keywords that such a program has for them. A package that is imported and does not serve
//! has no thread in these functions.

use super::advice::{Scope, Setting};
use super::setting::setting;
use super::{KINDS, Recognised, ServerKind, topmost, unknown};
use crate::fact::{ListenerSeen, ProcessSeen, ServedBy};
use crate::model::{Origin, Server};

/// A function: the end of its file's path, which begins with the server's package, and its name.
pub type Function = (&'static str, &'static str);

/// A function in which a thread stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stood {
    /// Its file.
    pub file: String,
    /// Its name; from 3.11 on with its class before it.
    pub function: String,
    /// Classes of its first argument, where [`wants_classes`] asks for them.
    pub classes: Vec<String>,
}

/// How a server shows where a program of one's own starts it.
#[derive(Debug)]
pub struct InProgram {
    /// A thread is in one of these as long as it serves.
    pub serves: &'static [Function],
    /// In that function the first argument is of this class, and the main thread is in it: others use it too.
    pub class: Option<&'static str>,
    /// Each thread of its pool is in one of these.
    pub pool: &'static [Function],
    /// Name of the Python distribution whose version is the server's.
    pub distribution: Option<&'static str>,
    /// The keyword for how many connections may wait to be accepted.
    pub backlog: Option<&'static str>,
}

/// The setting that says who has started the server.
const STARTED_BY: &str = "started_by";

/// The server that threads run which stand in these functions, the innermost first, each with its file.
/// `is_whole`: all threads of the process are there.
pub fn told(stacks: &[Vec<Stood>], is_whole: bool) -> Option<ServedBy> {
    let (kind, shown) = KINDS.iter().find_map(|kind| {
        let shown = kind.in_program()?;
        stacks.iter().any(|stack| outermost(stack) == Some(kind.name())).then_some((kind, shown))
    })?;
    let in_pool = stacks.iter().filter(|stack| stack.iter().any(|frame| is_one_of(shown.pool, frame)));
    let threads = u32::try_from(in_pool.count()).ok().filter(|threads| is_whole && *threads > 0);
    Some(ServedBy { server: kind.name().to_owned(), threads })
}

/// The server whose function is the outermost: `CherryPy` runs cheroot.
fn outermost(stack: &[Stood]) -> Option<&'static str> {
    let is_main = !stack.iter().any(|frame| frame.file.ends_with("/threading.py"));
    let of_frame = |frame: &Stood| {
        let shows = |kind: &&&dyn ServerKind| {
            kind.in_program().is_some_and(|shown| {
                let is_class = |class| is_main && frame.classes.iter().any(|one| one == class);
                is_one_of(shown.serves, frame) && shown.class.is_none_or(is_class)
            })
        };
        KINDS.iter().find(shows).map(|kind| kind.name())
    };
    stack.iter().rev().find_map(of_frame)
}

/// Whether the classes of the first argument of this function say which server it is.
pub fn wants_classes(file: &str, function: &str) -> bool {
    let frame = Stood { file: file.to_owned(), function: function.to_owned(), classes: Vec::new() };
    let shown = KINDS.iter().filter_map(|kind| kind.in_program());
    shown.filter(|shown| shown.class.is_some()).any(|shown| is_one_of(shown.serves, &frame))
}

fn is_one_of(functions: &[Function], Stood { file, function, .. }: &Stood) -> bool {
    // From 3.11 on a method's name has its class before it.
    let name = function.rsplit('.').next().unwrap_or_default();
    let is_in = |end: &str| file.strip_suffix(end).is_some_and(|folder| folder.ends_with('/'));
    functions.iter().any(|(end, wanted)| *wanted == name && is_in(end))
}

/// The distribution whose version is that of a server of this name in a program.
pub fn distribution(server: &str) -> Option<&'static str> {
    super::kind_named(server).in_program()?.distribution
}

/// Whether a process is one that a program of one's own has made a server of this kind.
pub(super) fn is_run_by(process: &ProcessSeen, kind: &dyn ServerKind) -> bool {
    process.served_by.as_ref().is_some_and(|served| served.server == kind.name())
}

/// The server of this kind that a program of one's own has started, if one has.
pub(super) fn recognise(
    kind: &'static dyn ServerKind,
    worker_class: &str,
    processes: &[ProcessSeen],
    listeners: &[ListenerSeen],
) -> Option<Recognised> {
    let process = topmost(processes, |process| is_run_by(process, kind))?;
    let mut settings = vec![setting(STARTED_BY, "program".to_owned(), Origin::Inferred)];
    let threads = process.served_by.as_ref().and_then(|served| served.threads);
    settings.extend(threads.map(|threads| setting("threads", threads.to_string(), Origin::Inferred)));
    settings.extend(unknown::bind_setting(listeners));
    let server = Server {
        name: kind.name().to_owned(),
        version: process.server_version.clone(),
        worker_class: worker_class.to_owned(),
        python_version: process.python_version.clone(),
        settings,
    };
    Some(Recognised { kind, server, roles: kind.roles(processes) })
}

/// Whether a program of one's own has started it.
pub(super) fn has_started(server: &Server) -> bool {
    server.settings.iter().any(|one| one.name == STARTED_BY)
}

/// An option of the command line, or, where a program of one's own has started the server, its keyword.
pub(super) fn option(server: &Server, option: &str, keyword: &str, setting: &str) -> Setting {
    if has_started(server) {
        return Setting::of(server, keyword, setting).at(Scope::Program);
    }
    Setting::of(server, option, setting)
}

#[cfg(test)]
mod tests;
