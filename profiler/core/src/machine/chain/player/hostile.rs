//! Streams that no server gives.
//!
//! In: numbers of streams. Out: nothing; a law that does not hold fails with the stream's number.
