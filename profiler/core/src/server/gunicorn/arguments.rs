//! Reads a gunicorn command line as gunicorn's own argparse does, as far as the settings of `option` go.
//!
//! In: arguments of a process, or the text of `GUNICORN_CMD_ARGS`: hostile. Out: [`Arguments`]; never a panic, and
//! nothing of a value that is not a reported setting.

use super::option::{OptionSpec, Takes, by_long, by_short};

/// Arguments looked at; a longer list is cut.
const MAX_ARGUMENTS: usize = 1024;

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Reported settings in the order given: name and value (`true` for flags).
    pub settings: Vec<(&'static str, String)>,
    /// First positional argument: the application, `module:callable`.
    pub application: Option<String>,
}

impl Arguments {
    /// The value that counts: the last one given.
    #[must_use]
    pub fn value(&self, setting: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(name, _)| *name == setting).map(|(_, value)| value.as_str())
    }

    /// All values of a setting that may be given several times.
    pub fn values<'a>(&'a self, setting: &'a str) -> impl Iterator<Item = &'a str> {
        self.settings.iter().filter(move |(name, _)| *name == setting).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, option: Option<&'static OptionSpec>, value: &str) {
        if let Some(setting) = option.and_then(|option| option.setting) {
            self.settings.push((setting, value.to_owned()));
        }
    }
}

/// The arguments after the gunicorn script in a process's command line; `None`: it does not start gunicorn.
///
/// Understands `gunicorn …`, `python … /path/gunicorn …`, `python -m gunicorn …`.
#[must_use]
pub fn of_command_line(command_line: &[String]) -> Option<&[String]> {
    let is_script =
        |argument: &str| matches!(base_name(argument), "gunicorn" | "gunicorn3" | "gunicorn_paster");
    let first = command_line.first()?;
    if is_script(first) {
        return command_line.get(1..);
    }
    if !base_name(first).starts_with("python") && !base_name(first).starts_with("pypy") {
        return None;
    }
    // The interpreter's own options come before the script; -W, -X and --check-hash-based-pycs take a value.
    let mut index = 1;
    while let Some(argument) = command_line.get(index) {
        match argument.as_str() {
            "-m" => {
                let module = command_line.get(index + 1)?;
                let known = module == "gunicorn" || module.starts_with("gunicorn.");
                return if known { command_line.get(index + 2..) } else { None };
            }
            "-c" => return None,
            "-W" | "-X" | "--check-hash-based-pycs" => index += 2,
            option if option.starts_with('-') && option.len() > 1 => index += 1,
            script => return if is_script(script) { command_line.get(index + 1..) } else { None },
        }
    }
    None
}

/// Last component of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads the arguments that follow the gunicorn script.
#[must_use]
pub fn read(arguments: &[String]) -> Arguments {
    let mut result = Arguments::default();
    let mut rest = arguments.iter().take(MAX_ARGUMENTS).map(String::as_str).peekable();
    let mut only_positional = false;
    while let Some(argument) = rest.next() {
        if only_positional || !argument.starts_with('-') || argument == "-" {
            if result.application.is_none() {
                result.application = Some(argument.to_owned());
            }
        } else if argument == "--" {
            only_positional = true;
        } else if let Some(long) = argument.strip_prefix("--") {
            let (name, inline) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let option = by_long(name);
            match (option.map_or(Takes::Nothing, |option| option.takes), inline) {
                (Takes::Nothing, _) => result.set(option, "true"),
                (_, Some(value)) => result.set(option, value),
                (Takes::Value, None) => result.set(option, rest.next().unwrap_or_default()),
                (Takes::Optional, None) => {
                    if let Some(value) = rest.next_if(|next| !next.starts_with('-')) {
                        result.set(option, value);
                    }
                }
            }
        } else {
            read_short(&mut result, argument.trim_start_matches('-'), &mut rest);
        }
    }
    result
}

/// One group of short options: `w4`, `w=4`, `w` with the value following, `DRw4`.
fn read_short<'a>(result: &mut Arguments, group: &'a str, rest: &mut impl Iterator<Item = &'a str>) {
    let mut letters = group.chars();
    while let Some(letter) = letters.next() {
        let option = by_short(letter);
        let Some(known) = option else { return };
        if known.takes == Takes::Nothing {
            result.set(option, "true");
            continue;
        }
        let inline = letters.as_str();
        let value = if inline.is_empty() {
            rest.next().unwrap_or_default()
        } else {
            inline.strip_prefix('=').unwrap_or(inline)
        };
        result.set(option, value);
        return;
    }
}

/// Reads the value of `GUNICORN_CMD_ARGS`, split as a shell would; what cannot be split says nothing.
#[must_use]
pub fn read_environment(text: &str) -> Arguments {
    read(&shlex::split(text).unwrap_or_default())
}

/// `GUNICORN_CMD_ARGS` with nothing left but reported settings: what may enter a recording.
#[must_use]
pub fn only_reported(text: &str) -> String {
    let arguments = read_environment(text);
    let mut words = Vec::new();
    for (setting, value) in &arguments.settings {
        let Some(name) = super::option::OPTIONS
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
            assert_eq!(arguments.application.as_deref(), Some("app:app"), "{line}");
        }
        assert_eq!(read(&words("--thr 8 a:b")).value("threads"), Some("8"));
    }

    #[test]
    fn a_value_that_looks_like_an_application_is_not_taken_for_one() {
        let arguments =
            read(&words("--access-logformat x:y --name n -b [::1]:8000 -b unix:/run/s app:app --preload"));
        assert_eq!(arguments.application.as_deref(), Some("app:app"));
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
