//! `lasting`: connections that became something else, and requests that had not ended.
//!
//! In: the requests of a snapshot. Out: serialisable views of them.

use profiler_core::model::lasting;

use super::non_empty;

view! {
    pub(super) struct Lasting<'a>(row: &'a lasting::Lasting) {
        /// What they became.
        #[cfg_attr(test, schemars(extend("examples" = lasting::Became::ALL.map(lasting::Became::name))))]
        became: &'static str = row.became.name(),
        /// Method of the request that asked for it; null: its head was not read.
        method: Option<&'a str> = non_empty(&row.method),
        /// Path of that request, with numeric and UUID segments folded; null as for method.
        path_shape: Option<&'a str> = non_empty(&row.path_shape),
        /// How many there were.
        count: u64 = row.count,
        /// How many of them were open at the window's end.
        open: u64 = row.open,
        /// Of the one that lasted longest: how long, from the head of the answer on, in ns.
        longest_ns: u64 = row.longest_ns,
        /// How long they lasted in the window, in all, in ns.
        lasted_ns: u64 = row.lasted_ns,
        /// Bytes received on them.
        received_bytes: u64 = row.bytes_in,
        /// Bytes sent on them.
        sent_bytes: u64 = row.bytes_out,
    }
}

view! {
    pub(super) struct Open(open: &lasting::Open) {
        /// Requests that had not ended when the window did.
        count: u64 = open.count,
        /// For how long the longest of them had been open, in ns; null: there is none.
        longest_ns: Option<u64> = (open.count > 0).then_some(open.longest_ns),
        /// Their time so far, in ns.
        time_in_requests_ns: u64 = open.phases.total_ns(),
    }
}
