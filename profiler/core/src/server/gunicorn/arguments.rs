//! gunicorn's command line and its environment variable.
//!
//! In: arguments of a process, or the text of `GUNICORN_CMD_ARGS`: hostile. Out: [`Arguments`]; never a
//! panic, and nothing of a value that is not a reported setting.

use super::option::OPTIONS;
pub use crate::server::command_line::Arguments;
use crate::server::command_line::{self, Takes};

/// The arguments after the gunicorn script in a process's command line; `None`: it does not start gunicorn.
///
/// Understands `gunicorn …`, `python … /path/gunicorn …`, `python -m gunicorn …`.
pub fn of_command_line(command_line: &[String]) -> Option<&[String]> {
    let program = command_line::program(command_line)?;
    let is_ours = if program.is_module {
        program.name == "gunicorn" || program.name.starts_with("gunicorn.")
    } else {
        matches!(program.name, "gunicorn" | "gunicorn3" | "gunicorn_paster")
    };
    is_ours.then_some(program.arguments)
}

/// Reads the arguments that follow the gunicorn script.
pub fn read(arguments: &[String]) -> Arguments {
    command_line::read(OPTIONS, arguments)
}

/// Reads the value of `GUNICORN_CMD_ARGS`, split as a shell would; what cannot be split says nothing.
pub fn read_environment(text: &str) -> Arguments {
    read(&shlex::split(text).unwrap_or_default())
}

/// `GUNICORN_CMD_ARGS` with nothing left but reported settings: what may enter a recording.
pub fn only_reported(text: &str) -> String {
    let arguments = read_environment(text);
    let mut words = Vec::new();
    for (setting, value) in &arguments.settings {
        let Some(name) = OPTIONS
            .iter()
            .find(|option| option.setting == Some(setting))
            .and_then(|option| option.long.first().map(|long| (long, option.takes)))
        else {
            continue;
        };
        match name {
            (long, Takes::Nothing) => words.push(format!("--{long}")),
            (long, _) => {
                if let Ok(quoted) = shlex::try_quote(value) {
                    words.push(format!("--{long} {quoted}"));
                }
            }
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_way_of_starting_gunicorn_leads_to_its_arguments() {
        for line in [
            "gunicorn -w 4 app:app",
            "/venv/bin/python3 /venv/bin/gunicorn -w 4 app:app",
            "python -m gunicorn -w 4 app:app",
            "/usr/bin/python3.11 -X dev -u -W error -m gunicorn -w 4 app:app",
            "pypy3 /opt/gunicorn -w 4 app:app",
        ] {
            assert_eq!(of_command_line(&words(line)), Some(words("-w 4 app:app").as_slice()), "{line}");
        }
    }

    #[test]
    fn what_only_mentions_gunicorn_is_not_gunicorn() {
        for line in [
            "vim gunicorn",
            "python manage.py gunicorn",
            "python -m pip install gunicorn",
            "grep gunicorn",
            "",
        ] {
            assert_eq!(of_command_line(&words(line)), None, "{line}");
        }
    }

    #[test]
    fn long_short_joined_and_abbreviated_forms_are_all_read() {
        for line in
            ["--workers 4", "--workers=4", "-w 4", "-w4", "-w=4", "-Dw4", "-RDw 4", "--workers 2 -w 4"]
        {
            let arguments = read(&words(&format!("{line} app:app")));
            assert_eq!(arguments.value("workers"), Some("4"), "{line}");
            assert_eq!(arguments.positional.first().map(String::as_str), Some("app:app"), "{line}");
        }
        assert_eq!(read(&words("--thr 8 a:b")).value("threads"), Some("8"));
    }

    #[test]
    fn a_value_that_looks_like_an_application_is_not_taken_for_one() {
        let arguments =
            read(&words("--access-logformat x:y --name n -b [::1]:8000 -b unix:/run/s app:app --preload"));
        assert_eq!(arguments.positional.first().map(String::as_str), Some("app:app"));
        assert_eq!(arguments.values("bind").collect::<Vec<_>>(), ["[::1]:8000", "unix:/run/s"]);
        assert_eq!(arguments.value("preload_app"), Some("true"));
    }

    #[test]
    fn an_optional_value_does_not_swallow_the_next_option() {
        let arguments = read(&words("--proxy-protocol -w 3 app:app"));
        assert_eq!(arguments.value("workers"), Some("3"));
    }

    #[test]
    fn secrets_in_the_environment_variable_do_not_survive() {
        let kept = only_reported(
            "-e SECRET=hunter2 --workers 3 --bind 'unix:/run/a b' --statsd-host key@x --preload",
        );
        assert_eq!(kept, "--workers 3 --bind 'unix:/run/a b' --preload");
        assert_eq!(read_environment(&kept).value("bind"), Some("unix:/run/a b"));
    }

    proptest! {
        #[test]
        fn no_command_line_makes_the_reader_panic(
            arguments in prop::collection::vec("(-{0,3}[a-zA-Z=\\-]{0,6}|.*)", 0..20),
        ) {
            let _ = of_command_line(&arguments);
            let _ = read(&arguments);
        }

        #[test]
        fn no_environment_makes_the_reader_panic_and_what_is_kept_reads_the_same_again(text in "[^\\x00]*") {
            let kept = only_reported(&text);
            prop_assert_eq!(read_environment(&kept).settings, read_environment(&text).settings);
        }
    }
}
