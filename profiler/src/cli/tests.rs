//! What the command line accepts and refuses.

use super::*;
use clap::CommandFactory as _;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn refusal(line: &str) -> ErrorKind {
    parse(line).expect_err(line).kind()
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_line_that_people_remember_traces_one_process() {
    let cli = parse("wsgi-trace --pid 42").expect("parses");
    assert!(cli.command.is_none());
    assert_eq!(cli.trace.target.pid, Some(42));
    assert_eq!(cli.trace.watch.duration, None);
    assert_eq!(cli.trace.output.form().name, "text");
    assert_eq!(cli.trace.watch.hooks, Hooks::Auto);
}

#[test]
fn every_option_of_tracing_is_read() {
    let line = "wsgi-trace --port 8000 --duration 500ms --format timeline -o t --record r --hooks tracepoints \
                --quiet --color never";
    let trace = parse(line).expect("parses").trace;
    assert_eq!(trace.target.port.map(NonZeroU16::get), Some(8000));
    assert_eq!(trace.watch.duration, Some(Duration::from_millis(500)));
    assert_eq!(trace.output.form().name, "timeline");
    assert_eq!(trace.output.output, Some(PathBuf::from("t")));
    assert_eq!(trace.record, Some(PathBuf::from("r")));
    assert_eq!(trace.watch.hooks, Hooks::Tracepoints);
    assert!(trace.watch.quiet);
    assert_eq!(trace.output.color, Color::Never);
}

#[test]
fn every_length_of_time_takes_a_bare_number_of_seconds() {
    let trace = parse("wsgi-trace --pid 1 -d 30").expect("parses").trace;
    assert_eq!(trace.watch.duration, Some(Duration::from_secs(30)));
    for line in [
        "record --pid 1 -o f -d 30",
        "top --pid 1 --window 30",
        "whatif --pid 1 -d 60",
        "serve --pid 1 --window 60 --full-for 60 --full-pause 600 --parquet d --parquet-every 900",
    ] {
        assert!(parse(&format!("wsgi-trace {line}")).is_ok(), "{line}");
    }
    assert!(parse("wsgi-trace serve --pid 1 --full-when p99=500").is_err(), "500 what?");
}

#[test]
fn a_target_is_needed_once_and_only_where_something_is_traced() {
    assert_eq!(refusal("wsgi-trace --duration 3s"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("wsgi-trace record -o f"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("wsgi-trace record --pid 1"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refusal("wsgi-trace --pid 1 --port 2"), ErrorKind::ArgumentConflict);
    assert_eq!(refusal("wsgi-trace --pid 1 list"), ErrorKind::ArgumentConflict);
    for line in ["list", "list --format json", "doctor", "doctor --pid 3", "explain", "explain x", "report f"]
    {
        assert!(parse(&format!("wsgi-trace {line}")).is_ok(), "{line}");
    }
    assert!(parse("wsgi-trace record --name gunicorn -o f").is_ok());
}

#[test]
fn nonsense_is_refused_as_usage_with_the_documented_exit_code() {
    for line in
        ["--pid 0", "--pid x", "--port 0", "--port 70000", "--pid 1 --duration soon", "--pid 1 --format xml"]
    {
        let error = parse(&format!("wsgi-trace {line}")).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(exit::ExitCode::Usage.number()), "{line}");
    }
}

#[test]
fn help_shows_examples_and_all_exit_codes_within_the_width() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("Examples:"));
    for code in exit::ExitCode::ALL {
        assert!(help.contains(code.meaning()), "{code:?}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 110, "{line}");
    }
}

/// The root and every command, as built: `-h` and `--help` are then among their options.
fn commands() -> Vec<clap::Command> {
    let mut root = Cli::command();
    root.build();
    let subcommands: Vec<clap::Command> = root.get_subcommands().cloned().collect();
    std::iter::once(root).chain(subcommands).collect()
}

#[test]
fn short_help_fits_on_a_screen_of_40_lines_and_100_columns() {
    for command in commands() {
        let mut command = command.term_width(100);
        let help = command.render_help().to_string();
        let lines = help.lines().count();
        assert!(lines <= 40, "{}: {lines} lines\n{help}", command.get_name());
    }
}

#[test]
fn what_is_seldom_needed_is_under_advanced_and_not_in_short_help() {
    let advanced = ["hooks", "gil", "gil-single-step", "tls", "looks", "own", "otlp", "otlp-service"];
    let mut seen = 0;
    for mut command in commands() {
        let found = command.get_arguments().filter(|argument| !argument.is_hide_set());
        for argument in
            found.filter(|argument| argument.get_long().is_some_and(|long| advanced.contains(&long)))
        {
            assert_eq!(argument.get_help_heading(), Some(ADVANCED), "{}: {argument}", command.get_name());
            seen += 1;
        }
        let short = command.render_help().to_string();
        for option in advanced {
            assert!(!short.contains(&format!("--{option} ")), "{short}");
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn options_stand_before_headings_and_advanced_ones_last() {
    for name in ["wsgi-trace", "record", "report", "top", "serve"] {
        let mut command = commands().into_iter().find(|command| command.get_name() == name).expect(name);
        let help = command.render_long_help().to_string();
        let place = |heading: &str| help.find(&format!("\n{heading}:\n"));
        let last = place(ADVANCED).expect("has advanced options");
        assert!(place("Options").is_some_and(|options| options < last), "{help}");
        for other in [REPORT, help::FULL_TRACES, help::ROWS] {
            assert!(place(other).is_none_or(|heading| heading < last), "{name}: {other}");
        }
    }
}

#[test]
fn findings_to_fail_on_are_a_list_that_may_be_given_again_for_traces_and_reports() {
    use fail_on::Selector;
    let trace = parse("wsgi-trace --pid 1 --fail-on herd,cpu-bound --fail-on any").expect("parses").trace;
    assert_eq!(trace.fail_on.fail_on, [Selector::One("herd"), Selector::One("cpu-bound"), Selector::Any]);
    assert!(parse("wsgi-trace report f --fail-on any").is_ok());
    assert!(parse("wsgi-trace record --pid 1 -o f --fail-on any").is_err(), "a recording has no verdict");
}

#[test]
fn an_unknown_finding_is_refused_with_all_that_are_known_and_the_closest() {
    let error = parse("wsgi-trace report f --fail-on sleepin").expect_err("no such finding");
    let text = error.to_string();
    for rule in profiler_core::finding::RULES.iter().filter(|rule| rule.id != "healthy") {
        assert!(text.contains(rule.id), "{text}");
    }
    assert!(text.contains("any, ") && text.contains("similar value exists: 'sleeping'"), "{text}");
    // A server that is well is nothing to fail on.
    assert_eq!(refusal("wsgi-trace report f --fail-on healthy"), ErrorKind::InvalidValue);
    assert_eq!(refusal("wsgi-trace report f --fail-on herd,,any"), ErrorKind::InvalidValue);
}

#[test]
fn top_takes_a_server_or_a_recording_and_not_both() {
    assert_eq!(refusal("wsgi-trace top"), ErrorKind::MissingRequiredArgument);
    for line in
        ["--pid 1 file", "--pid 1 --port 2", "file --window 3s", "file --hooks btf", "--pid 1 --stopped"]
    {
        assert_eq!(refusal(&format!("wsgi-trace top {line}")), ErrorKind::ArgumentConflict, "{line}");
    }
    assert_eq!(refusal("wsgi-trace top --pid 1 --format json"), ErrorKind::MissingRequiredArgument);
    let Some(Command::Top(top)) = parse("wsgi-trace top --name gunicorn").expect("parses").command else {
        panic!("not top")
    };
    assert_eq!(top.window, Duration::from_secs(30));
}

#[test]
fn what_the_guide_says_of_top_is_understood() {
    let mut seen = 0;
    for page in [include_str!("../../../README.md"), include_str!("../../../docs/top.md")] {
        for block in page.split("```sh terminal\n").skip(1) {
            let (commands, _) = block.split_once("```").expect("a block ends");
            for line in commands.lines() {
                let command = line.split('#').next().unwrap_or_default().trim_start_matches("sudo ");
                assert!(
                    parse(command).is_ok_and(|cli| matches!(cli.command, Some(Command::Top(_)))),
                    "{line}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}
