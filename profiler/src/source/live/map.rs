//! Maps of the programs that are loaded, by name.
//!
//! In: the programs. Out: a map, which is no longer theirs to give.

use aya::Ebpf;
use aya::maps::{Map, MapError};

use super::LiveError;

/// Takes a map.
///
/// # Errors
/// If it is not in the object, or is of another kind.
pub(super) fn take<T>(
    ebpf: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, LiveError> {
    let failed = |reason: String| LiveError::Map { map: name, reason };
    let map = ebpf.take_map(name).ok_or_else(|| failed("not in the object".to_owned()))?;
    convert(map).map_err(|error| failed(error.to_string()))
}
