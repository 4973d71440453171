//! A place in Python: the frames of a thread, by name, and whose code each of them is.
//!
//! In: nothing (`fact::python` of `profiler` reads them). Out: [`PlaceSeen`]. Whose code it is was decided
//! where the files are, so that a replay says the same. Every name in it is hostile input.

use serde::{Deserialize, Serialize};

closed_list! {
    /// Whose code a frame runs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[repr(u8)]
    pub enum Whose {
        Own = "own": "The application's own.",
        Package = "package": "An installed package's.",
        Standard = "standard": "Python's own library's.",
        Server = "server": "The server's.",
        Launcher = "launcher": "What started the server.",
        Unknown = "unknown": "Not known: where it lies could not be looked at in time.",
    }
}

closed_list! {
    /// What decided that code is the application's own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[repr(u8)]
    pub enum OwnBy {
        Option = "option": "`--own` names it.",
        CommandLine = "command_line": "The server's command line names it.",
        Origin = "origin": "It was installed from a folder or a repository (`direct_url.json`).",
        Unlisted = "unlisted": "No installed package lists it.",
    }
}

/// Code that is the application's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnCode {
    /// The package, or the path of a folder or file. Hostile input.
    pub what: String,
    /// What decided it.
    pub by: OwnBy,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PythonFrame {
    /// The file, as the code object has it; joined with the working directory where it was relative.
    pub file: String,
    /// Qualified name of the function; before 3.11 its name.
    pub function: String,
    /// Line in the file; 0: the instruction is of no line.
    pub line: u32,
    /// Whose code it is.
    pub whose: Whose,
}

/// Frames of a thread, seen for the first time; or once more by the same number, when it is known whose code
/// they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlaceSeen {
    /// Its number in this stream, by which looks name it.
    pub number: u32,
    /// The innermost frame first.
    pub frames: Vec<PythonFrame>,
    /// There were more frames, or one could not be read: the outermost are missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

impl PlaceSeen {
    /// Whether it is known whose code each frame is.
    pub fn is_owned(&self) -> bool {
        self.frames.iter().all(|frame| frame.whose != Whose::Unknown)
    }

    /// The application's own frames, as many as a person reads, the outermost first: what is nearest to the
    /// wait stays, wrappers go first.
    pub fn own(&self) -> Vec<&PythonFrame> {
        const SHOWN: usize = 3;
        let mut own: Vec<&PythonFrame> =
            self.frames.iter().filter(|frame| frame.whose == Whose::Own).collect();
        while own.len() > SHOWN {
            let inner = own.split_first().map_or(&[][..], |(_, outer)| outer);
            let wrapper = inner.iter().rposition(|frame| frame.function.contains("<locals>"));
            own.remove(wrapper.map_or(own.len() - 1, |at| at + 1));
        }
        own.reverse();
        own
    }

    /// Whether the server has called the application, and that has not returned. A server without Python code
    /// of its own calls it, or its framework, as the outermost function; there a thread has one of Python's
    /// library, a program its module.
    pub fn is_in_application(&self) -> bool {
        let Some(innermost) = self.frames.iter().position(|frame| frame.whose == Whose::Own) else {
            return false;
        };
        let mut outer = self.frames.iter().skip(innermost);
        let is_called = self.frames.last().is_some_and(|last| {
            matches!(last.whose, Whose::Own | Whose::Package) && last.function != "<module>" && !self.is_cut
        });
        is_called || outer.any(|frame| frame.whose == Whose::Server)
    }

    /// The same, and not to load it: what the server called first there is no module.
    pub fn is_in_request(&self) -> bool {
        let innermost = self.frames.iter().position(|frame| frame.whose == Whose::Own).unwrap_or(0);
        let mut inside = self.frames.iter().enumerate().skip(innermost);
        let server = inside.find(|(_, frame)| frame.whose == Whose::Server);
        let inside = self.frames.iter().take(server.map_or(0, |(server, _)| server)).rev();
        let called = inside.into_iter().find(|frame| frame.whose != Whose::Standard);
        self.is_in_application() && called.is_none_or(|frame| frame.function != "<module>")
    }
}

/// A file's name with the folder that it is in: enough to find it, short enough to read.
pub fn short_file(file: &str) -> &str {
    let mut cuts = file.rmatch_indices('/').map(|(at, _)| at + 1);
    let _name = cuts.next();
    cuts.next().and_then(|at| file.get(at..)).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(functions: &[(&str, Whose)]) -> PlaceSeen {
        let frame = |(function, whose): &(&str, Whose)| PythonFrame {
            file: "/srv/a.py".to_owned(),
            function: (*function).to_owned(),
            line: 1,
            whose: *whose,
        };
        PlaceSeen { frames: functions.iter().map(frame).collect(), ..PlaceSeen::default() }
    }

    fn shown(place: &PlaceSeen) -> Vec<&str> {
        place.own().iter().map(|frame| frame.function.as_str()).collect()
    }

    #[test]
    fn the_frames_nearest_to_the_wait_are_shown_and_wrappers_go_first() {
        use Whose::{Own, Package, Server, Standard};
        let few = [("recv", Standard), ("query", Own), ("run", Package), ("view", Own), ("handle", Server)];
        assert_eq!(shown(&place(&few)), ["view", "query"]);
        let many = [
            ("query", Own),
            ("retry.<locals>.again", Own),
            ("load", Own),
            ("view", Own),
            ("middleware", Own),
        ];
        assert_eq!(shown(&place(&many)), ["view", "load", "query"]);
        let inside = [("f.<locals>.leaf", Own), ("b", Own), ("c", Own), ("d", Own)];
        assert_eq!(shown(&place(&inside)), ["c", "b", "f.<locals>.leaf"], "what waits stays");
        assert!(shown(&place(&[("wait", Standard), ("serve", Server)])).is_empty());
    }

    #[test]
    fn who_is_called_by_the_server_is_in_the_application() {
        use Whose::{Own, Package, Server, Standard};
        let is = |functions: &[(&str, Whose)]| place(functions).is_in_application();
        assert!(is(&[("wait", Standard), ("get", Package), ("view", Own), ("handle", Server)]));
        assert!(is(&[("view", Own), ("app", Own)]), "called by C code");
        assert!(is(&[("view", Own), ("__call__", Package)]), "its framework was");
        let waits = [("wait", Standard), ("take", Server), ("run", Server), ("_bootstrap", Standard)];
        assert!(
            !is(&waits) && !is(&[("select", Standard), ("serve", Server), ("main", Own), ("<module>", Own)])
        );
        assert!(!is(&[("get", Standard), ("consume", Own), ("_bootstrap", Standard)]), "a thread of its own");
        assert!(!is(&[]) && !is(&[("sleep", Standard), ("<module>", Own)]));
        assert!(
            !PlaceSeen { is_cut: true, ..place(&[("get", Standard), ("consume", Own)]) }.is_in_application()
        );
    }

    #[test]
    fn an_application_that_is_loaded_is_in_no_request() {
        use Whose::{Own, Package, Server, Standard};
        let is = |functions: &[(&str, Whose)]| place(functions).is_in_request();
        let load = [("connect", Own), ("<module>", Own), ("import_module", Standard), ("load", Server)];
        assert!(!is(&load) && place(&load).is_in_application());
        // A framework loads what it needs for its first request.
        let first =
            [("<module>", Own), ("import_module", Standard), ("__call__", Package), ("handle", Server)];
        assert!(is(&first));
        assert!(is(&[("view", Own), ("handle", Server), ("run", Server), ("<module>", Own)]), "in a script");
        assert!(is(&[("view", Own), ("app", Own)]) && !is(&[("get", Standard), ("worker", Server)]));
    }
}
