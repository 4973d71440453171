//! Keeps secrets that stand in command lines out of facts, and so out of recordings and reports.
//!
//! In: the arguments of any process. Out: as many arguments, bounded in number and length, with the values
//! that may be secret overwritten.

/// What stands in place of a value.
pub const HIDDEN: &str = "***";
/// Arguments kept; the rest is cut off.
const MAX_ARGUMENTS: usize = 256;
/// Characters of an argument kept.
const MAX_CHARACTERS: usize = 1024;
/// An option or variable whose name contains one of these holds a secret.
const SECRET_NAMES: [&str; 9] =
    ["pass", "pwd", "secret", "token", "key", "credential", "auth", "cookie", "dsn"];

/// A command line without what may be secret.
pub fn command_line(arguments: &[String]) -> Vec<String> {
    let mut result = Vec::new();
    let mut hide_next = false;
    for argument in arguments.iter().take(MAX_ARGUMENTS) {
        let kept = if hide_next { HIDDEN.to_owned() } else { one(argument) };
        hide_next = !hide_next && next_is_secret(argument);
        result.push(kept.chars().take(MAX_CHARACTERS).collect());
    }
    result
}

/// `--password VALUE`, `-e NAME=VALUE` (gunicorn's and docker's environment option).
fn next_is_secret(argument: &str) -> bool {
    matches!(argument, "-e" | "--env")
        || (argument.starts_with("--") && !argument.contains('=') && named(argument))
}

fn named(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

fn one(argument: &str) -> String {
    if let Some((name, _)) = argument.split_once('=')
        && (named(name) || name == "--env" || name.starts_with("-e"))
    {
        return format!("{name}={HIDDEN}");
    }
    without_user_information(argument)
}

/// `scheme://user:password@host` becomes `scheme://***@host`.
fn without_user_information(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{tail}"),
        None => argument.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(line: &str) -> String {
        command_line(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn secrets_in_the_usual_places_are_hidden_and_nothing_else_is() {
        assert_eq!(
            redacted("gunicorn -e DB_PASSWORD=x --env A=b -eC=d --workers 4 --statsd-host h app:app"),
            "gunicorn -e *** --env *** -eC=*** --workers 4 --statsd-host h app:app"
        );
        assert_eq!(
            redacted("worker --api-token abc --token=abc -n 3"),
            "worker --api-token *** --token=*** -n 3"
        );
        assert_eq!(
            redacted("celery -b amqp://user:pw@host:5672/vhost"),
            "celery -b amqp://***@host:5672/vhost"
        );
        assert_eq!(redacted("curl http://host/a@b"), "curl http://host/a@b");
    }

    #[test]
    fn a_hostile_command_line_is_bounded() {
        let long: Vec<String> = (0..1000).map(|_| "é".repeat(5000)).collect();
        let kept = command_line(&long);
        assert_eq!(kept.len(), MAX_ARGUMENTS);
        assert!(kept.iter().all(|argument| argument.chars().count() <= MAX_CHARACTERS));
    }

    proptest! {
        #[test]
        fn no_command_line_makes_it_panic(arguments in prop::collection::vec(".*", 0..20)) {
            prop_assert_eq!(command_line(&arguments).len(), arguments.len());
        }
    }
}
