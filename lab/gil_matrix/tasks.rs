//! Which task a loop's thread works for, and until when tasks sleep, on every interpreter that is found: the
//! places in a thread's state and in a loop are each version's own.
//!
//! In: interpreters. Out: verdicts.

use wsgi_trace_test_support::gate::exclusive;
use wsgi_trace_test_support::late_timers;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::task_names::{Told, Work, compare};

use crate::interpreters::{self, Interpreter};

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn every_call_is_its_tasks_on_every_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut wrong = Vec::new();
    for interpreter in interpreters::found().into_iter().filter(Interpreter::has_ctypes) {
        for kind in ["asyncio", "threads"] {
            // Stacks of frames that can be distinguished from one another are there from 3.11 on.
            if kind == "threads" && ["3.8", "3.9", "3.10"].iter().any(|old| interpreter.is(old)) {
                continue;
            }
            for threads in [0, 2] {
                let work = Work { kind, tasks: 8, rounds: 60, threads };
                let told = compare(interpreter.command(), work)?;
                eprintln!("  {}, {kind}, {threads} threads beside: {told:?}", interpreter.name);
                let Told { right, before, .. } = told;
                if told != (Told { records: told.records, right, before, ..Told::default() })
                    || right + before != 2 * work.tasks * work.rounds
                    || right < work.tasks * work.rounds
                {
                    wrong.push((interpreter.name.clone(), kind, threads, told));
                }
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

#[test]
#[ignore = "make gil-matrix: needs the interpreters"]
fn timers_are_those_of_the_tasks_that_slept_on_every_interpreter() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _alone = exclusive()?;
    let mut wrong = Vec::new();
    for interpreter in interpreters::found().into_iter().filter(Interpreter::has_ctypes) {
        if ["3.14", "3.15"].iter().any(|newer| interpreter.is(newer)) {
            eprintln!("  {}: left out, as its timers are not read", interpreter.name);
            continue;
        }
        let told = late_timers::compare(interpreter.command());
        eprintln!("  {}: {told:?}", interpreter.name);
        if !told.as_ref().is_ok_and(|told| told.wrong == 0 && told.missed * 10 <= told.late && told.late > 10)
        {
            wrong.push((interpreter.name.clone(), told));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
