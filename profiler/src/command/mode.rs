//! Which mode suits a server: light, or full.
//!
//! In: a recognised server, or its processes, and what this kernel has. Out: a [`Mode`], which `doctor` and
//! `list` say, and `serve` chooses.

use std::path::Path;

use profiler_core::fact::ListenerSeen;
use profiler_core::model::Server;
use profiler_core::server::{Inside, Role, ServerKind, recognise};

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
    /// The mode for a server of this kind on a kernel that has light mode or has not; `None`: its worker
    /// class is not known.
    pub(super) fn of(kind: &dyn ServerKind, server: &Server, has_light: bool) -> Option<Self> {
        let mode = match (kind.has_thread_per_request(server), has_light) {
            (true, true) => Self::Light,
            (true, false) => Self::LightLacked,
            (false, _) => Self::Full,
        };
        (server.worker_class != "unknown").then_some(mode)
    }

    /// What `serve` does where this mode was asked for (`None`: none), and what it says as it begins. `lack`:
    /// what light mode would lack here.
    pub(super) const fn of_serve(asked: Option<Self>, lack: Option<Lack>) -> (Self, &'static str) {
        match (asked, lack) {
            (Some(Self::Light), Some(Lack::Loop)) => (
                Self::Light,
                "light mode, though an event loop serves many requests at once here: it shows little of what they wait for; --full shows it",
            ),
            (Some(Self::Light), _) | (None, None) => {
                (Self::Light, "light mode; POST /full?seconds=60 traces in full for a minute")
            }
            (Some(Self::Full | Self::LightLacked), None) => (
                Self::Full,
                "everything is traced; without --full light mode costs this server less, and traces in full for a while on request",
            ),
            (Some(Self::Full | Self::LightLacked), Some(_)) => (Self::Full, "everything is traced"),
            (None, Some(lack)) => (Self::Full, lack.sentence()),
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

/// Whether light mode may be advised on the running kernel.
pub(super) fn running_kernel_has_light() -> bool {
    has_light(&Capabilities::probe(KernelBtf::load(Path::new(KERNEL_BTF)).ok().as_ref()))
}

/// What light mode would lack of a server that is watched for long: an alert that pages would be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// An event loop serves many requests at once.
    Loop,
    /// How the server works is not known.
    Unknown,
    /// One thread reads a request and another answers it.
    PassedOn,
    /// Two processes serve one request.
    Halves,
    /// The server listens on a UNIX socket.
    UnixSocket,
    /// The kernel has no light mode.
    Kernel,
}

impl Lack {
    /// What light mode would lack of the server that runs as these processes, alone or (`with_front_end`)
    /// behind one that is traced with it.
    pub(super) fn of_tree(tree: &Tree, with_front_end: bool) -> Option<Self> {
        let facts = server_facts(&Proc::default(), &tree.tgids);
        let recognised = recognise(&facts.processes, &facts.listeners);
        let server = recognised.kind.refine(&recognised.server, &facts.observed(&recognised.roles));
        if with_front_end || recognised.roles.iter().any(|(_, role)| *role == Role::FrontEnd) {
            return Some(Self::Halves);
        }
        let takes_unix = || takes_unix(&facts.listeners, &recognised.roles).then_some(Self::UnixSocket);
        Self::of(recognised.kind, &server)
            .or_else(takes_unix)
            // The kernel's types are read for it: last.
            .or_else(|| (!running_kernel_has_light()).then_some(Self::Kernel))
    }

    /// What it would lack of a server of this kind.
    fn of(kind: &dyn ServerKind, server: &Server) -> Option<Self> {
        match Mode::of(kind, server, true).filter(|_| server.name != "unknown") {
            None | Some(Mode::LightLacked) => Some(Self::Unknown),
            Some(Mode::Full) => Some(Self::Loop),
            Some(Mode::Light) if kind.inside(server) == Inside::PrivateOverUnix => Some(Self::Halves),
            Some(Mode::Light) => kind.passes_requests_on().then_some(Self::PassedOn),
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Loop => {
                "everything is traced: an event loop serves many requests at once here, and light mode shows little of what they wait for"
            }
            Self::Unknown => {
                "everything is traced: it is not known how this server works, and light mode takes a thread for each request"
            }
            Self::PassedOn => {
                "everything is traced: threads of this server pass requests on, and light mode does not see then how busy they are"
            }
            Self::Halves => {
                "everything is traced: two processes serve each request here, and light mode does not see that"
            }
            Self::UnixSocket => {
                "everything is traced: light mode does not see how connections over UNIX sockets end"
            }
            Self::Kernel => {
                "everything is traced: this kernel lacks hooks of light mode, and `wsgi-trace doctor` names them"
            }
        }
    }
}

/// Whether requests come over a UNIX socket. What no worker holds is not for them, as the control socket of
/// gunicorn 27.
fn takes_unix(listeners: &[ListenerSeen], roles: &[(u32, Role)]) -> bool {
    let works = |tgid: u32| roles.contains(&(tgid, Role::Worker));
    let has_workers = roles.iter().any(|(_, role)| *role == Role::Worker);
    listeners.iter().any(|seen| seen.family == "unix" && (!has_workers || works(seen.tgid)))
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
            let is_whole = Lack::of(recognised.kind, &recognised.server).is_none();
            // Waitress has threads, and passes requests on.
            assert_eq!(is_whole, expected == Some(Mode::Light) && !line.contains("waitress"), "{line}");
        }
    }

    #[test]
    fn a_unix_socket_that_only_the_master_holds_is_none_of_requests() {
        let seen = |tgid| ListenerSeen { tgid, family: "unix".to_owned(), ..ListenerSeen::default() };
        let (master, worker) = ((1, Role::Master), (2, Role::Worker));
        for (holders, roles, expected) in [
            (&[1][..], &[master, worker][..], false),
            (&[1, 2], &[master, worker], true),
            (&[1], &[(1, Role::Unknown)], true),
            (&[], &[master, worker], false),
        ] {
            let listeners: Vec<_> = holders.iter().copied().map(seen).collect();
            assert_eq!(takes_unix(&listeners, roles), expected, "{holders:?} {roles:?}");
        }
    }

    #[test]
    fn serve_is_light_unless_that_would_lack_something_or_another_mode_is_asked_for() {
        const LACKS: [Lack; 6] =
            [Lack::Loop, Lack::Unknown, Lack::PassedOn, Lack::Halves, Lack::UnixSocket, Lack::Kernel];
        assert_eq!(Mode::of_serve(None, None).0, Mode::Light);
        let mut said: Vec<&str> = Vec::new();
        for lack in LACKS {
            let (mode, sentence) = Mode::of_serve(None, Some(lack));
            assert!(mode == Mode::Full && sentence.contains("light mode"), "{sentence}");
            said.push(sentence);
        }
        said.dedup();
        assert_eq!(said.len(), LACKS.len(), "each has a sentence of its own");
        for lack in LACKS.map(Some).into_iter().chain([None]) {
            for asked in [Mode::Light, Mode::Full] {
                assert_eq!(Mode::of_serve(Some(asked), lack).0, asked, "{lack:?}");
            }
        }
    }

    fn recognised(line: &str) -> Recognised {
        let command_line = ["python3"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let process = ProcessSeen { tgid: 1, comm: "python3".into(), command_line, ..ProcessSeen::default() };
        recognise(&[process], &[])
    }

    /// Each thing that programs of light mode hook is taken away: what is refused is not advised, and what is
    /// not refused is.
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
            let lack = (!has).then_some(Lack::Kernel);
            let (_, sentence) = Mode::of_serve(Some(Mode::Full), lack);
            assert_eq!(sentence.contains("light mode costs"), is_advised, "{name}");
            assert_eq!(Mode::of(event_loop.kind, &event_loop.server, has), Some(Mode::Full), "{name}");
            if has { taken.0 += 1 } else { taken.1 += 1 }
        }
        assert!(taken.0 > 0 && taken.1 >= 4, "{taken:?}");
        // A kernel that does not say what it has.
        assert!(has_light(&Capabilities::default()));
    }
}
