//! Test programs under watch: the run ends, whatever a test does, and leaves no process behind.
//!
//! In: `cargo test` commands, and how long no test may end. Out: their lines as they come, and how they
//! ended. Where nothing ends for that long, each process below is shown with what its threads wait for, the
//! test program is ended, and the others go on. What outlives the run is named, ended, and a failure.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::slice;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};

/// How long no test of `make test` may end: some hundred times what one takes.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);
/// How long no test may end of those that are known to take minutes.
pub(crate) const SILENCE_OF_LONG_TESTS: Duration = Duration::from_secs(900);

/// How often processes are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long what is left may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Every command said so.
    passed: bool,
    /// What was wrong beside failing tests, a sentence each.
    problems: Vec<String>,
}

impl Ended {
    /// Success, or one sentence for each thing that went wrong.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for problem in &self.problems {
            println!("Failed: {problem}");
        }
        if !self.passed || !self.problems.is_empty() {
            bail!("the tests did not pass");
        }
        Ok(())
    }
}

/// Runs `tests` to its end; `each` gets every line of its standard output.
pub(crate) fn run(
    tests: &mut Command,
    silence: Duration,
    mut each: impl FnMut(&str),
) -> anyhow::Result<Ended> {
    run_beside(slice::from_mut(tests), silence, |_, line| each(line))
}

/// Runs several test commands at once to their end; `each` gets the number of the command with its line.
pub(crate) fn run_beside(
    commands: &mut [Command],
    silence: Duration,
    mut each: impl FnMut(usize, &str),
) -> anyhow::Result<Ended> {
    // Orphans of a test program become ours, so that they are found.
    set_child_subreaper(Pid::from_raw(1)).context("not to be made the parent of orphans")?;
    let (sender, lines) = mpsc::channel();
    let mut children = Vec::new();
    for (number, tests) in commands.iter_mut().enumerate() {
        let mut child = tests.stdout(Stdio::piped()).spawn().context("the tests could not be started")?;
        send_lines(&mut child, number, sender.clone())?;
        children.push((child, None));
    }
    drop(sender);
    let mut problems = Vec::new();
    let mut slow = BTreeSet::new();
    let mut last = Instant::now();
    let mut silences = 0;
    loop {
        match lines.recv_timeout(LOOK) {
            Ok((number, line)) => {
                // Not shown: most tests that take as long wait for their turn.
                match line.strip_suffix(" has been running for over 60 seconds") {
                    Some(name) => _ = slow.insert(name.trim_start_matches("test ").to_owned()),
                    None => {
                        each(number, &line);
                        last = Instant::now();
                        silences = 0;
                    }
                }
                if let Some((name, _)) = line.split_once(" ... ") {
                    slow.remove(name.trim_start_matches("test "));
                }
            }
            // A process that outlives the run may hold its output open.
            Err(RecvTimeoutError::Timeout) => {
                for (child, status) in &mut children {
                    if status.is_none() {
                        *status = child.try_wait()?;
                    }
                }
                if children.iter().all(|(_, status)| status.is_some()) {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                for (child, status) in &mut children {
                    *status = Some(child.wait()?);
                }
                break;
            }
        }
        if last.elapsed() > silence {
            let running: Vec<String> = std::mem::take(&mut slow).into_iter().collect();
            let seconds = silence.as_secs();
            problems.push(format!("no test ended within {seconds} s; running: {}", running.join(", ")));
            let below: Vec<Process> = children.iter().flat_map(|(child, _)| below(child.id())).collect();
            show(&below);
            silences += 1;
            if silences > 2 {
                bail!("what runs below does not end even when it is killed");
            }
            end(&below);
            last = Instant::now();
        }
    }
    let left = left_behind();
    for process in &left {
        problems.push(format!("left behind: {}", process.command));
    }
    show(&left);
    end(&left);
    while let Ok((number, line)) = lines.recv_timeout(LOOK) {
        each(number, &line);
    }
    let passed = children.iter().all(|(_, status)| status.is_some_and(|status| status.success()));
    Ok(Ended { passed, problems })
}

/// Sends each line of a child's standard output with its number.
fn send_lines(child: &mut Child, number: usize, sender: Sender<(usize, String)>) -> anyhow::Result<()> {
    let output = child.stdout.take().context("the tests have no output")?;
    std::thread::spawn(move || {
        // Not UTF-8: shown with marks in its place.
        for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send((number, String::from_utf8_lossy(&bytes).into_owned())).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// A process, as it was found.
#[derive(Clone, Debug)]
struct Process {
    pid: i32,
    parent: i32,
    state: char,
    command: String,
}

/// Every process of the machine that can be read.
fn processes() -> Vec<Process> {
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter_map(|process| {
        let stat = process.stat().ok()?;
        let command = process.cmdline().unwrap_or_default().join(" ");
        let command = if command.is_empty() { stat.comm } else { command };
        Some(Process { pid: stat.pid, parent: stat.ppid, state: stat.state, command })
    })
    .collect()
}

/// All descendants of a process that still run, parents first.
fn below(pid: u32) -> Vec<Process> {
    let all = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut parents: Vec<i32> = i32::try_from(pid).into_iter().collect();
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent && process.state != 'Z') {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// What still runs below this process, once it has had time to end.
fn left_behind() -> Vec<Process> {
    let start = Instant::now();
    loop {
        let left = below(std::process::id());
        if left.is_empty() || start.elapsed() > GRACE {
            return left;
        }
        std::thread::sleep(LOOK);
    }
}

/// What each thread of these processes waits for.
fn show(processes: &[Process]) {
    for Process { pid, parent, state, command } in processes {
        println!("process {pid} of {parent}, {state}: {command}");
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads.map(|entry| entry.path()) {
            let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
            let stack = read("stack");
            let stack: Vec<&str> = stack.lines().filter_map(|line| line.split(' ').nth(1)).collect();
            println!(
                "  thread {}: {}, in {}, call {}, {}",
                thread.file_name().unwrap_or_default().to_string_lossy(),
                read("comm").trim(),
                read("wchan").trim(),
                read("syscall").trim(),
                stack.join(" < ")
            );
        }
    }
}

fn end(processes: &[Process]) {
    for process in processes {
        // It may have ended since.
        let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, Signal::KILL));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Whatever runs below this process is taken for the run's.
    static ONE_RUN: Mutex<()> = Mutex::new(());

    fn run_script(script: &str, silence: Duration) -> (Ended, Vec<String>) {
        let _turn = ONE_RUN.lock().unwrap();
        let mut lines = Vec::new();
        let mut shell = Command::new("sh");
        let ended = run(shell.args(["-c", script]), silence, |line| lines.push(line.to_owned())).unwrap();
        (ended, lines)
    }

    #[test]
    fn a_test_program_that_hangs_is_ended_and_named_and_the_next_one_runs() {
        const SCRIPT: &str =
            "echo 'test slow has been running for over 60 seconds'; sleep 600; echo next; exit 1";
        let (ended, lines) = run_script(SCRIPT, Duration::from_millis(500));
        assert_eq!(lines, ["next"]);
        assert_eq!(ended.problems, ["no test ended within 0 s; running: slow"]);
        assert!(ended.check().is_err());
    }

    #[test]
    fn what_outlives_the_run_and_holds_its_output_is_a_failure_and_ended() {
        let (ended, lines) = run_script("sleep 601 & echo $!", SILENCE);
        let [pid] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(ended.problems, ["left behind: sleep 601"]);
        let is_gone = |state: &str| state.is_empty() || state.contains(") Z");
        while !is_gone(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()) {
            std::thread::sleep(LOOK);
        }
        assert!(ended.check().is_err());
    }

    #[test]
    fn of_commands_beside_each_other_each_line_has_its_number_and_one_that_fails_fails_the_run() {
        let _turn = ONE_RUN.lock().unwrap();
        for (script, passes) in [("echo two", true), ("echo two; exit 1", false)] {
            let mut commands = [Command::new("sh"), Command::new("sh")];
            for (shell, script) in commands.iter_mut().zip(["sleep 0.3; echo one", script]) {
                shell.args(["-c", script]);
            }
            let mut lines = Vec::new();
            let ended =
                run_beside(&mut commands, SILENCE, |number, line| lines.push((number, line.to_owned())));
            assert_eq!(ended.unwrap().check().is_ok(), passes);
            assert_eq!(lines, [(1, "two".to_owned()), (0, "one".to_owned())]);
        }
    }

    #[test]
    fn a_run_that_ends_well_is_a_success_with_all_its_lines() {
        let (ended, lines) = run_script("echo 'test a ... ok'; printf 'last'", SILENCE);
        assert_eq!(lines, ["test a ... ok", "last"]);
        assert!(ended.check().is_ok());
    }
}
