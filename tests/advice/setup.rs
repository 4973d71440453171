//! A server as it is set up for a trial, and the same with one setting changed.
//!
//! In: settings that advice changes, as the JSON report has them. Out: another setup, or why the change cannot be made by a program.

use serde::Deserialize;
use wsgi_trace_tests::gunicorn::{Settings, Version};
use wsgi_trace_tests::server::Recipe;
use wsgi_trace_tests::server::cheroot::Cheroot;
use wsgi_trace_tests::server::gevent::GunicornGevent;
use wsgi_trace_tests::server::mod_wsgi::ModWsgi;
use wsgi_trace_tests::server::uwsgi::Uwsgi;
use wsgi_trace_tests::server::waitress::Waitress;

/// One entry of `settings` of a finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) alternative: usize,
    pub(crate) option: String,
    pub(crate) scope: String,
    pub(crate) direction: String,
    pub(crate) proposed: Option<String>,
    pub(crate) limit: Option<String>,
    pub(crate) at_most: Option<u64>,
    pub(crate) when: Option<String>,
    pub(crate) needs: Vec<String>,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gunicorn,
    Uwsgi,
    ModWsgi,
    Waitress,
    Cheroot,
}

/// How it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    kind: Kind,
    /// gunicorn's kind of worker.
    class: &'static str,
    processes: u32,
    threads: u32,
    flags: Vec<String>,
}

/// Kinds of gunicorn's workers that advice may name and that are installed.
const CLASSES: [&str; 3] = ["sync", "gthread", "gevent"];

impl Setup {
    pub(crate) const fn new(kind: Kind, class: &'static str, processes: u32, threads: u32) -> Self {
        Self { kind, class, processes, threads, flags: Vec::new() }
    }

    pub(crate) fn recipe(&self) -> Box<dyn Recipe> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let (processes, threads) = (self.processes as usize, self.threads as usize);
        match self.kind {
            Kind::Gunicorn if self.class == "gthread" => {
                Box::new(Settings::gthread(Version::V27, processes, threads).with(&flags))
            }
            Kind::Gunicorn if self.class == "gevent" => Box::new(GunicornGevent { workers: processes }),
            Kind::Gunicorn => Box::new(Settings::sync(Version::V27, processes).with(&flags)),
            Kind::Uwsgi => {
                let flags: Vec<&'static str> =
                    self.flags.iter().map(|flag| &*Box::leak(flag.clone().into_boxed_str())).collect();
                Box::new(Uwsgi::new(self.processes, self.threads).with(Vec::leak(flags)))
            }
            Kind::ModWsgi => Box::new(ModWsgi::daemon(self.processes, self.threads)),
            Kind::Waitress => Box::new(Waitress { threads: self.threads }),
            Kind::Cheroot => Box::new(Cheroot { threads: self.threads }),
        }
    }

    pub(crate) fn title(&self) -> String {
        let Self { kind, class, processes, threads, flags } = self;
        let mut title = match kind {
            Kind::Gunicorn if *class == "gthread" => format!("gunicorn gthread, {processes} × {threads}"),
            Kind::Gunicorn => format!("gunicorn {class}, {processes} workers"),
            Kind::Uwsgi => format!("uWSGI, {processes} × {threads}"),
            Kind::ModWsgi => format!("mod_wsgi daemon, {processes} × {threads}"),
            Kind::Waitress => format!("Waitress, {threads} threads"),
            Kind::Cheroot => format!("cheroot, {threads} threads"),
        };
        for flag in flags {
            title.push(' ');
            title.push_str(flag);
        }
        title
    }

    /// The same with these changes, which belong together; `Err`: why a program cannot make them.
    pub(crate) fn with(&self, changes: &[Change], cores: u32) -> Result<Self, String> {
        if changes.is_empty() {
            return Err("its advice names no setting of the server".to_owned());
        }
        let mut new = self.clone();
        for change in changes {
            // Every trial starts its server again.
            if let Some(other) = change.needs.iter().find(|other| !other.starts_with("restart ")) {
                return Err(format!("it needs more than a setting ({other})"));
            }
            new.apply(change, cores)?;
        }
        if new == *self { Err("it changes nothing here".to_owned()) } else { Ok(new) }
    }

    fn apply(&mut self, change: &Change, cores: u32) -> Result<(), String> {
        let Change { option, direction, proposed, limit, at_most, .. } = change;
        let number = match option.as_str() {
            "--workers" | "--processes" | "processes=" => Some(&mut self.processes),
            "--threads" | "threads=" => Some(&mut self.threads),
            _ => None,
        };
        match (number, direction.as_str()) {
            (Some(number), "raise") => {
                let most = if limit.as_deref() == Some("cores") { cores } else { u32::MAX };
                let most = most.min(at_most.and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX));
                if *number >= most {
                    return Err(format!("{option} is {number} already, on {cores} cores"));
                }
                *number = number.saturating_mul(2).min(most);
            }
            (Some(number), "lower") => {
                let least = if limit.as_deref() == Some("cores") { cores } else { 1 };
                if *number <= least {
                    return Err(format!("{option} is {number} already, on {cores} cores"));
                }
                *number = (*number / 2).max(least);
            }
            (None, "set") if option == "--worker-class" => {
                let class = CLASSES.into_iter().find(|class| proposed.as_deref() == Some(class));
                self.class = class.ok_or_else(|| format!("{option} {proposed:?} is not tried here"))?;
            }
            (None, "set")
                if change.scope == "command_line" && matches!(self.kind, Kind::Gunicorn | Kind::Uwsgi) =>
            {
                self.flags.push(
                    proposed.as_ref().map_or_else(|| option.clone(), |value| format!("{option}={value}")),
                );
            }
            _ => return Err(format!("{direction} {option}: nobody can do that here")),
        }
        Ok(())
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
            direction: direction.to_owned(),
            proposed: None,
            limit: None,
            at_most: None,
            when: None,
            needs: Vec::new(),
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
