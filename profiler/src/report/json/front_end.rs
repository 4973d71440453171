//! `front_end`: what stands before the server, where that is traced too.
//!
//! In: the front end of a snapshot. Out: a serialisable view of it.

use profiler_core::model::front_end::FrontEnd as Model;
use serde::Serialize;

use super::non_empty;

#[derive(Serialize)]
pub(super) struct FrontEnd<'a> {
    name: Option<&'a str>,
    pids: &'a [u32],
    joined: u64,
    ambiguous: u64,
    unpaired: u64,
    crossed: u64,
    front_end_ns: u64,
    between_ns: u64,
    server_ns: u64,
}

impl<'a> FrontEnd<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Self {
            name: non_empty(&model.name),
            pids: &model.tgids,
            joined: model.joined,
            ambiguous: model.ambiguous,
            unpaired: model.unpaired,
            crossed: model.crossed,
            front_end_ns: model.front_end_ns,
            between_ns: model.between_ns,
            server_ns: model.server_ns,
        }
    }
}
