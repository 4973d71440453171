//! `chains`: what requests waited for, in the end.
//!
//! In: that part of a snapshot. Out: a serialisable view of it. All leaves and the rest add up to the time of
//! requests.

use profiler_core::model::chain::{
    self, ChainExample, ExampleHop, Held, LeafTime, NotFollowed, RequestWait, TakenBy, Unreleased,
};
use profiler_core::model::more_slots;
use profiler_core::phase::Phase;

use super::chain_computed::ComputedView;
use super::chain_place::{OwnCodeView, PlaceView};
use super::chain_seen::SeenView;
use super::chain_waited::WaitedView;
use super::chain_whereabouts::ComputedOfRequest;
use super::ratio;
use crate::report::chain_words;

view! {
    pub(super) struct Chains<'a>(chains: &'a chain::Chains) {
        /// Request time of the window in ns: the leaves and other_ns add up to it. 0: no chain was followed.
        request_ns: u64 = chains.request_ns,
        /// Requests whose leaves did not add up to their length: there should be none.
        broken_requests: u64 = chains.broken,
        /// Request time at leaves that are not listed, in ns.
        other_ns: u64 = chains.other_ns,
        /// Request time that would not have been without all listed leaves of waiting together, in ns; null:
        /// the lines were not replayed.
        prevented_together_ns: Option<u64> = chains.prevented_together_ns,
        /// What more slots would have prevented; null: the lines were not replayed, or nobody waited there.
        more_slots: Option<MoreSlots> =
            (chains.more_slots.slots > 0).then(|| MoreSlots::new(&chains.more_slots)),
        /// What is the application's own code, whose lines are shown, and what decided that. Empty: no frame
        /// was read.
        own_code: Vec<OwnCodeView<'a>> = chains.own.iter().map(OwnCodeView::new).collect(),
        /// Where in Python requests computed, for each endpoint, the most samples first. Empty: no clock
        /// ticked, or nobody computed.
        computed: Vec<ComputedView<'a>> =
            chains.computed.iter().map(|computed| ComputedView::new(chains, computed)).collect(),
        /// Where in Python requests slept in system calls, for each endpoint, the longest first. Empty: in
        /// light mode, or nobody slept.
        waited: Vec<WaitedView<'a>> =
            chains.waited.iter().map(|waited| WaitedView::new(chains, waited)).collect(),
        /// What each of the longest requests waited for longest, by their numbers. Those that only worked are
        /// missing.
        of_requests: Vec<OfRequest<'a>> =
            chains.of_requests.iter().map(|wait| OfRequest::new(chains, wait)).collect(),
        /// Where in Python the slowest requests computed, and those that ended with their process, by their
        /// numbers. Those without a sample are missing.
        computed_of_requests: Vec<ComputedOfRequest<'a>> = chains
            .whereabouts
            .iter()
            .filter(|of| of.computed.samples > 0)
            .map(|of| ComputedOfRequest::new(chains, of))
            .collect(),
        /// What stands at the end of chains, each by its way, the costliest first.
        leaves: Vec<ChainLeaf<'a>> =
            chains.leaves.iter().map(|time| ChainLeaf::new(chains, time)).collect(),
    }
}

view! {
    struct ChainLeaf<'a>(chains: &'a chain::Chains, time: &'a LeafTime) with {
        let leaf = &time.leaf;
        let (port, descriptor) = numbers(leaf.object);
    } {
        /// What it is: see chains.md.
        #[cfg_attr(test, schemars(extend("examples" = chain::LeafKind::ALL.map(chain::LeafKind::name))))]
        kind: &'static str = leaf.kind.name(),
        /// What was waited for, in words (port 5432); null: not known, or there is nothing.
        object: Option<String> = chain_words::object(chains, time),
        /// Port of the peer; null: it has none, or what was waited for is no peer.
        port: Option<u16> = port,
        /// Descriptor of the thread's process that was waited for; null: none was.
        descriptor: Option<i32> = descriptor,
        /// Name of the system call of the wait, or in which a thread computed; null: none, or not known.
        system_call: Option<&'static str> = chain_words::system_call(leaf),
        /// Method and shape of the path of the request for which the thread at the end worked; null: for
        /// none, or not known.
        endpoint: Option<&'a str> = chains.endpoint(leaf.endpoint),
        /// Why the chain was not followed to its end; null: it was.
        #[cfg_attr(test, schemars(extend("examples" = NotFollowed::ALL.map(NotFollowed::name))))]
        reason: Option<&'static str> = leaf.reason.map(NotFollowed::name),
        /// How sure it is that nobody could release a lock that was not released; null: it is none.
        #[cfg_attr(test, schemars(extend("examples" = Unreleased::ALL.map(Unreleased::name))))]
        unreleased: Option<&'static str> = leaf.unreleased.map(Unreleased::name),
        /// How the process was held from outside; null: it was not, or that was not seen.
        #[cfg_attr(test, schemars(extend("examples" = Held::ALL.map(Held::name))))]
        held: Option<&'static str> = leaf.held.map(Held::name),
        /// Who had the CPU for which the thread waited; null: not known, or it waited for none.
        #[cfg_attr(test, schemars(extend("examples" = TakenBy::NAMES)))]
        taken_by: Option<&'static str> = leaf.taken_by.map(TakenBy::name),
        /// The endpoint whose request had it, or the name of the program that did; null: as taken_by, or it
        /// was neither.
        taken_by_name: Option<&'a str> =
            leaf.taken_by.and_then(|by| chain_words::taken_by(chains, by)).filter(|name| !name.is_empty()),
        /// What a look at the sleeping thread saw; null: no look was taken, or it saw no object.
        seen: Option<SeenView<'a>> = chains.seen(time).map(SeenView::new),
        /// The wait had begun before the trace did.
        is_since_before: bool = leaf.since_before,
        /// The way there, each hop by the phase of its wait, the request's own wait first; empty: the request
        /// was there itself.
        hops: Vec<&'static str> = time.hops.iter().map(Phase::name).collect(),
        /// Request time at this leaf by this way, in ns.
        held_ns: u64 = time.held_ns,
        /// Its part of request_ns.
        held_ratio: Option<f64> = ratio(time.held_ns, chains.request_ns),
        /// The part of held_ns that exceeds what is usual at the endpoints concerned, in ns.
        unusual_ns: u64 = time.unusual_ns,
        /// Request time that would not have been, had nobody met this leaf, in ns, by a replay of the lines.
        /// What is prevented does not add up. null: not replayed.
        prevented_ns: Option<u64> = time.prevented_ns,
        /// Requests concerned.
        requests: u64 = time.requests,
        /// The most that one request has at it, in ns.
        longest_ns: u64 = time.longest_ns,
        /// The way or the leaf is one object, where only one at a time gets on.
        is_serial: bool = time.is_serial(),
        /// Whether those at it wait for one another: independent (each waits as long, however many do),
        /// shared (one object, or longer the more there are), unknown (not seen with few and with many, or it
        /// does not show).
        #[cfg_attr(test, schemars(extend("examples" = profiler_core::model::independence::Independence::ALL.map(profiler_core::model::independence::Independence::name))))]
        independence: &'static str = time.independence().name(),
        /// Several processes waited for it on one and the same connection.
        is_shared_connection: bool = time.is_shared_connection,
        /// Of computing: surely more than half of the endpoint's samples were in a collection of garbage.
        is_collecting: bool = time.is_collecting,
        /// The application's own lines at which the thread at the end waited, the outermost first
        /// (shop/views.py:31 view › shop/db.py:3 query); of computing, where most of its samples are.
        /// null: not read, none is its own, or no line has most samples.
        line: Option<String> = chain_words::lines(chains, time.place),
        /// The lock or the pool that the first on the way who waits for one does wait for, by the line where
        /// he does; null: nobody does, or not read.
        waits_at: Option<String> = time.waited_at.and_then(|place| chain_words::lock(chains, place)),
        /// Where in Python it waited, in its longest sleep that was looked at; null: not read.
        place: Option<PlaceView<'a>> = chains.place(time.place).map(PlaceView::new),
        /// The longest single chain; null: none was followed step by step.
        example: Option<Example<'a>> = time.example.as_ref().map(|example| Example::new(chains, example)),
    }
}

view! {
    struct MoreSlots(more: &more_slots::MoreSlots) {
        /// Slots of all lines today, as far as they served.
        slots: u64 = more.slots,
        /// Request time that was spent waiting for one, as replayed, in ns.
        waited_ns: u64 = more.waited_ns,
        /// The numbers that were tried, ascending.
        tried: Vec<TriedSlots> = more.with.iter().map(|(slots, ns)| TriedSlots::new(*slots, *ns)).collect(),
    }
}

view! {
    struct TriedSlots(number: u64, ns: u64) {
        /// So many slots.
        slots: u64 = number,
        /// Request time that would not have been with them, in ns: the less of what it is if requests come
        /// as they came, and if they come as others are answered.
        prevented_ns: u64 = ns,
    }
}

view! {
    struct OfRequest<'a>(chains: &'a chain::Chains, wait: &'a RequestWait) {
        /// Number of the request.
        request: u64 = wait.request,
        /// What it waited for, for held_ns.
        leaf: ChainLeaf<'a> = ChainLeaf::new(chains, &wait.time),
    }
}

view! {
    struct Example<'a>(chains: &'a chain::Chains, example: &'a ChainExample) {
        /// Number of the request that waited.
        request: u64 = example.request,
        /// Its method and the shape of its path; null: not known.
        endpoint: Option<&'a str> = chains.endpoint(example.endpoint),
        /// Start of the wait, on the clock of the window, in ns.
        start_ns: u64 = example.start_ns,
        /// How long this request waited for the leaf in this wait, in ns.
        wait_ns: u64 = example.wait_ns,
        /// From the request to the leaf.
        hops: Vec<Hop<'a>> = example.hops.iter().map(|hop| Hop::new(chains, hop)).collect(),
        /// Where it is not known who stands behind the last hop: threads of which any one could, as far as
        /// they are listed.
        candidates: Vec<Hop<'a>> = example.candidates.iter().map(|hop| Hop::new(chains, hop)).collect(),
    }
}

view! {
    struct Hop<'a>(chains: &'a chain::Chains, hop: &'a ExampleHop) {
        /// Process; null: the request itself, before anybody served it.
        pid: Option<u32> = (hop.tgid > 0).then_some(hop.tgid),
        /// Thread; null: as pid.
        tid: Option<u32> = (hop.tid > 0).then_some(hop.tid),
        /// Name of the thread; null: not known, or as pid.
        thread: Option<&'a str> = super::non_empty(&hop.comm),
        /// Method and shape of the path of the request for which it worked; null: for none, or not known.
        endpoint: Option<&'a str> = chains.endpoint(hop.endpoint),
        /// Phase of the wait.
        #[cfg_attr(test, schemars(extend("examples" = Phase::ALL.map(Phase::name))))]
        phase: &'static str = hop.phase.name(),
        /// When it began with what it was in, on the clock of the window, in ns.
        start_ns: u64 = hop.start_ns,
        /// When that was over, in ns.
        end_ns: u64 = hop.end_ns,
        /// The application's own lines at which it waited, as line of the leaf; null: as there.
        line: Option<String> = chain_words::lines(chains, hop.place),
        /// Where in Python it waited; null: not read.
        place: Option<PlaceView<'a>> = chains.place(hop.place).map(PlaceView::new),
    }
}

/// The numbers of an object: its port, its descriptor.
const fn numbers(object: chain::Object) -> (Option<u16>, Option<i32>) {
    match object {
        chain::Object::Peer { port } if port > 0 => (Some(port), None),
        chain::Object::Descriptor { fd } => (None, Some(fd)),
        _ => (None, None),
    }
}
