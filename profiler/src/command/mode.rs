//! Which mode suits a server: light, or full.
//!
//! In: a recognised server, what this kernel has. Out: a [`Mode`], which `doctor`, `list` and `serve` say.

use std::path::Path;

use profiler_core::model::Server;
use profiler_core::server::{ServerKind, recognise};

use crate::attach::AttachError;
use crate::attach::plan::{Load, Settings, plan};
use crate::capability::kernel_btf::KernelBtf;
use crate::capability::{Capabilities, KERNEL_BTF};
use crate::fact::{Proc, Tree, server_facts};
use crate::hook::Hooks;

/// How a server is best watched for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `--light`: each request has a thread of its own.
    Light,
    /// `--light` would suit, and this kernel lacks what it needs.
    LightLacked,
    /// Without it: an event loop serves many at once.
    Full,
}

impl Mode {
    /// The mode for a server of this kind on a kernel that has light mode or has not; `None`: its worker class is not known.
    pub(super) fn of(kind: &dyn ServerKind, server: &Server, has_light: bool) -> Option<Self> {
        let mode = match (kind.has_thread_per_request(server), has_light) {
            (true, true) => Self::Light,
            (true, false) => Self::LightLacked,
            (false, _) => Self::Full,
        };
        (server.worker_class != "unknown").then_some(mode)
    }

    /// The mode for the server that runs as these processes; `None`: it is not known well enough.
    pub(super) fn of_tree(tree: &Tree) -> Option<Self> {
        let facts = server_facts(&Proc::default(), &tree.tgids);
        let recognised = recognise(&facts.processes, &facts.listeners);
        let server = recognised.kind.refine(&recognised.server, &facts.observed(&recognised.roles));
        Self::of(recognised.kind, &server, running_kernel_has_light()).filter(|_| server.name != "unknown")
    }

    /// What `serve` says as it begins in light mode or in full, where this mode suits the server.
    pub(super) const fn of_serve(suits: Option<Self>, is_light: bool) -> &'static str {
        match (is_light, suits) {
            (true, Some(Self::Full)) => {
                "light mode, though an event loop serves many requests at once here: it shows little of what they wait for; --full shows it"
            }
            (true, _) => "light mode; POST /full?seconds=60 traces in full for a minute",
            (false, Some(Self::Light)) => {
                "everything is traced; --light costs this server less, and traces in full for a while on request"
            }
            (false, _) => "everything is traced",
        }
    }

    /// In one word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::LightLacked | Self::Full => "full",
        }
    }

    /// What to do, and why.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Light => {
                "leave `--light` on: it sees each request and what its thread waits for; trace without it for causes that only system calls show"
            }
            Self::LightLacked => {
                "trace without `--light`, for as long as a question needs: light mode would suit this server, but this kernel lacks hooks for it"
            }
            Self::Full => {
                "trace without `--light`: which of several requests a loop works for only system calls show"
            }
        }
    }
}

/// Why this kernel cannot have light mode, whatever this process may; `None`: it can.
pub(super) fn no_light(capabilities: &Capabilities) -> Option<AttachError> {
    let light = Settings { hooks: Hooks::Light, ..Settings::default() };
    plan(&capabilities.as_of_root(), &light, Load::default()).err()
}

/// Whether light mode may be advised. Where the kernel does not say what it has, nothing speaks against it.
pub(super) fn has_light(capabilities: &Capabilities) -> bool {
    !capabilities.has_btf || no_light(capabilities).is_none()
}

/// The same of the running kernel.
pub(super) fn running_kernel_has_light() -> bool {
    has_light(&Capabilities::probe(KernelBtf::load(Path::new(KERNEL_BTF)).ok().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::table::{AttachPoint, PROGRAMS};
    use profiler_core::fact::ProcessSeen;
    use profiler_core::server::Recognised;

    #[test]
    fn threads_are_watched_light_and_event_loops_in_full() {
        for (line, expected) in [
            ("/usr/bin/gunicorn --threads 4 app:app", Some(Mode::Light)),
            ("/usr/bin/gunicorn -k sync app:app", Some(Mode::Light)),
            // A configuration file may name another class.
            ("/usr/bin/gunicorn app:app", None),
            ("/usr/bin/gunicorn -k gevent app:app", Some(Mode::Full)),
            ("/usr/bin/uwsgi --http :8000 --wsgi-file app.py", Some(Mode::Light)),
            ("/usr/bin/waitress-serve app:app", Some(Mode::Light)),
            ("/usr/bin/uwsgi --http :8000 --gevent 100", Some(Mode::Full)),
            ("/usr/bin/uvicorn app:app", Some(Mode::Full)),
        ] {
            let recognised = recognised(line);
            assert_ne!(recognised.server.name, "unknown", "{line}");
            assert_eq!(Mode::of(recognised.kind, &recognised.server, true), expected, "{line}");
        }
    }

    fn recognised(line: &str) -> Recognised {
        let command_line = ["python3"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let process = ProcessSeen { tgid: 1, comm: "python3".into(), command_line, ..ProcessSeen::default() };
        recognise(&[process], &[])
    }

    /// Each thing that programs of light mode hook is taken away: what is refused is not advised, and what is not refused is.
    #[test]
    fn light_mode_is_advised_exactly_where_the_kernel_has_what_it_needs() {
        let kernel = |lacks: &str| {
            let mut capabilities =
                Capabilities { kernel_release: "6.1.0-test".to_owned(), ..Default::default() };
            capabilities.look_up(|name| name != lacks);
            capabilities
        };
        let (threads, event_loop) =
            (recognised("/usr/bin/gunicorn --threads 4 app:app"), recognised("/usr/bin/uvicorn app:app"));
        let mut taken = (0, 0);
        for program in PROGRAMS.iter().filter(|program| program.form.goes_with(Hooks::Light)) {
            let AttachPoint::Tracepoint(name) = program.place else { continue };
            let capabilities = kernel(&format!("btf_trace_{name}"));
            let has = has_light(&capabilities);
            assert_eq!(has, !program.required, "{name}");
            let mode = Mode::of(threads.kind, &threads.server, has).unwrap();
            let is_advised = mode.advice().contains("leave `--light` on");
            assert_eq!(
                (is_advised, mode.name()),
                if has { (true, "light") } else { (false, "full") },
                "{name}"
            );
            assert_eq!(no_light(&capabilities).is_none(), is_advised, "{name}");
            // Nor does `serve` name it as what would cost less.
            assert_eq!(Mode::of_serve(Some(mode), false).contains("--light costs"), is_advised, "{name}");
            assert_eq!(Mode::of(event_loop.kind, &event_loop.server, has), Some(Mode::Full), "{name}");
            if has { taken.0 += 1 } else { taken.1 += 1 }
        }
        assert!(taken.0 > 0 && taken.1 >= 4, "{taken:?}");
        // A kernel that does not say what it has.
        assert!(has_light(&Capabilities::default()));
    }
}
