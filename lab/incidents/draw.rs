//! What is drawn.
//!
//! In: a source of random numbers. Out: one of several values, names.

use fastrand::Rng;

/// A name of six letters.
pub(crate) fn word(rng: &mut Rng) -> String {
    (0..6).map(|_| rng.lowercase()).collect()
}

/// One of these, each as likely.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, otherwise: T, all: &[T]) -> T {
    rng.choice(all).copied().unwrap_or(otherwise)
}
