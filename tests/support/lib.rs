//! What replay and live tests share: servers, clients, gates.
//!
//! In: nothing. Out: helpers for the test files beside this directory.
