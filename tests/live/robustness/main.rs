//! What goes wrong from outside: bad input, bad output, sudden ends, hostile targets.
//!
//! In: nothing. Out: verdicts. Each failure is one clear sentence with a documented exit code; nothing stays
//! attached and nothing recorded is lost.

#![allow(clippy::panic, reason = "the helpers belong to tests: what fails in them fails the test")]

mod awake;
mod bad_output;
mod bad_recording;
mod bad_target;
mod container;
mod end_of_run;
mod full_ring;
mod gil_input;
mod gil_probes;
mod hostile_target;
mod isolated;
mod killed_profiler;
mod privileges;
mod pypy;
mod said;
mod tls_probes;
mod two_profilers;
mod unit;
