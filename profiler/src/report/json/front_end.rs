//! `front_end`: what stands before the server, where that is traced too.
//!
//! In: the front end of a snapshot. Out: a serialisable view of it.

use profiler_core::model::front_end::FrontEnd as Model;

use super::non_empty;

view! {
    pub(super) struct FrontEnd<'a>(model: &'a Model) {
        /// Kernel name of its first process; null: not known.
        name: Option<&'a str> = non_empty(&model.name),
        /// Its processes.
        pids: &'a [u32] = &model.tgids,
        /// Requests of the front end that were joined with the server's.
        joined: u64 = model.joined,
        /// Of these, those of which more than one connection fitted: the oldest was taken.
        ambiguous: u64 = model.ambiguous,
        /// Halves whose other half was not found.
        unpaired: u64 = model.unpaired,
        /// Requests joined with exactly one of the server's; the next three are sums over these and add up to
        /// their length.
        crossed: u64 = model.crossed,
        /// In the front end, its accept queue and its clients' stalls included, in ns.
        front_end_ns: u64 = model.front_end_ns,
        /// The way there and the way back, in ns: from the front end's first write to the first byte at the
        /// server's socket; from the server's last write to the front end's last read.
        between_ns: u64 = model.between_ns,
        /// In the server, from the first byte at its socket to its last write, in ns.
        server_ns: u64 = model.server_ns,
    }
}
