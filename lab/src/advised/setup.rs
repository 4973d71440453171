//! A server as it is set up for a trial, and the same with settings changed.
//!
//! In: settings that advice changes, as the JSON report has them. Out: another setup, or why the change
//! cannot be made by a program.

use serde::{Deserialize, Serialize};

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::Recipe;
use wsgi_trace_test_support::server::cheroot::Cheroot;
use wsgi_trace_test_support::server::few_files::FewFiles;
use wsgi_trace_test_support::server::further::Further;
use wsgi_trace_test_support::server::gevent::GunicornGevent;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::uvicorn::{Application, Uvicorn};
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

/// One entry of `settings` of a finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which of the things that the advice says to do it belongs to; 1: the first.
    pub alternative: usize,
    /// Its name.
    pub option: String,
    /// Where it is set.
    pub scope: String,
    /// How the same is set in another way.
    #[serde(default)]
    pub also: Option<String>,
    /// `raise`, `lower`, `set` or `remove`.
    pub direction: String,
    /// Its value now.
    pub present: Option<String>,
    /// What to set it to.
    pub proposed: Option<String>,
    /// What it is not to go beyond.
    pub limit: Option<String>,
    /// The greatest value that makes sense.
    pub at_most: Option<u64>,
    /// For which case it is said.
    pub when: Option<String>,
    /// What else is to be done.
    pub needs: Vec<String>,
    /// What it may make worse.
    #[serde(default)]
    pub caveat: Option<String>,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its newest version.
    Gunicorn,
    /// Its version 23: it treats idle connections in another way.
    Gunicorn23,
    /// With `--http-socket`.
    Uwsgi,
    /// In daemon mode.
    ModWsgi,
    /// Alone.
    Waitress,
    /// Alone.
    Cheroot,
    /// With an ASGI application.
    Uvicorn,
}

impl Kind {
    const fn version(self) -> Version {
        match self {
            Self::Gunicorn23 => Version::V23,
            _ => Version::V27,
        }
    }

    /// The option that makes this change on the command line, if any of this server's can be given here.
    fn flag_of(self, change: &Change) -> Option<&str> {
        let express = || change.also.as_deref()?.strip_prefix("mod_wsgi-express: ");
        match self {
            Self::Gunicorn | Self::Gunicorn23 | Self::Uwsgi | Self::Waitress => {
                (change.scope == "command_line").then_some(change.option.as_str())
            }
            Self::ModWsgi => express().filter(|flag| flag.starts_with("--") && !flag.contains(' ')),
            Self::Uvicorn => (change.option == UVLOOP.0).then_some(UVLOOP.0),
            Self::Cheroot => None,
        }
    }
}

/// Limits of the service, which the server is started under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU quota of its own cgroup, in hundredths of a core.
    pub cpu_hundredths: Option<u32>,
    /// Open files of each process.
    pub open_files: Option<u32>,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self { cpu_hundredths: None, open_files: None };
}

/// uvicorn's option for another event loop, and the one that is installed.
const UVLOOP: (&str, &str) = ("--loop", "uvloop");

/// How it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    kind: Kind,
    /// gunicorn's kind of worker.
    class: &'static str,
    processes: u32,
    threads: u32,
    flags: Vec<String>,
    limits: Limits,
}

/// Kinds of gunicorn's workers that advice may name and that are installed.
const CLASSES: [&str; 3] = ["sync", "gthread", "gevent"];

impl Setup {
    /// A server of so many processes and threads, without further options.
    pub const fn new(kind: Kind, class: &'static str, processes: u32, threads: u32) -> Self {
        Self { kind, class, processes, threads, flags: Vec::new(), limits: Limits::NONE }
    }

    /// This server with further options, under limits.
    pub fn under(mut self, flags: &[&str], limits: Limits) -> Self {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.limits = limits;
        self
    }

    /// Its processes, and the threads of each.
    pub const fn sizes(&self) -> (u32, u32) {
        (self.processes, self.threads)
    }

    /// How it is started.
    pub fn recipe(&self) -> Box<dyn Recipe> {
        let recipe = self.unlimited();
        match self.limits.open_files {
            None => recipe,
            Some(limit) => Box::new(FewFiles { server: Box::leak(recipe), limit: u64::from(limit) }),
        }
    }

    fn unlimited(&self) -> Box<dyn Recipe> {
        let version = self.kind.version();
        let (processes, threads, flags) = (self.processes as usize, self.threads as usize, self.flags());
        match self.kind {
            Kind::Gunicorn | Kind::Gunicorn23 if self.class == "gthread" => {
                Box::new(Settings::gthread(version, processes, threads).with(flags))
            }
            Kind::Gunicorn | Kind::Gunicorn23 if self.class == "gevent" => {
                Box::new(GunicornGevent { workers: processes })
            }
            Kind::Gunicorn | Kind::Gunicorn23 => Box::new(Settings::sync(version, processes).with(flags)),
            Kind::Uwsgi => Box::new(Uwsgi::new(self.processes, self.threads).with(flags)),
            Kind::ModWsgi => Box::new(ModWsgi::daemon(self.processes, self.threads).with(flags)),
            Kind::Waitress => {
                Box::new(Further { server: Waitress { threads: self.threads }, arguments: flags })
            }
            Kind::Cheroot => Box::new(Cheroot { threads: self.threads }),
            Kind::Uvicorn => {
                let on_uvloop = flags.iter().any(|flag| flag.split_once('=') == Some(UVLOOP));
                let application = if on_uvloop { Application::AsgiOnUvloop } else { Application::Asgi };
                Box::new(Uvicorn { application, workers: processes })
            }
        }
    }

    /// Its options, as recipes take them: for as long as the program runs.
    fn flags(&self) -> &'static [&'static str] {
        let flags: Vec<&'static str> =
            self.flags.iter().map(|flag| &*Box::leak(flag.clone().into_boxed_str())).collect();
        Vec::leak(flags)
    }

    /// Whether it closes a connection after each response.
    pub fn closes(&self) -> bool {
        self.recipe().clients().keep_alive == "1"
    }

    /// Its CPU quota, in cores.
    pub fn quota_cores(&self) -> Option<f64> {
        self.limits.cpu_hundredths.map(|hundredths| f64::from(hundredths) / 100.0)
    }

    /// In tables.
    pub fn title(&self) -> String {
        let Self { kind, class, processes, threads, flags, limits } = self;
        let gunicorn = if *kind == Kind::Gunicorn23 { "gunicorn 23" } else { "gunicorn" };
        let mut title = match kind {
            Kind::Gunicorn | Kind::Gunicorn23 if *class == "gthread" => {
                format!("{gunicorn} gthread, {processes} × {threads}")
            }
            Kind::Gunicorn | Kind::Gunicorn23 => format!("{gunicorn} {class}, {processes} workers"),
            Kind::Uwsgi => format!("uWSGI, {processes} × {threads}"),
            Kind::ModWsgi => format!("mod_wsgi daemon, {processes} × {threads}"),
            Kind::Waitress => format!("Waitress, {threads} threads"),
            Kind::Cheroot => format!("cheroot, {threads} threads"),
            Kind::Uvicorn => format!("uvicorn, {processes} workers"),
        };
        for flag in flags {
            title.push(' ');
            title.push_str(flag);
        }
        if let Some(cores) = self.quota_cores() {
            title.push_str(&format!(", a quota of {cores} cores"));
        }
        if let Some(files) = limits.open_files {
            title.push_str(&format!(", {files} open files"));
        }
        title
    }

    /// This server with these changes, which belong together.
    ///
    /// # Errors
    ///
    /// Why a program cannot make them.
    pub fn with(&self, changes: &[Change], cores: u32) -> Result<Self, String> {
        if changes.is_empty() {
            return Err("its advice names no setting of the server".to_owned());
        }
        let mut new = self.clone();
        let mut why = "it changes nothing here".to_owned();
        for change in changes {
            // Every trial starts its server again.
            if let Some(other) = change.needs.iter().find(|other| !other.starts_with("restart ")) {
                return Err(format!("it needs more than a setting ({other})"));
            }
            // One that is at its limit keeps the others from nothing: with as many workers as cores, threads
            // can still be fewer.
            if let Some(at_limit) = new.apply(change, cores)? {
                why = at_limit;
            }
        }
        if new == *self { Err(why) } else { Ok(new) }
    }

    /// Makes one change. `Ok(Some(why))`: it has been made as far as it goes. `Err`: why a program cannot
    /// make it.
    fn apply(&mut self, change: &Change, cores: u32) -> Result<Option<String>, String> {
        let Change { option, direction, proposed, .. } = change;
        let flag = self.kind.flag_of(change);
        match (direction.as_str(), self.number(change, flag)) {
            ("raise" | "lower", Some(number)) => {
                let next = next(number, change, cores);
                if next == number {
                    return Ok(Some(format!("{option} is {number} already, on {cores} cores")));
                }
                self.put(change, flag, next);
            }
            ("set", _) if option == "--worker-class" => {
                let class = CLASSES.into_iter().find(|class| proposed.as_deref() == Some(class));
                self.class = class.ok_or_else(|| format!("{option} {proposed:?} is not tried here"))?;
            }
            ("set" | "remove", _) => match (direction.as_str(), flag) {
                ("set", Some(flag)) => self.flags.push(
                    proposed.as_ref().map_or_else(|| flag.to_owned(), |value| format!("{flag}={value}")),
                ),
                (_, Some(flag)) => self.flags.retain(|one| name_of(one) != flag),
                (_, None) => return Err(format!("{direction} {option}: nobody can do that here")),
            },
            _ => return Err(format!("{direction} {option}: nobody can do that here")),
        }
        Ok(None)
    }

    /// The present value of what is to be changed, where that is a number.
    fn number(&self, change: &Change, flag: Option<&str>) -> Option<u32> {
        match change.option.as_str() {
            "--workers" | "--processes" | "processes=" => Some(self.processes),
            "--threads" | "threads=" => Some(self.threads),
            "cpu.max" => self.limits.cpu_hundredths,
            "LimitNOFILE=" => self.limits.open_files,
            _ => {
                let flag = flag?;
                let given = self.flags.iter().find_map(|one| one.strip_prefix(flag)?.strip_prefix('='));
                given.or(change.present.as_deref())?.parse().ok()
            }
        }
    }

    fn put(&mut self, change: &Change, flag: Option<&str>, number: u32) {
        match (change.option.as_str(), flag) {
            ("--workers" | "--processes" | "processes=", _) => self.processes = number,
            ("--threads" | "threads=", _) => self.threads = number,
            ("cpu.max", _) => self.limits.cpu_hundredths = Some(number),
            ("LimitNOFILE=", _) => self.limits.open_files = Some(number),
            (_, Some(flag)) => {
                self.flags.retain(|one| name_of(one) != flag);
                self.flags.push(format!("{flag}={number}"));
            }
            (_, None) => {}
        }
    }
}

/// `--backlog` of `--backlog=24`.
fn name_of(flag: &str) -> &str {
    flag.split('=').next().unwrap_or(flag)
}

/// The number that is proposed, or else the present one doubled or halved, no further than the change says.
fn next(number: u32, change: &Change, cores: u32) -> u32 {
    let is_by_cores = change.limit.as_deref() == Some("cores");
    if change.direction == "raise" {
        let most = if is_by_cores { cores } else { u32::MAX };
        let at_most = change.at_most.and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX);
        let proposed = change.proposed.as_ref().and_then(|proposed| proposed.parse().ok());
        proposed.unwrap_or_else(|| number.saturating_mul(2)).min(most).min(at_most).max(number)
    } else {
        let least = if is_by_cores { cores } else { 1 };
        (number / 2).max(least).min(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(option: &str, direction: &str) -> Change {
        Change {
            alternative: 1,
            option: option.to_owned(),
            scope: "command_line".to_owned(),
            also: None,
            direction: direction.to_owned(),
            present: None,
            proposed: None,
            limit: None,
            at_most: None,
            when: None,
            needs: Vec::new(),
            caveat: None,
        }
    }

    #[test]
    fn a_number_is_doubled_or_halved_and_never_beyond_its_limit() {
        let setup = Setup::new(Kind::Gunicorn, "gthread", 1, 4);
        let raised = setup.with(&[change("--workers", "raise"), change("--threads", "lower")], 2);
        assert_eq!(raised, Ok(Setup::new(Kind::Gunicorn, "gthread", 2, 2)));
        let limited = Change { limit: Some("cores".to_owned()), ..change("--workers", "raise") };
        assert_eq!(
            setup.with(std::slice::from_ref(&limited), 2),
            Ok(Setup::new(Kind::Gunicorn, "gthread", 2, 4))
        );
        assert!(setup.with(&[limited], 1).is_err());
        assert!(setup.with(&[change("--workers", "lower")], 2).is_err());
    }

    #[test]
    fn a_number_that_is_proposed_is_taken() {
        let setup = Setup::new(Kind::Gunicorn, "gthread", 1, 4);
        let proposed = Change { proposed: Some("13".to_owned()), ..change("--threads", "raise") };
        assert_eq!(setup.with(&[proposed], 2), Ok(Setup::new(Kind::Gunicorn, "gthread", 1, 13)));
    }

    #[test]
    fn what_is_at_its_limit_keeps_the_change_beside_it_from_nothing() {
        let setup = Setup::new(Kind::Gunicorn, "gthread", 2, 2);
        let more = Change { limit: Some("cores".to_owned()), ..change("--workers", "raise") };
        let changed = setup.with(&[more.clone(), change("--threads", "lower")], 2);
        assert_eq!(changed, Ok(Setup::new(Kind::Gunicorn, "gthread", 2, 1)));
        let again = |setup: Setup| setup.with(&[more, change("--threads", "lower")], 2);
        assert!(changed.is_ok_and(|setup| again(setup).is_err()));
    }

    #[test]
    fn options_and_limits_are_doubled_or_taken_away() {
        let limits = Limits { cpu_hundredths: Some(60), open_files: Some(40) };
        let setup = Setup::new(Kind::Gunicorn, "sync", 2, 1).under(&["--backlog=24", "--reuse-port"], limits);
        let title = |changes: &[Change]| setup.with(changes, 2).map(|setup| setup.title());
        let of = |text: &str| Ok::<_, String>(format!("gunicorn sync, 2 workers{text}"));
        assert_eq!(
            title(&[
                change("--backlog", "raise"),
                change("cpu.max", "raise"),
                change("--reuse-port", "remove")
            ]),
            of(" --backlog=48, a quota of 1.2 cores, 40 open files")
        );
        // What was not given has the value that the report names.
        let timeout = Change { present: Some("30".to_owned()), ..change("--timeout", "raise") };
        assert_eq!(
            title(&[timeout, change("LimitNOFILE=", "raise")]),
            of(" --backlog=24 --reuse-port --timeout=60, a quota of 0.6 cores, 80 open files")
        );
        let most = Change { at_most: Some(24), ..change("--backlog", "raise") };
        assert!(setup.with(&[most], 2).is_err());
    }

    #[test]
    fn a_directive_is_set_as_mod_wsgi_express_has_it() {
        let setup = Setup::new(Kind::ModWsgi, "", 1, 5).under(&["--keep-alive-timeout=1"], Limits::NONE);
        let also = |text: &str| Some(text.to_owned());
        let timeout = Change {
            also: also("mod_wsgi-express: --keep-alive-timeout"),
            ..change("KeepAliveTimeout", "raise")
        };
        let threads = Change { also: also("mod_wsgi-express: --threads"), ..change("threads=", "raise") };
        let title = |change: Change| setup.with(&[change], 2).map(|setup| setup.title());
        assert_eq!(title(timeout.clone()), Ok("mod_wsgi daemon, 1 × 5 --keep-alive-timeout=2".to_owned()));
        assert_eq!(title(threads), Ok("mod_wsgi daemon, 1 × 10 --keep-alive-timeout=1".to_owned()));
        let by_directive_alone = Change { also: None, ..timeout };
        assert!(title(by_directive_alone).is_err());
    }

    #[test]
    fn what_no_program_can_do_is_said() {
        let setup = Setup::new(Kind::Waitress, "", 1, 4);
        assert!(setup.with(&[change("net.core.somaxconn", "raise")], 2).is_err());
        assert!(setup.with(&[], 2).is_err());
        let needs = vec!["run a second server beside it".to_owned()];
        assert!(setup.with(&[Change { needs, ..change("--threads", "lower") }], 2).is_err());
        let flagged = Setup::new(Kind::Gunicorn, "sync", 4, 1).with(&[change("--reuse-port", "set")], 2);
        assert_eq!(
            flagged.map(|setup| setup.title()),
            Ok("gunicorn sync, 4 workers --reuse-port".to_owned())
        );
    }
}
