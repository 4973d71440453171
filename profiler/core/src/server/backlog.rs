//! What to change where an accept queue is too short.
//!
//! In: the server, its site, which kind of socket was full. Out: the option with its present value, and what bounds it.

use super::ServerKind;
use super::site::Site;
use crate::model::Server;

/// The option that sets how many connections may wait to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// As the server names it.
    pub option: &'static str,
    /// The setting that has its value.
    pub setting: &'static str,
    /// The server does not start with more than `net.core.somaxconn`; others are cut to it silently.
    pub refuses_more: bool,
}

impl Backlog {
    /// An option whose value is cut to `net.core.somaxconn`.
    #[must_use]
    pub const fn cut(option: &'static str, setting: &'static str) -> Self {
        Self { option, setting, refuses_more: false }
    }
}

/// What to change; `None`: this kind of server has no option for this kind of socket.
#[must_use]
pub fn advice(kind: &dyn ServerKind, server: &Server, site: &Site, is_unix: bool) -> Option<String> {
    let Backlog { option, setting, refuses_more } = kind.backlog(is_unix)?;
    let now = server.number(setting);
    let option = now.map_or_else(|| option.to_owned(), |backlog| format!("{option} (now {backlog})"));
    let bound = site
        .somaxconn
        .map_or_else(|| "net.core.somaxconn".to_owned(), |most| format!("net.core.somaxconn ({most})"));
    let is_at_bound = now.zip(site.somaxconn).is_some_and(|(now, most)| now >= u64::from(most));
    let first = if refuses_more && is_at_bound {
        format!("Raise {bound} first, then {option}: {} does not start with more than that.", kind.name())
    } else if refuses_more {
        format!("Raise {option}, at most to {bound}: {} does not start with more than that.", kind.name())
    } else if is_at_bound {
        format!("Raise {bound} first, which cuts off what is beyond it, then {option}.")
    } else {
        format!("Raise {option}; what is beyond {bound} is cut off.")
    };
    Some(format!(
        "{first} Restart the server then. Where slots-exhausted is present too, more slots come first: a longer queue only bridges \
         bursts."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Origin, Setting};
    use crate::server::kind_named;

    fn of(name: &str, setting: &str, now: &str, somaxconn: u32, is_unix: bool) -> String {
        let settings =
            vec![Setting { name: setting.to_owned(), value: now.to_owned(), origin: Origin::Configured }];
        let server = Server { name: name.to_owned(), settings, ..Server::default() };
        let site = Site { somaxconn: Some(somaxconn), ..Site::default() };
        advice(kind_named(name), &server, &site, is_unix).unwrap_or_default()
    }

    #[test]
    fn uwsgi_is_never_told_to_go_beyond_what_it_starts_with() {
        let at_bound = of("uwsgi", "listen", "128", 128, false);
        assert!(
            at_bound.starts_with("Raise net.core.somaxconn (128) first, then --listen (now 128)"),
            "{at_bound}"
        );
        let below = of("uwsgi", "listen", "100", 4096, false);
        assert!(
            below.starts_with("Raise --listen (now 100), at most to net.core.somaxconn (4096)"),
            "{below}"
        );
    }

    #[test]
    fn what_the_kernel_cuts_off_comes_first() {
        let text = of("gunicorn", "backlog", "2048", 128, true);
        assert!(text.starts_with("Raise net.core.somaxconn (128) first"), "{text}");
        assert!(of("gunicorn", "backlog", "64", 128, false).starts_with("Raise --backlog (now 64);"));
    }

    #[test]
    fn apaches_queue_and_that_of_its_daemon_processes_have_options_of_their_own() {
        let text = of("mod_wsgi", "daemon_backlog", "100", 4096, true);
        assert!(
            text.contains("listen-backlog= of WSGIDaemonProcess") && text.contains("(now 100)"),
            "{text}"
        );
        let text = of("mod_wsgi", "listen_backlog", "500", 4096, false);
        assert!(text.contains("ListenBacklog") && text.contains("--server-backlog"), "{text}");
    }
}
