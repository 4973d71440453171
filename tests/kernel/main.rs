//! The payload of `make kernels`: init of an emulated machine, and the checks that run there.
//!
//! In: `EXPECT` (`tracing`, `refusal` or `privileges`), `WSGI_TRACE_BINARY`; where there are such, `PYTHON`
//! and `APP` (a real gunicorn), `THIRTY_TWO` (a 32-bit program), `RECORDINGS` (recordings of another
//! machine), `PREEMPT`, `LOCKDOWN`, `UNPRIVILEGED_BPF`. Out: a line for each check on the console, what was
//! attached, and `PAYLOAD-EXIT 0` when all passed. As an ordinary process it runs the same checks on this
//! machine's kernel.

mod accepts;
mod attached;
mod checks;
mod known;
mod load;
mod machine;
mod overflow;
mod preempt;
mod privileges;
mod program;
mod real;
mod recordings;
mod server;
mod servers;
mod serving;
mod thirty_two;
mod toy;

use std::process::ExitCode;

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
    let checks = match std::env::var("EXPECT").as_deref() {
        Ok("refusal") => checks::refusal(),
        Ok("privileges") => privileges::checks(),
        _ => checks::tracing().into_iter().chain(servers::checks()).collect(),
    };
    let mut passed = true;
    for (what, verdict) in checks {
        match verdict {
            Ok(()) => println!("PASS {what}"),
            Err(error) => {
                passed = false;
                println!("FAIL {what}: {error:#}");
            }
        }
    }
    attached::print();
    println!("PAYLOAD-EXIT {}", i32::from(!passed));
    if init {
        machine::power_off();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
