//! What to change where an accept queue is too short.
//!
//! In: the server, its site, which kind of socket was full. Out: advice with the option's present value, and
//! what bounds it.

use super::advice::{Advice, Direction, Scope, Setting, act, raise, say};
use super::site::Site;
use super::{ServerKind, program};
use crate::model::Server;

/// The option that sets how many connections may wait to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// As the server names it.
    pub option: &'static str,
    /// The setting that has its value.
    pub setting: &'static str,
    /// Where it is set.
    pub scope: Scope,
    /// How the same is set in another way.
    pub also: Option<&'static str>,
    /// The server does not start with more than `net.core.somaxconn`; others are cut to it silently.
    pub refuses_more: bool,
}

impl Backlog {
    /// An option of the command line whose value is cut to `net.core.somaxconn`.
    pub const fn cut(option: &'static str, setting: &'static str) -> Self {
        Self { option, setting, scope: Scope::CommandLine, also: None, refuses_more: false }
    }

    /// This option, set somewhere else than on the command line.
    pub const fn at(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// This option with another way to set it.
    pub const fn or_as(self, also: &'static str) -> Self {
        Self { also: Some(also), ..self }
    }

    /// The setting with its present value.
    fn of(self, server: &Server) -> Setting {
        let option = Setting::of(server, self.option, self.setting).at(self.scope);
        Setting { also: self.also.map(str::to_owned), ..option }
    }
}

/// What to change; `None`: this kind of server has no option for this kind of socket.
pub fn advice(kind: &dyn ServerKind, server: &Server, site: &Site, is_unix: bool) -> Option<Advice> {
    let backlog = kind.backlog(is_unix)?;
    let keyword = kind.in_program().filter(|_| program::has_started(server)).and_then(|shown| shown.backlog);
    let backlog = match keyword {
        Some(option) => Backlog { option, scope: Scope::Program, ..backlog },
        None => backlog,
    };
    let option = backlog.of(server);
    let bound = Setting::named("net.core.somaxconn").at(Scope::Sysctl);
    let bound = Setting { present: site.somaxconn.map(|most| most.to_string()), ..bound };
    let now = server.number(backlog.setting);
    let is_at_bound = now.zip(site.somaxconn).is_some_and(|(now, most)| now >= u64::from(most));
    let restart = || act("restart the server");
    let both = || raise(&bound).so("first").and(raise(&option).so("after that")).and(restart());
    let first: Advice = if site.is_shared {
        opened_elsewhere(&option, &bound)
    } else if backlog.refuses_more && is_at_bound {
        both().because(format!("{} does not start with more than {}", kind.name(), bound.name)).into()
    } else if backlog.refuses_more {
        let part = raise(&option).so(format!("at most to {bound}"));
        let part = match site.somaxconn {
            Some(most) => part.at_most(u64::from(most)),
            None => part,
        };
        part.and(restart()).because(format!("{} does not start with more than that", kind.name())).into()
    } else if is_at_bound {
        both().because(format!("{} cuts off what is beyond it", bound.name)).into()
    } else {
        raise(&option).and(restart()).also(say(format!("what is beyond {bound} is cut off"))).into()
    };
    Some(first.then(say(
        "where requests also wait for a free worker, that comes first: a longer queue only bridges bursts",
    )))
}

/// Where somebody else holds the socket too, and may have opened it: the server's own option may come too
/// late.
fn opened_elsewhere(option: &Setting, bound: &Setting) -> Advice {
    Advice::first(
        act("raise the backlog where the socket was opened (systemd: Backlog= of the socket unit)")
            .with(Setting::named("Backlog=").at(Scope::Service), Direction::Raise)
            .and(act("restart that"))
            .because("somebody who is not traced holds it too"),
    )
    .then(say(format!("the server's own {option} may do nothing; what is beyond {bound} is cut off")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Origin;
    use crate::server::{kind_named, setting};

    fn advice_on(name: &str, setting: &str, now: &str, somaxconn: u32, is_unix: bool) -> Advice {
        let settings = vec![setting::setting(setting, now.to_owned(), Origin::Configured)];
        let server = Server { name: name.to_owned(), settings, ..Server::default() };
        let site = Site { somaxconn: Some(somaxconn), ..Site::default() };
        advice(kind_named(name), &server, &site, is_unix).unwrap_or_default()
    }

    fn of(name: &str, setting: &str, now: &str, somaxconn: u32, is_unix: bool) -> String {
        advice_on(name, setting, now, somaxconn, is_unix).to_string()
    }

    #[test]
    fn uwsgi_is_never_told_to_go_beyond_what_it_starts_with() {
        let at_bound = of("uwsgi", "listen", "128", 128, false);
        assert!(
            at_bound.starts_with(
                "Raise net.core.somaxconn (now 128) first and raise --listen (now 128) after that and restart the server: "
            ),
            "{at_bound}"
        );
        let below = of("uwsgi", "listen", "100", 4096, false);
        assert!(
            below.starts_with(
                "Raise --listen (now 100) at most to net.core.somaxconn (now 4096) and restart the server: "
            ),
            "{below}"
        );
    }

    #[test]
    fn what_the_kernel_cuts_off_comes_first() {
        let text = of("gunicorn", "backlog", "2048", 128, true);
        assert!(text.starts_with("Raise net.core.somaxconn (now 128) first"), "{text}");
        let text = of("gunicorn", "backlog", "64", 128, false);
        assert!(
            text.starts_with(
                "Raise --backlog (now 64) and restart the server; what is beyond net.core.somaxconn (now 128) is cut off. "
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_raised_first_is_the_first_change_and_a_bound_that_stays_is_none() {
        for (now, expected) in [("128", vec!["net.core.somaxconn", "--listen"]), ("100", vec!["--listen"])] {
            let advice = advice_on("uwsgi", "listen", now, 128, false);
            let together = advice.alternatives();
            let [changes] = together.as_slice() else { panic!("one thing to do: {together:?}") };
            let names: Vec<&str> =
                changes.changes.iter().map(|change| change.setting.name.as_str()).collect();
            assert_eq!(names, expected);
            assert!(changes.changes.iter().all(|change| change.direction == Direction::Raise));
            let kernels = changes.changes.iter().find(|change| change.setting.scope == Scope::Sysctl);
            let present = kernels.and_then(|change| change.setting.present.as_deref());
            assert_eq!(present, (expected.len() == 2).then_some("128"));
        }
    }

    #[test]
    fn apaches_queue_and_that_of_its_daemon_processes_have_options_of_their_own() {
        let text = of("mod_wsgi", "daemon_backlog", "100", 4096, true);
        assert!(
            text.contains(
                "listen-backlog= of WSGIDaemonProcess (now 100; mod_wsgi-express: --daemon-backlog)"
            ),
            "{text}"
        );
        let text = of("mod_wsgi", "listen_backlog", "500", 4096, false);
        assert!(text.contains("ListenBacklog") && text.contains("--server-backlog"), "{text}");
    }

    #[test]
    fn socket_that_was_passed_has_the_queue_of_who_opened_it() {
        let site = Site { somaxconn: Some(4096), is_shared: true, ..Site::default() };
        for name in ["gunicorn", "uwsgi"] {
            let advice = advice(kind_named(name), &Server::default(), &site, false).unwrap_or_default();
            let text = advice.to_string();
            assert!(text.starts_with("Raise the backlog where the socket was opened"), "{name}: {text}");
            assert!(text.contains("may do nothing") && !text.contains("aise --"), "{name}: {text}");
            let changes = advice.changes();
            let [change] = changes.as_slice() else { panic!("the opener's alone: {changes:?}") };
            let setting = (change.setting.name.as_str(), change.setting.scope, change.direction);
            assert_eq!(setting, ("Backlog=", Scope::Service, Direction::Raise), "{name}");
        }
    }
}
