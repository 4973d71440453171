//! Commands of the guide that watch a server: typed in, one after the other, at a real gunicorn, those with a
//! screen at a terminal.
//!
//! In: blocks of `sh live` and `sh terminal`, and of `console` those lines that begin with `$`. Out:
//! verdicts. Numbers of processes and ports are those of the server, and what watches for long watches for a
//! moment; `serve` runs to the end of its page, on a free port.

use wsgi_trace_test_support::address::Address;
use wsgi_trace_test_support::agent::Agent;
use wsgi_trace_test_support::gate;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::require_bpf;

use crate::page::{self, Block};
use crate::shell::Shell;

/// The window of a command that gives one.
const DURATION: &str = "300ms";

/// Where `serve` listens when nothing else is said.
const AGENT: &str = "127.0.0.1:9750";

/// The command lines of a block that need a server.
fn commands(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    match block.language.as_str() {
        "sh" if block.is("sh", "live") || block.is("sh", "terminal") => {
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
        "console" => lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The line with this server's numbers.
fn aimed(line: &str, pid: &str, port: &str, name: &str) -> String {
    let mut words = Vec::new();
    let mut option = "";
    for word in line.split_whitespace() {
        words.push(match option {
            "--pid" => pid.to_owned(),
            "--port" => port.to_owned(),
            "--name" => name.to_owned(),
            "--duration" => DURATION.to_owned(),
            _ => word.replace("127.0.0.1:8000", &format!("127.0.0.1:{port}")),
        });
        option = word;
    }
    words.join(" ")
}

/// The pages of which `wanted` holds, with their commands at a server.
fn pages_at_a_server(server: &str, wanted: fn(&str) -> bool) -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = gate::shared()?;
    // A name that no other server of this machine has, so that `--name` finds one.
    let name = format!("{server}-{}", std::process::id());
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 2).with(&["--name", &name]))?;
    let pid = server.master().to_string();
    let Address::Tcp(address) = server.address() else { anyhow::bail!("not on TCP") };
    let port = address.rsplit(':').next().unwrap_or_default();
    let (mut run, mut wrong) = (0, Vec::new());
    for page in page::all()?.iter().filter(|page| wanted(&page.path.to_string_lossy())) {
        let shell = Shell::new(&page.recordings())?;
        let mut agent: Option<Agent> = None;
        for (block, line) in
            page.blocks.iter().flat_map(|block| commands(block).into_iter().map(move |c| (block, c)))
        {
            let mut line = aimed(&line, &pid, port, &name);
            if let Some(options) = line.trim_start_matches("sudo ").strip_prefix("wsgi-trace serve") {
                let options: Vec<&str> = options.split_whitespace().collect();
                let begun = Agent::start_as(&options, |command| {
                    command.current_dir(shell.place());
                })?;
                begun.wait_for_state("watching")?;
                agent = Some(begun);
                run += 1;
                continue;
            }
            if let Some(agent) = &agent {
                line = line.replace(AGENT, agent.address());
            }
            if let Some(program) = shell.missing(&line) {
                gate::note_skip(&format!("needs {program}"));
                continue;
            }
            let outcome = if block.is("sh", "terminal") {
                shell.type_at_a_terminal(&line)
            } else {
                shell.type_in(&line)
            }?;
            run += 1;
            if !outcome.status.success() {
                let place = format!("{}:{}", page.path.display(), block.line);
                wrong.push(format!("{place}: `{line}`: {}\n{}", outcome.status, outcome.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run > 0, "no command was found");
    Ok(())
}

#[test]
fn every_command_of_the_readme_works_on_a_real_server() -> anyhow::Result<()> {
    pages_at_a_server("readme", |path| path == "README.md")
}

#[test]
#[ignore = "make live: every other page"]
fn every_command_of_the_guide_works_on_a_real_server() -> anyhow::Result<()> {
    pages_at_a_server("guide", |path| path != "README.md")
}

#[test]
fn a_command_is_aimed_at_the_server_of_the_test() {
    let line = "sudo wsgi-trace record --port 8000 --duration 1m -o incident.wtrace";
    let aimed = aimed(line, "7", "9", "x");
    assert_eq!(aimed, "sudo wsgi-trace record --port 9 --duration 300ms -o incident.wtrace");
}
