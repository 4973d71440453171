//! The processes that the programs follow: the map `TARGETS`.
//!
//! In: processes. Out: the map filled; how many instances of this program watch one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};

use super::LiveError;
use super::map::take;

/// The map.
const NAME: &str = "TARGETS";

/// Maps of this very process, which has two while `serve` traces in full beside light mode. Some stay for a
/// moment after their programs were detached, and numbers are not given again soon: they are kept for a
/// while.
static OWN: Mutex<VecDeque<u32>> = Mutex::new(VecDeque::new());
/// How many of them.
const MAX_OWN: usize = 64;

/// The processes that the programs follow.
pub(crate) struct Targets(HashMap<MapData, u32, u32>);

impl Targets {
    /// The processes that loaded programs follow.
    ///
    /// # Errors
    /// If the map is not in the object.
    pub(crate) fn of(ebpf: &mut Ebpf) -> Result<Self, LiveError> {
        if let Some(Map::HashMap(data)) = ebpf.map(NAME)
            && let Ok(info) = data.info()
        {
            let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
            if own.len() >= MAX_OWN {
                own.pop_front();
            }
            own.push_back(info.id());
        }
        Ok(Self(take(ebpf, NAME, HashMap::try_from)?))
    }

    /// Names processes to the programs.
    ///
    /// # Errors
    /// If the map is full.
    pub(crate) fn add(&mut self, targets: &[u32]) -> Result<(), LiveError> {
        let failed = |error: aya::maps::MapError| LiveError::Map { map: NAME, reason: error.to_string() };
        targets.iter().try_for_each(|target| self.0.insert(target, &1, 0).map_err(failed))
    }

    /// All of them, also those that were born since.
    pub(super) fn all(&self) -> Vec<u32> {
        self.0.keys().filter_map(Result::ok).collect()
    }

    /// A process has ended. Without this its number would stay, and is another program's one day.
    pub(super) fn remove(&mut self, ended: u32) {
        let _ = self.0.remove(&ended);
    }

    /// How many other instances of this program watch one of the targets: their maps are there to be read.
    pub(crate) fn others(targets: &[u32]) -> u32 {
        let own = OWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
        aya::maps::loaded_maps()
            .filter_map(Result::ok)
            .filter(|info| info.name_as_str() == Some(NAME) && !own.contains(&info.id()))
            .filter(|info| {
                let Ok(data) = MapData::from_id(info.id()) else { return false };
                let Ok(map) = HashMap::<_, u32, u32>::try_from(Map::HashMap(data)) else { return false };
                targets.iter().any(|target| map.get(target, 0).is_ok())
            })
            .count()
            .try_into()
            .unwrap_or(u32::MAX)
    }
}
