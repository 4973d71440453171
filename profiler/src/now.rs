//! `wsgi-trace now`: where each thread of a server is at this moment, with its request and its line.
//!
//! In: a server that runs. Out: a [`Moment`](moment::Moment), as text or JSON. It watches for two seconds
//! as a trace does, with the same looks, and keeps of them what is true at their end. So it needs no request
//! to begin or to end: a server that hung before is shown as well.

pub mod json;
pub mod looked;
pub mod moment;
pub mod text;
pub mod watch;

#[cfg(test)]
mod tests;
