//! The report for people.
//!
//! In: a snapshot and its findings. Out: text.
