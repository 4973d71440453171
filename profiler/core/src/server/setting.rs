//! Settings of a server with where each is known from: what all kinds of servers share.
//!
//! In: what a command line says, documented defaults, behaviour. Out: [`Setting`]s.

use super::command_line::Arguments;
use crate::model::{Origin, Server, Setting};

/// A setting.
pub(super) fn setting(name: &str, value: String, origin: Origin) -> Setting {
    Setting { name: name.to_owned(), value, origin }
}

/// Puts a setting in place of the one of the same name, or adds it.
pub(super) fn put(settings: &mut Vec<Setting>, new: Setting) {
    match settings.iter_mut().find(|setting| setting.name == new.name) {
        Some(present) => *present = new,
        None => settings.push(new),
    }
}

/// The settings that arguments give, and the defaults of the others where they hold: where nothing that was
/// not read may have set them. A number that is none says nothing.
pub(super) fn resolve(arguments: &Arguments, defaults: &[(&str, &str)], defaults_hold: bool) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, default) in defaults {
        let is_number = default.parse::<i64>().is_ok();
        let given = arguments.value(name).map(str::trim);
        match given.filter(|value| !is_number || value.parse::<i64>().is_ok()) {
            Some(value) => settings.push(setting(name, value.to_owned(), Origin::Configured)),
            None if defaults_hold => settings.push(setting(name, (*default).to_owned(), Origin::Default)),
            None => {}
        }
    }
    settings
}

/// Settings that arguments give, of these: they have no default that is worth a line.
pub(super) fn given<'a>(
    arguments: &'a Arguments,
    names: &'a [&'a str],
) -> impl Iterator<Item = Setting> + 'a {
    let configured =
        |name| arguments.value(name).map(|value| setting(name, value.to_owned(), Origin::Configured));
    names.iter().copied().filter_map(configured)
}

/// Puts a number that behaviour showed, where no other is known, or where `contradicts` the known one.
pub(super) fn put_seen(server: &mut Server, name: &str, seen: u32, contradicts: impl Fn(u64) -> bool) {
    if seen > 0 && server.number(name).is_none_or(contradicts) {
        put(&mut server.settings, setting(name, seen.to_string(), Origin::Inferred));
    }
}

/// The major version, where it is known.
pub(super) fn major(server: &Server) -> Option<u32> {
    server.version.as_deref()?.split('.').next()?.parse().ok()
}

/// Whether the server is known to be of this version or a newer one.
pub(super) fn is_from(server: &Server, version: &[u32]) -> bool {
    let parts = server.version.iter().flat_map(|text| text.split('.'));
    let known: Vec<u32> = parts.map_while(|part| part.parse().ok()).collect();
    known.as_slice() >= version
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::advice;

    #[test]
    fn defaults_stand_only_where_nothing_else_can_have_spoken() {
        let arguments = Arguments {
            settings: vec![("threads", "8".into()), ("backlog", "many".into())],
            ..Arguments::default()
        };
        let defaults = [("threads", "4"), ("backlog", "1024")];
        let all = resolve(&arguments, &defaults, true);
        assert_eq!(all[0], setting("threads", "8".into(), Origin::Configured));
        assert_eq!(all[1], setting("backlog", "1024".into(), Origin::Default));
        assert_eq!(resolve(&arguments, &defaults, false).len(), 1);
    }

    #[test]
    fn options_are_named_with_what_they_are_now_or_were_seen_to_be() {
        let mut server =
            Server { settings: vec![setting("threads", "4".into(), Origin::Default)], ..Server::default() };
        let option = |server: &Server, name: &str, setting: &str| {
            advice::Setting::of(server, name, setting).to_string()
        };
        assert_eq!(option(&server, "--threads", "threads"), "--threads (now 4)");
        put_seen(&mut server, "threads", 6, |known| known < 6);
        assert_eq!(option(&server, "--threads", "threads"), "--threads (seen: 6)");
        put_seen(&mut server, "threads", 2, |known| known < 2);
        assert_eq!(option(&server, "--threads", "threads"), "--threads (seen: 6)");
        assert_eq!(option(&server, "--backlog", "backlog"), "--backlog");
    }

    #[test]
    fn version_that_is_not_known_is_none_from_which_on() {
        let from = |known: Option<&str>, version: &[u32]| {
            is_from(&Server { version: known.map(str::to_owned), ..Server::default() }, version)
        };
        for (known, expected) in [
            (Some("2.0.22"), true),
            (Some("2.0.25.1"), true),
            (Some("2.1"), true),
            (Some("2.0.21"), false),
            (Some("2.0"), false),
            (Some("unknown"), false),
            (None, false),
        ] {
            assert_eq!(from(known, &[2, 0, 22]), expected, "{known:?}");
        }
    }
}
