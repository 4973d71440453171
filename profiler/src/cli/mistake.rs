//! What the command line does not understand, with what was probably meant.
//!
//! In: arguments. Out: [`Cli`], or clap's error with a line that can be typed instead.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::Cli;

/// Least likeness (Jaro) of a word to a command that is offered for it. That of `watch` to `whatif` is 0.70,
/// that of two swapped letters 0.9 and more.
const MIN_LIKENESS: f64 = 0.8;

/// What ends the name of a recording.
const RECORDING: &str = ".wtrace";

/// Reads the command line; help and version count as errors, as clap has it.
///
/// # Errors
/// clap's, which knows its exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    Cli::try_parse_from(&arguments).map_err(|error| with_tip(error, &arguments))
}

fn with_tip(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let word = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        // The second is a word behind an option of tracing.
        (ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict, Some(ContextValue::String(word))) => {
            Some(word.clone())
        }
        _ => None,
    };
    if let Some(word) = word.filter(|word| Cli::command().find_subcommand(word).is_none()) {
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::Suggested);
        match closest_command(&word) {
            Some(command) => {
                error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(command));
            }
            None => tip(&mut error, &instead(&word, "wsgi-trace ")),
        }
        return error;
    }
    let word = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) if !word.starts_with('-') => {
            Some(word.clone())
        }
        _ => None,
    };
    if let Some(word) = word.filter(|_| traces(arguments)) {
        tip(&mut error, &instead(&word, ""));
    }
    error
}

/// A file, unless its name is a mere number and there is none: then a process is meant.
pub(super) fn no_process(file: PathBuf) -> Result<PathBuf, String> {
    match file.to_str() {
        Some(word) if is_number(word) && !file.exists() => {
            Err(format!("there is no such file; {}", instead(word, "")))
        }
        _ => Ok(file),
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|letter| letter.is_ascii_digit())
}

/// What to write in place of a word that stands where no word may stand.
fn instead(word: &str, command: &str) -> String {
    if is_number(word) {
        format!("to trace process {word}, write '{command}--pid {word}'")
    } else if word.ends_with(RECORDING) {
        format!("to report on this recording, write 'wsgi-trace report {word}'")
    } else {
        format!("to trace the server called {word}, write '{command}--name {word}'")
    }
}

fn tip(error: &mut clap::Error, text: &str) {
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(text.to_owned())]));
}

/// The command that the word is probably meant to be.
fn closest_command(word: &str) -> Option<String> {
    let command = Cli::command();
    let likeness = |name: &str| strsim::jaro(word, name);
    let names = command.get_subcommands().map(clap::Command::get_name);
    let closest = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(closest) >= MIN_LIKENESS).then(|| closest.to_owned())
}

/// Whether the command that the arguments begin with takes a server.
fn traces(arguments: &[OsString]) -> bool {
    let root = Cli::command();
    let named = arguments.get(1).and_then(|first| root.find_subcommand(first.to_str()?));
    named.unwrap_or(&root).get_arguments().any(|argument| argument.get_id() == "pid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::ExitCode;

    fn refusal(line: &str) -> String {
        let error = parse(line.split_whitespace().map(OsString::from)).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(ExitCode::Usage.number()), "{line}");
        error.to_string()
    }

    #[test]
    fn a_bare_process_or_name_is_told_its_option() {
        for (line, tip) in [
            ("wsgi-trace 4242", "to trace process 4242, write 'wsgi-trace --pid 4242'"),
            (
                "wsgi-trace gunicorn",
                "to trace the server called gunicorn, write 'wsgi-trace --name gunicorn'",
            ),
            ("wsgi-trace record 4242 -o f", "to trace process 4242, write '--pid 4242'"),
            ("wsgi-trace serve gunicorn", "to trace the server called gunicorn, write '--name gunicorn'"),
            ("wsgi-trace --duration 30 4242", "to trace process 4242, write"),
            ("wsgi-trace top 4242", "there is no such file; to trace process 4242, write '--pid 4242'"),
            ("wsgi-trace whatif 4242", "there is no such file; to trace process 4242, write '--pid 4242'"),
            ("wsgi-trace incident.wtrace", "write 'wsgi-trace report incident.wtrace'"),
        ] {
            assert!(refusal(line).contains(tip), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn a_path_is_a_file_even_if_its_last_part_is_a_number() {
        for file in ["./4242", "4242.wtrace"] {
            parse(["wsgi-trace", "top", file].map(OsString::from)).expect(file);
        }
    }

    #[test]
    fn only_a_command_that_is_spelled_nearly_so_is_offered() {
        for (word, command) in [("reprot", "report"), ("lsit", "list"), ("server", "serve")] {
            let said = refusal(&format!("wsgi-trace {word}"));
            assert!(said.contains(&format!("a similar subcommand exists: '{command}'")), "{said}");
        }
        for word in ["watch", "gunicorn", "4242", "monitor", "whatsapp"] {
            let said = refusal(&format!("wsgi-trace {word}"));
            assert!(!said.contains("similar subcommand"), "{said}");
        }
    }

    #[test]
    fn a_word_too_many_for_a_command_without_a_server_gets_no_such_tip() {
        for line in ["wsgi-trace explain herd 4242", "wsgi-trace report f 4242"] {
            assert!(!refusal(line).contains("to trace"), "{line}: {}", refusal(line));
        }
    }
}
