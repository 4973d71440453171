//! The payload of `make kernels`: init of an emulated machine, and the checks that run there.
//!
//! In: `EXPECT` (`tracing` or `refusal`), the program at `/wsgi-trace`. Out: a line for each check on the console, and
//! `PAYLOAD-EXIT 0` when all passed. As an ordinary process it runs the same checks on this machine's kernel.

mod machine;
mod toy;

use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("toy") {
        return toy::serve();
    }
    let init = std::process::id() == 1;
    if init {
        machine::prepare();
    }
    println!("\nPAYLOAD-START");
    println!("kernel {}", machine::kernel_release());
    let passed = check("a toy server answers", toy_answers());
    println!("PAYLOAD-EXIT {}", i32::from(!passed));
    if init {
        machine::power_off();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line for one check.
fn check(what: &str, outcome: anyhow::Result<()>) -> bool {
    match &outcome {
        Ok(()) => println!("PASS {what}"),
        Err(error) => println!("FAIL {what}: {error:#}"),
    }
    outcome.is_ok()
}

fn toy_answers() -> anyhow::Result<()> {
    let toy = toy::Toy::start()?;
    toy.drive(10).with_context(|| format!("process {}", toy.pid()))
}
