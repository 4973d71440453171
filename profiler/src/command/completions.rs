//! `wsgi-trace completions SHELL`: what a shell needs to complete commands, options and ids of findings.
//!
//! In: a shell. Out: its script; a pure function of the command line's definition.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;

/// The script.
pub fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wsgi-trace", &mut bytes);
    let script = String::from_utf8_lossy(&bytes).into_owned();
    // clap_complete 4.6 spells a hyphen in the program's name in two ways (clap-rs/clap#6421), so that bash
    // completes nothing after a subcommand. Once that is mended, nothing is replaced here.
    script.replace("wsgi__subcmd__trace", "wsgi__trace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_commands_and_ids_of_findings() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in ["record", "explain", "fail-on", "sleeping", "ndjson"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn bash_completes_after_a_subcommand() {
        let ask = "COMP_WORDS=(wsgi-trace report --fail-on sleep); COMP_CWORD=3
            $(complete -p wsgi-trace | sed 's/.*-F \\([^ ]*\\).*/\\1/') wsgi-trace sleep --fail-on
            printf '%s' \"${COMPREPLY[@]}\"";
        let bash =
            std::process::Command::new("bash").arg("-c").arg(script(Shell::Bash) + ask).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&bash.stdout), "sleeping", "{bash:?}");
    }
}
