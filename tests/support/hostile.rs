//! What reads bytes that nobody vouches for, each as a body that a fuzzer calls: `fuzz/` runs them, and
//! `fuzz_seeds` replays all seeds through them in every test run.
//!
//! In: bytes. Out: nothing; a body panics where the product breaks a promise.

pub mod decode;
pub mod diff;
pub mod http;
pub mod items;
pub mod mutate;
pub mod otlp;
pub mod packet;
pub mod pipeline;
pub mod recording_reader;
pub mod redact;
pub mod report;
pub mod seeds;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also of its directory under `fuzz/seeds`.
    pub name: &'static str,
    /// Takes one input.
    pub body: fn(&[u8]),
}

/// All, as `fuzz/Cargo.toml` names them.
pub const TARGETS: [Target; 11] = [
    Target { name: "decode", body: decode::body },
    Target { name: "diff", body: diff::body },
    Target { name: "http", body: http::body },
    Target { name: "interpreter", body: wsgi_trace::fact::python::read_hostile },
    Target { name: "items", body: items::body },
    Target { name: "otlp", body: otlp::body },
    Target { name: "packet", body: packet::body },
    Target { name: "pipeline", body: pipeline::body },
    Target { name: "recording_reader", body: recording_reader::body },
    Target { name: "redact", body: redact::body },
    Target { name: "report", body: report::body },
];
