//! Where in the kernel a sleeping thread is.
//!
//! In: `/proc/PID/task/TID/stack`, or without the right to that, `wchan`. Out: names of functions, the
//! innermost first. The scheduler's own are not among them, and locks count as such.

use std::path::Path;

use super::MAX_BYTES;
use crate::fact::read;

/// Functions kept.
const MAX_FUNCTIONS: usize = 64;

/// The functions of a thread's stack; empty: it may not be read.
pub(super) fn stack(stack: &Path, wchan: &Path) -> Vec<String> {
    let found = read::text(stack, MAX_BYTES).map(|text| functions(&text)).unwrap_or_default();
    if !found.is_empty() {
        return found;
    }
    let waits_in = read::text(wchan, MAX_BYTES).unwrap_or_default();
    let name = base(waits_in.trim());
    // `0`: it runs, or that may not be read.
    if name.is_empty() || name == "0" { Vec::new() } else { vec![name.to_owned()] }
}

/// `[<0>] anon_pipe_read+0x366/0x410`, one a line, perhaps with ` [module]` behind it.
fn functions(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, function) = line.split_once("] ")?;
        let name = base(function.split('+').next()?.trim());
        (!name.is_empty()).then(|| name.to_owned())
    };
    text.lines().filter_map(name).take(MAX_FUNCTIONS).collect()
}

/// Without what the compiler adds to a part of a function (`.part.0`, `.constprop.0`, `.isra.0`).
fn base(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_without_what_the_compiler_adds() {
        let text = "[<0>] futex_wait_queue.isra.0+0x66/0x90\n[<0>] nfs_wait_bit_killable+0x1/0x2 [nfs]\n\nx\n[<0>] \n";
        assert_eq!(functions(text), ["futex_wait_queue", "nfs_wait_bit_killable"]);
        assert!(functions("").is_empty());
    }

    #[test]
    fn without_a_stack_the_function_that_it_waits_in_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let wchan = directory.path().join("wchan");
        std::fs::write(&wchan, "do_signal_stop").unwrap();
        assert_eq!(stack(&directory.path().join("stack"), &wchan), ["do_signal_stop"]);
        std::fs::write(&wchan, "0").unwrap();
        assert!(stack(&directory.path().join("stack"), &wchan).is_empty());
    }
}
