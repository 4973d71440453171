//! Chores of the workspace, called by the Makefile.
//!
//! In: a chore's name. Out: its effect, and exit code 1 with one sentence where it fails.

mod architecture;
mod bench;
mod book;
mod check;
mod command;
mod compare;
mod count;
mod demo;
mod dist;
mod emulator;
mod fleet;
mod fuzz;
mod kernels;
mod lab;
mod live;
mod nightly;
mod packages;
mod page;
mod pictures;
mod pins;
mod record;
mod rules;
mod screenshots;
mod soak;
mod summary;
mod test;
mod tidy;
mod unit;
mod watched;

use std::process::ExitCode;

const USAGE: &str = "cargo xtask CHORE

  check     format, lints of user space and BPF, documentation, and tidy
  tidy      tests of the tree itself
  test      all tests but the lab's; live ones where root and BPF allow
  test-lab  unit tests of the lab
  demo      a real gunicorn under load, traced
  fleet     many hosts and days, asked by DuckDB and by Spark, row by row (duckdb: by it alone); hosts, days, copies as arguments
  fuzz      every fuzz target for a minute; targets, --seconds N as arguments
  record    the recordings of tests/recordings, taken again; names of scenarios as arguments, --show only shows, --scrub scrubs again
  rules     what each rule that infers brings, on every event loop; names of servers as arguments, --again reads the recordings of before
  compare   all that replays of the recordings give now, beside what they gave at a commit (none: the last), in full
  count     lines of code by folder, tests and words of documentation; --at COMMIT counts those of a commit
  bench     what it costs, beside empty programs and other tools; parts as arguments, --quick for a short look
  check-bench  the instructions of the hot path against their baseline
  book      the guide as a book, its links checked
  dist      static programs, wheels, .debs, .rpms, container images and lists of parts, under target/dist; names of architectures, --twice (both builds are to be the same) as arguments
  image     this machine's static program and its container image alone, under target/dist
  dist-test the same as dist, each installed into a clean place and run
  live      every live test, the long ones too, on a machine that does nothing else
  gil-matrix  waits for the interpreter lock against another program's probes, on every interpreter found; names of some as arguments
  thousand-clients  a thousand clients at once at every kind of server, with few descriptors and many; a part of a setup's name as argument
  live-all  every server that is named, traced and compared with its own log; names of tests as arguments
  bottlenecks  what limits each server on each workload; --servers, --workloads, --minutes, --list, --debug as arguments
  advice    advice applied to real servers, and what became of the finding; names of trials, --list, --debug as arguments
  mixes     advice applied under random mixes of servers, settings and loads, and healthy twins; --runs, --seed, --servers, --mirror, --list, --debug as arguments
  incidents leaves of chains beside the truth, under incidents composed by seed; --runs, --seed, --mode, --leaf, --fixed, --keep, --again, --list, --debug as arguments
  whatif    forecasts beside the real change; --subjects, --workloads, --loads, --seconds, --runs, --resume, --itself, --judge, --publish, --keep, --list, --debug as arguments
  nightly   everything that no change waits for, with a table at the end; names of chores as arguments
  soak      the profiler killed a hundred times under load
  page      the pages of the recordings, in a headless browser
  kernels   the programs on other kernels, in emulation; names of boots as arguments, --update accepts what they attach
  unit      the packaged systemd unit, in emulated Debian machines; names of releases as arguments";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match chore.as_str() {
        "bench" => bench::run(&rest),
        "check-bench" => bench::check(),
        "book" => book::run(),
        "check" => check::run(),
        "compare" => compare::run(&rest),
        "count" => count::run(&rest),
        "tidy" => tidy::run(),
        "demo" => demo::run(),
        "dist" => dist::run(&rest),
        "image" => dist::only_image(),
        "dist-test" => dist::test(),
        "fleet" => fleet::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "record" => record::run(&rest),
        "kernels" => kernels::run(&rest),
        "gil-matrix" => live::gil_matrix(&rest),
        "bottlenecks" => lab::run("bottlenecks", &rest),
        "advice" => lab::run("advice", &rest),
        "mixes" => lab::run("mixes", &rest),
        "incidents" => lab::run("incidents", &rest),
        "whatif" => lab::run("whatif", &rest),
        "rules" => rules::run(&rest),
        "live" => live::run(&rest),
        "nightly" => nightly::run(&rest),
        "live-all" => live::run_all(&rest),
        "thousand-clients" => live::thousand_clients(&rest),
        "page" => page::run(),
        "screenshots" => screenshots::run(),
        "soak" => soak::run(),
        "test" => test::run(&rest),
        "test-lab" => lab::test(),
        "unit" => unit::run(&rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {chore}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
