//! The programs that look at every thread and every open file of the machine, once each time they are run.
//!
//! In: the name of such a program. Out: nothing; what it finds is in the programs' own maps.

use aya::Ebpf;
use aya::programs::Program;

use super::LiveError;

/// Runs the iterator `name` once, to its end.
///
/// # Errors
/// If the kernel refuses it.
pub(super) fn run(ebpf: &mut Ebpf, name: &'static str) -> Result<(), LiveError> {
    let failed = |reason: String| LiveError::Program { program: name, reason };
    let program = ebpf.program_mut(name).ok_or_else(|| failed("not in the object".to_owned()))?;
    let Program::Iter(program) = program else { return Err(failed("not an iterator".to_owned())) };
    let link =
        program.attach().and_then(|id| program.take_link(id)).map_err(|error| failed(error.to_string()))?;
    let mut file = link.into_file().map_err(|error| failed(error.to_string()))?;
    // The programs write nothing; reading to the end is what runs them.
    std::io::copy(&mut file, &mut std::io::sink()).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
