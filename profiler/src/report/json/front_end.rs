//! `front_end`: what stands before the server, where that is traced too.
//!
//! In: the front end of a snapshot. Out: a serialisable view of it.

use profiler_core::model::front_end::FrontEnd as Model;

use super::non_empty;

view! {
    pub(super) struct FrontEnd<'a>(model: &'a Model) {
        name: Option<&'a str> = non_empty(&model.name),
        pids: &'a [u32] = &model.tgids,
        joined: u64 = model.joined,
        ambiguous: u64 = model.ambiguous,
        unpaired: u64 = model.unpaired,
        crossed: u64 = model.crossed,
        front_end_ns: u64 = model.front_end_ns,
        between_ns: u64 = model.between_ns,
        server_ns: u64 = model.server_ns,
    }
}
