//! Every seed of `fuzz/seeds` through the body of its target, with the compiler of everything else: what is
//! fuzzed cannot rot.
//!
//! In: `fuzz/seeds`, made by `cargo xtask record --seeds` and found by fuzzers. Out: a panic is a failure, as
//! is a target that a list lacks or that has no seed.

#![allow(clippy::expect_used, reason = "the helpers belong to tests: what fails in them fails the test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use profiler_core::fact::EndReason;
use profiler_core::fact::{Fact, FactRecord};
use profiler_core::stream::Item;
use wsgi_trace::recording::Recorder;
use wsgi_trace_test_support::hostile::{TARGETS, Target, mutate};
use wsgi_trace_test_support::{program, root};

/// Bytes of all seeds together.
const MAX_ALL_BYTES: usize = 1_000_000;
/// Records that are all alike, in the file that unpacks to much.
const RECORDS: u64 = 40_000;

fn seeds_of(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let place = root().join("fuzz/seeds").join(target.name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(place)
        .map(|entries| entries.map(|entry| entry.expect("an entry").path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a seed"))).collect()
}

#[test]
fn every_seed_passes_through_the_body_of_its_target() {
    for target in &TARGETS {
        for (path, bytes) in seeds_of(target) {
            // Where it panics, this says with what.
            eprintln!("{}", path.display());
            (target.body)(&bytes);
        }
    }
}

/// As the fuzzer changes them: frames keep right checksums, facts stay facts. `WSGI_TRACE_FUZZ_ROUNDS` makes
/// it long.
#[test]
fn seeds_that_were_changed_as_a_fuzzer_does_pass_too() {
    let kinds: [(&str, mutate::Mutator); 3] =
        [("report", mutate::recording), ("recording_reader", mutate::recording), ("items", mutate::framed)];
    let rounds = std::env::var("WSGI_TRACE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: u32 = rounds.unwrap_or(8);
    for (name, change) in kinds {
        let target = TARGETS.iter().find(|target| target.name == name).expect(name);
        for (path, original) in seeds_of(target) {
            let room = original.len() * 2;
            for seed in 0..rounds {
                let mut bytes = original.clone();
                bytes.resize(room, 0);
                let mut turn = |bytes: &mut [u8], size: usize, _: usize| {
                    let place = seed as usize * 7919 % size.max(1);
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 0x41);
                    size
                };
                let size = change(&mut bytes, original.len(), room, seed, &mut turn);
                eprintln!("{}, changed by {seed}", path.display());
                (target.body)(bytes.get(..size).unwrap_or_default());
            }
        }
    }
}

#[test]
fn every_target_is_built_runs_in_ci_and_has_seeds_that_are_small() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the manifest");
    let named: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| *name != "wsgi-trace-fuzz")
        .collect();
    let listed: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(named, listed, "fuzz/Cargo.toml and the list of bodies");
    let mut all_bytes = 0;
    for target in &TARGETS {
        let seeds = seeds_of(target);
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        all_bytes += seeds.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(all_bytes <= MAX_ALL_BYTES, "{all_bytes} bytes");
}

/// What LZ4 packs 255 to one, and the streams of a frame as much again, must not keep `report` busy or fill
/// the memory.
#[test]
fn a_small_file_that_unpacks_to_much_is_reported_in_little_memory_and_time() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("bomb.wtrace");
    let mut recorder = Recorder::create(&path, "test")?;
    recorder.record_fact(&FactRecord { time_ns: 1, fact: Fact::WindowStarted })?;
    let mut slice = [0_u8; 176];
    slice[0] = 1;
    for _ in 0..RECORDS {
        recorder.record(&Item::Kernel(&slice[..]))?;
    }
    recorder
        .record_fact(&FactRecord { time_ns: 2, fact: Fact::WindowEnded { reason: EndReason::Duration } })?;
    recorder.finish()?;
    let file_bytes = path.metadata()?.len();
    let unpacked_bytes = RECORDS * slice.len() as u64;
    anyhow::ensure!(unpacked_bytes > 255 * file_bytes, "{unpacked_bytes} of {file_bytes}: no bomb");
    let mut report = std::process::Command::new("bash");
    // Its own code and stacks are mapped too; the test build is large.
    report.args(["-c", "ulimit -v 600000; exec timeout 120 \"$0\" report \"$1\" --format json"]);
    let output = report.arg(program::wsgi_trace_binary()?).arg(&path).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
