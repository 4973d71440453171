//! Connections that nobody serves at this moment, although their clients have sent something.
//!
//! In: the iterator `iterate_waiting`, the maps `WAITING` and `WAITING_LOOK`. Out: [`WaitingConnections`].
//! Each look goes through the open files of the target.

use aya::Ebpf;
use aya::maps::{Array, MapData};
use profiler_common::waiting::{
    LOOK_BEYOND, LOOK_LISTED, LOOK_NUMBER, MAX_WAITING, WAITING_WORDS, WaitingConnection as Listed,
};
use profiler_core::fact::waiting::{WaitingConnection, WaitingConnections};

use super::map::take;
use super::{LiveError, iterate};

/// The maps as the reader sees them: words, because only this crate's types may be read from a map.
pub(super) struct WaitingTable {
    listed: Array<MapData, [u64; WAITING_WORDS]>,
    look: Array<MapData, u64>,
    looks: u64,
}

impl WaitingTable {
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, LiveError> {
        Ok(Self {
            listed: take(ebpf, "WAITING", Array::try_from)?,
            look: take(ebpf, "WAITING_LOOK", Array::try_from)?,
            looks: 0,
        })
    }

    /// Looks now at these processes. `looked_ns`: when that is. `None`: this kernel has no such iterator, or
    /// refuses it.
    pub(super) fn look(
        &mut self,
        ebpf: &mut Ebpf,
        targets: &[u32],
        looked_ns: u64,
    ) -> Option<WaitingConnections> {
        self.looks += 1;
        for (element, value) in [(LOOK_NUMBER, self.looks), (LOOK_LISTED, 0), (LOOK_BEYOND, 0)] {
            self.look.set(element, &value, 0).ok()?;
        }
        iterate::run_in(ebpf, "iterate_waiting", targets).ok()?;
        let count = u32::try_from(self.look.get(&LOOK_LISTED, 0).ok()?).ok()?.min(MAX_WAITING);
        let listed = (0..count).filter_map(|index| self.listed.get(&index, 0).ok());
        Some(WaitingConnections {
            looked_ns,
            connections: listed.map(|words| connection(&zerocopy::transmute!(words))).collect(),
            beyond: self.look.get(&LOOK_BEYOND, 0).ok()?,
        })
    }
}

fn connection(listed: &Listed) -> WaitingConnection {
    WaitingConnection {
        socket: (listed.socket, listed.generation),
        inode: listed.inode,
        holder: (listed.tgid > 0).then_some((listed.tgid, listed.fd)),
        established_ns: listed.established_ns,
        first_data_ns: listed.first_data_ns,
        is_unix: listed.family == libc::AF_UNIX as u16,
        peer_port: listed.peer_port,
    }
}
