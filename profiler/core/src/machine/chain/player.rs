//! A server without a kernel, for tests: it plays a random schedule and knows at each moment what every
//! request waits for.
//!
//! In: the number of a schedule. Out: what the chain stage would be told of it, and the truth. The truth asks
//! moment by moment who blocks a request and what that one does; it knows nothing of histories, and shares
//! no code with the walk.

mod doing;
mod hostile;
mod laws;
mod plan;
mod random;
mod script;
mod serve;
mod told;
mod truth;
mod world;
