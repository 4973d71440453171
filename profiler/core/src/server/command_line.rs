//! Command lines as their programs' own parsers read them (argparse, getopt, click): which program, which
//! options.
//!
//! In: arguments of a process: hostile; a table of options for each server. Out: [`Program`], [`Arguments`];
//! never a panic, and nothing of a value that is not a reported setting.

/// Arguments looked at; a longer list is cut.
const MAX_ARGUMENTS: usize = 1024;
/// Values that stand by themselves and are kept.
const MAX_POSITIONAL: usize = 4;

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// A flag.
    Nothing,
    /// Always one value.
    Value,
    /// A value, or none.
    Optional,
}

/// One option.
#[derive(Debug)]
pub(super) struct OptionSpec {
    /// Letter of the short form.
    pub(super) short: Option<char>,
    /// Long forms without the dashes.
    pub(super) long: &'static [&'static str],
    /// Whether a value follows.
    pub(super) takes: Takes,
    /// Name of the setting, where its value is reported.
    pub(super) setting: Option<&'static str>,
}

/// An option whose value is reported.
pub(super) const fn reported(
    short: Option<char>,
    long: &'static [&'static str],
    takes: Takes,
    setting: &'static str,
) -> OptionSpec {
    OptionSpec { short, long, takes, setting: Some(setting) }
}

/// An option with a value that is not reported.
pub(super) const fn value(short: Option<char>, long: &'static [&'static str]) -> OptionSpec {
    OptionSpec { short, long, takes: Takes::Value, setting: None }
}

/// An option without value that is not reported.
pub(super) const fn flag(short: Option<char>, long: &'static [&'static str]) -> OptionSpec {
    OptionSpec { short, long, takes: Takes::Nothing, setting: None }
}

/// All options of a program. One that is not listed is skipped as one without a value.
pub(super) type Options = &'static [OptionSpec];

/// The option with this letter.
pub(super) fn by_short(options: Options, letter: char) -> Option<&'static OptionSpec> {
    options.iter().find(|option| option.short == Some(letter))
}

/// The option with this long name; a beginning is enough when only one option has it, as for argparse and
/// getopt.
pub(super) fn by_long(options: Options, name: &str) -> Option<&'static OptionSpec> {
    let exact = options.iter().find(|option| option.long.contains(&name));
    if exact.is_some() {
        return exact;
    }
    let mut candidates =
        options.iter().filter(|option| option.long.iter().any(|long| long.starts_with(name)));
    match (candidates.next(), candidates.next()) {
        (Some(option), None) => Some(option),
        _ => None,
    }
}

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Reported settings in the order given: name and value (`true` for flags).
    pub settings: Vec<(&'static str, String)>,
    /// Arguments that are no options and no values of any, the first few; often the application,
    /// `module:callable`.
    pub positional: Vec<String>,
}

impl Arguments {
    /// The value that counts: the last one given.
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

/// A program in a command line: a script, a module of Python (`python -m NAME`) or an executable, and its
/// arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program<'a> {
    /// Base name of the script or executable, or the whole name of the module.
    pub(super) name: &'a str,
    /// The program was started as `python -m NAME`.
    pub(super) is_module: bool,
    /// What follows.
    pub(super) arguments: &'a [String],
}

/// Which program a process runs; `None` where the interpreter runs no script (`python -c`).
pub(super) fn program(command_line: &[String]) -> Option<Program<'_>> {
    let first = base_name(command_line.first()?);
    let after = |index: usize| command_line.get(index..).unwrap_or_default();
    if !first.starts_with("python") && !first.starts_with("pypy") {
        return Some(Program { name: first, is_module: false, arguments: after(1) });
    }
    // The interpreter's own options come before the script; -W, -X and --check-hash-based-pycs take a value.
    let mut index = 1;
    while let Some(argument) = command_line.get(index) {
        match argument.as_str() {
            "-m" => {
                let name = command_line.get(index + 1)?;
                return Some(Program { name, is_module: true, arguments: after(index + 2) });
            }
            "-c" => return None,
            "-W" | "-X" | "--check-hash-based-pycs" => index += 2,
            option if option.starts_with('-') && option.len() > 1 => index += 1,
            script => {
                return Some(Program {
                    name: base_name(script),
                    is_module: false,
                    arguments: after(index + 1),
                });
            }
        }
    }
    None
}

/// The program of a process, if it is the module or one of the scripts that start a server.
pub(super) fn program_of<'a>(
    command_line: &'a [String],
    module: &str,
    scripts: &[&str],
) -> Option<Program<'a>> {
    program(command_line).filter(|found| {
        if found.is_module {
            found.name.strip_suffix(".__main__").unwrap_or(found.name) == module
        } else {
            scripts.contains(&found.name)
        }
    })
}

/// Last component of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads the arguments of a program.
pub(super) fn read(options: Options, arguments: &[String]) -> Arguments {
    let mut result = Arguments::default();
    let mut rest = arguments.iter().take(MAX_ARGUMENTS).map(String::as_str).peekable();
    let mut only_positional = false;
    while let Some(argument) = rest.next() {
        if only_positional || !argument.starts_with('-') || argument == "-" {
            if result.positional.len() < MAX_POSITIONAL {
                result.positional.push(argument.to_owned());
            }
        } else if argument == "--" {
            only_positional = true;
        } else if let Some(long) = argument.strip_prefix("--") {
            let (name, inline) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let option = by_long(options, name);
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
            read_short(options, &mut result, argument.trim_start_matches('-'), &mut rest);
        }
    }
    result
}

/// One group of short options: `w4`, `w=4`, `w` with the value following, `DRw4`.
fn read_short<'a>(
    options: Options,
    result: &mut Arguments,
    group: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
) {
    let mut letters = group.chars();
    while let Some(letter) = letters.next() {
        let option = by_short(options, letter);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn scripts_modules_and_executables_are_distinguished_from_their_interpreter() {
        let of = |line: &str| {
            let words = words(line);
            program(&words).map(|found| (found.name.to_owned(), found.is_module, found.arguments.len()))
        };
        assert_eq!(of("/v/bin/uwsgi --ini a.ini"), Some(("uwsgi".into(), false, 2)));
        assert_eq!(of("/v/bin/python3.11 -u -W error -m waitress a:b"), Some(("waitress".into(), true, 1)));
        assert_eq!(of("python /v/bin/waitress-serve a:b"), Some(("waitress-serve".into(), false, 1)));
        assert_eq!(of("python -c code"), None);
        assert_eq!(of("python"), None);
        assert_eq!(of(""), None);
    }

    proptest! {
        #[test]
        fn no_command_line_makes_it_panic(arguments in prop::collection::vec("(-{0,3}[a-zA-Z=\\-]{0,6}|.*)", 0..20)) {
            static OPTIONS: &[OptionSpec] = &[
                reported(Some('a'), &["all"], Takes::Value, "all"),
                flag(Some('b'), &["both"]),
                OptionSpec { short: None, long: &["c"], takes: Takes::Optional, setting: Some("c") },
            ];
            let _ = program(&arguments);
            let _ = read(OPTIONS, &arguments);
        }
    }
}
