//! What goes over a client's connection: messages, requests in flight, signs of an end.
//!
//! In: bytes that calls moved. Out: connections with their requests.

pub mod connection;
pub(crate) mod ending;
pub mod http1;
pub mod kept;
pub mod light_socket;
pub mod origin;
pub mod plaintext;
pub mod request;
pub(crate) mod signs;
pub mod state;
pub mod tail;
pub mod trail;
