//! What can be hooked: the kernel programs, the place of each ([`table`]), their stacks ([`stack`]), and what
//! names some of these places ([`tracefs`]) and by what they are hooked ([`perf`]).
//!
//! In: nothing. Out: constants, and a look at the file system. What this kernel has of them is a question of
//! [`crate::capability`], what is attached one of [`crate::attach`].

pub mod perf;
pub mod stack;
pub mod table;
pub mod tracefs;

/// The kernel programs, as `build.rs` made them.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));

/// How system calls are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// Chosen by how much of the machine's load is the target's.
    #[default]
    Auto,
    /// Two programs see every system call of the machine: cheapest for the target, attached and detached at
    /// once.
    Btf,
    /// Each observed call is hooked by itself: other processes of a shared host pay a third.
    Tracepoints,
    /// Light mode: no system call is hooked.
    Light,
}
