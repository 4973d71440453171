//! The timeline as a file that Perfetto opens: threads, requests, busy slots, and arrows. These lead from
//! each request to the threads that served it, from each connection to the threads that it woke, and from who
//! waited to whom it waited for.
//!
//! In: [`Entry`]s, as the machines emit them. Out: a stream of Perfetto trace packets (protobuf), written as
//! the entries come. Memory is bounded by the number of tracks in use, not by the length of the run. Times
//! are `CLOCK_MONOTONIC` nanoseconds, unaltered. `docs/timeline.md` explains the tracks to users.

mod chain;
mod form;
mod intern;
mod message;
mod request;
#[cfg(test)]
mod tests;
mod text;
mod track;
mod wake;

use std::io::{self, BufWriter, Write};

use profiler_core::event::Tid;
use profiler_core::model::request::Request;
use profiler_core::timeline::Entry;
use prost::Message;

pub use form::FORM;
use intern::Interner;
use message::{
    CLOCK_MONOTONIC, CLOCK_REALTIME, Clock, ClockSnapshot, Data, EventType, NEEDS_STATE, PACKET_TAG,
    STATE_CLEARED, TracePacket, TracePacketDefaults, TrackEvent, Value,
};
use request::{Flow, Flows, annotation, annotations};
use text::bounded;
use track::{Track, Tracks};

use super::document::gil_words;

/// The only sequence of packets in the file.
const SEQUENCE: u32 = 1;

/// Why a timeline could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The file or pipe refused it.
    #[error("the timeline could not be written: {0}")]
    Write(#[from] io::Error),
    /// A packet is larger than memory can hold.
    #[error("a packet of the timeline could not be encoded: {0}")]
    Encode(#[from] prost::EncodeError),
}

/// What a timeline came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimelineCounts {
    /// Packets written.
    pub packets: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Stretches of threads.
    pub slices: u64,
    /// Requests.
    pub requests: u64,
    /// Intervals that came out of order or overlapped, and went to a track beside their own.
    pub moved_aside: u64,
    /// Intervals shown as a point because too many overlapped.
    pub without_length: u64,
    /// Tracks forgotten because there were too many, and described again if they came back.
    pub evicted_tracks: u64,
}

/// Writes one timeline. Dropped without [`finish`](Self::finish), it leaves a file that ends early but opens.
#[derive(Debug)]
pub struct PerfettoSink<W: Write> {
    writer: BufWriter<W>,
    buffer: Vec<u8>,
    tracks: Tracks,
    interner: Interner,
    counts: TimelineCounts,
    wall_clock_offset_ns: Option<i64>,
    latest_ns: u64,
    started: bool,
}

/// An interval to draw: what its begin carries.
struct Drawn {
    start_ns: u64,
    end_ns: u64,
    event: TrackEvent,
}

impl<W: Write> PerfettoSink<W> {
    /// A timeline that goes to `writer`, buffered here. Nothing is written before the first entry.
    pub fn new(writer: W) -> Self {
        Self {
            writer: BufWriter::with_capacity(64 * 1024, writer),
            buffer: Vec::new(),
            tracks: Tracks::default(),
            interner: Interner::default(),
            counts: TimelineCounts::default(),
            wall_clock_offset_ns: None,
            latest_ns: 0,
            started: false,
        }
    }

    /// Lets the viewer show wall-clock times too: `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` in nanoseconds
    /// (`SessionStarted::wall_clock_offset_ns`). To be called before the first entry.
    pub fn with_wall_clock_offset(mut self, offset_ns: i64) -> Self {
        self.wall_clock_offset_ns = Some(offset_ns);
        self
    }

    /// Writes one entry. Entries may come in any order; those of one thread should come in the order of their
    /// time, or else they are moved to a track beside it.
    ///
    /// # Errors
    ///
    /// The writer's error; the file then ends with the last whole packet that reached it.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), TimelineError> {
        match entry {
            Entry::Process { tgid, name } => self.describe(Track::Process { tgid: *tgid }, Some(name)),
            Entry::Thread { tgid, tid, name } => {
                self.announce(Track::Process { tgid: *tgid }, self.latest_ns)?;
                self.describe(Track::Thread { tgid: *tgid, tid: *tid, lane: 0 }, Some(name))
            }
            Entry::Slice { tgid, tid, start_ns, end_ns, state, label, fd, open, held_by, sites } => {
                self.start(*start_ns)?;
                let arrow =
                    held_by.map(|holder| self.holds((*tgid, holder), (*tid, *start_ns))).transpose()?;
                self.counts.slices += 1;
                let mut debug_annotations = Vec::new();
                if let Some(fd) = fd {
                    debug_annotations.push(annotation(&mut self.interner, "fd", Value::Int(i64::from(*fd))));
                }
                if *open {
                    debug_annotations.push(annotation(&mut self.interner, "open", Value::Bool(true)));
                }
                if let Some(sites) = sites {
                    for (name, site) in [("held_at", &sites.held_at), ("stood_at", &sites.stood_at)] {
                        let Some(site) = site else { continue };
                        let place = Value::Text(bounded(&gil_words::site(site)));
                        debug_annotations.push(annotation(&mut self.interner, name, place));
                    }
                }
                let event = TrackEvent {
                    category_iids: vec![self.interner.category(state.name())],
                    name_iid: Some(self.interner.name(label)),
                    debug_annotations,
                    ..with_flow(arrow.map_or(Flow::None, Flow::Last))
                };
                let drawn = Drawn { start_ns: *start_ns, end_ns: *end_ns, event };
                self.draw(drawn, |lane| Track::Thread { tgid: *tgid, tid: *tid, lane })
            }
            Entry::Request(request) => self.request(request),
            Entry::AcceptQueue { time_ns, inode, address, depth } => {
                self.start(*time_ns)?;
                let track = Track::AcceptQueue { inode: *inode };
                self.latest_ns = self.latest_ns.max(*time_ns);
                if self.tracks.touch(track, *time_ns) {
                    self.write_descriptor(track, Some(address))?;
                }
                let event = TrackEvent { counter_value: Some(i64::from(*depth)), ..TrackEvent::default() };
                self.event(track, EventType::Counter, *time_ns, event)
            }
            Entry::Dropped { cause, example } => {
                self.start(example.time_ns)?;
                let track = Track::Process { tgid: example.tgid };
                self.announce(track, example.time_ns)?;
                let evidence =
                    annotation(&mut self.interner, "evidence", Value::Text(bounded(&example.evidence)));
                let event = TrackEvent {
                    category_iids: vec![self.interner.category("dropped")],
                    name_iid: Some(self.interner.name(cause.name())),
                    debug_annotations: vec![evidence],
                    ..TrackEvent::default()
                };
                self.event(track, EventType::Instant, example.time_ns, event)
            }
            Entry::Wake { wake, end_ns, outcome } => self.wake(wake, *end_ns, *outcome),
            Entry::Chain(chain) => self.chain(chain),
            Entry::BusySlots { time_ns, tgid, busy } => {
                self.start(*time_ns)?;
                let track = Track::BusySlots { tgid: *tgid };
                self.announce(track, *time_ns)?;
                let event = TrackEvent { counter_value: Some(i64::from(*busy)), ..TrackEvent::default() };
                self.event(track, EventType::Counter, *time_ns, event)
            }
        }
    }

    /// Writes what is still buffered and gives the writer back.
    ///
    /// # Errors
    ///
    /// The writer's error.
    pub fn finish(mut self) -> Result<(W, TimelineCounts), TimelineError> {
        self.start(self.latest_ns)?;
        self.writer.flush()?;
        let mut counts = self.counts;
        counts.evicted_tracks = self.tracks.evicted;
        let writer = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((writer, counts))
    }

    /// Marks on the holder's track that it has the interpreter lock when a thread begins to wait for that: an
    /// arrow leads from there to the wait. Returns the arrow's number.
    fn holds(
        &mut self,
        (tgid, holder): (Tid, Tid),
        (waiter, since_ns): (Tid, u64),
    ) -> Result<u64, TimelineError> {
        let track = Track::Thread { tgid, tid: holder, lane: 0 };
        self.announce(track, since_ns)?;
        let arrow = request::arrow(waiter, since_ns);
        let event = TrackEvent {
            category_iids: vec![self.interner.category("gil_holder")],
            name_iid: Some(self.interner.name("has the GIL")),
            flow_ids: vec![arrow],
            ..TrackEvent::default()
        };
        self.event(track, EventType::Instant, since_ns, event)?;
        Ok(arrow)
    }

    /// A request: its span on its slot's track, and one interval for each stretch beside the thread that ran
    /// it.
    fn request(&mut self, request: &Request) -> Result<(), TimelineError> {
        self.start(request.times.start_ns)?;
        self.counts.requests += 1;
        let flows = Flows::of(request);
        let name = request::name(request);
        let event = TrackEvent {
            category_iids: vec![self.interner.category("request")],
            name: Some(name.clone()),
            debug_annotations: annotations(&mut self.interner, request),
            correlation_id: Some(flows.id()),
            ..with_flow(flows.span())
        };
        let drawn = Drawn { start_ns: request.times.start_ns, end_ns: request.times.end_ns, event };
        self.draw(drawn, |lane| Track::Slot { tgid: request.tgid, slot: request.slot, lane })?;
        for (index, stretch) in request.stretches.iter().enumerate() {
            let event = TrackEvent {
                category_iids: vec![self.interner.category("stretch")],
                name: Some(name.clone()),
                debug_annotations: vec![annotation(
                    &mut self.interner,
                    "request_id",
                    Value::Uint(request.id),
                )],
                correlation_id: Some(flows.id()),
                ..with_flow(flows.stretch(index))
            };
            let drawn = Drawn { start_ns: stretch.start_ns, end_ns: stretch.end_ns, event };
            self.draw(drawn, |lane| Track::Served { tgid: stretch.tgid, tid: stretch.tid, lane })?;
        }
        Ok(())
    }

    /// Draws an interval on the first lane where it overlaps nothing; on none, as a point on lane 0.
    fn draw(&mut self, drawn: Drawn, lane_of: impl Fn(u32) -> Track) -> Result<(), TimelineError> {
        let Drawn { start_ns, end_ns, event } = drawn;
        let end_ns = end_ns.max(start_ns);
        let Some(track) = self.tracks.free_lane(start_ns, &lane_of) else {
            self.counts.without_length += 1;
            let track = lane_of(0);
            self.announce(track, end_ns)?;
            return self.event(track, EventType::Instant, start_ns, event);
        };
        self.counts.moved_aside += u64::from(track != lane_of(0));
        self.announce(track, end_ns)?;
        self.tracks.take_until(track, end_ns);
        self.event(track, EventType::SliceBegin, start_ns, event)?;
        self.event(track, EventType::SliceEnd, end_ns, TrackEvent::default())
    }

    /// Describes a track and those above it, unless that was done.
    fn announce(&mut self, track: Track, time_ns: u64) -> Result<(), TimelineError> {
        self.latest_ns = self.latest_ns.max(time_ns);
        if let Some(parent) = track.parent() {
            self.announce(parent, time_ns)?;
        }
        if self.tracks.touch(track, time_ns) { self.write_descriptor(track, None) } else { Ok(()) }
    }

    /// Describes a track again, with its name.
    fn describe(&mut self, track: Track, name: Option<&str>) -> Result<(), TimelineError> {
        self.start(self.latest_ns)?;
        self.tracks.touch(track, self.latest_ns);
        self.write_descriptor(track, name.filter(|name| !name.is_empty()))
    }

    fn write_descriptor(&mut self, track: Track, name: Option<&str>) -> Result<(), TimelineError> {
        self.start(self.latest_ns)?;
        self.packet(TracePacket {
            data: Some(Data::TrackDescriptor(track.descriptor(name))),
            ..TracePacket::default()
        })
    }

    fn event(
        &mut self,
        track: Track,
        event_type: EventType,
        time_ns: u64,
        event: TrackEvent,
    ) -> Result<(), TimelineError> {
        let event =
            TrackEvent { event_type: Some(event_type as i32), track_uuid: Some(track.uuid()), ..event };
        let interned_data = self.interner.take_pending();
        self.packet(TracePacket {
            timestamp: Some(time_ns),
            sequence_flags: Some(NEEDS_STATE),
            interned_data,
            data: Some(Data::TrackEvent(event)),
            ..TracePacket::default()
        })
    }

    /// Writes what every reader needs first: the clock of all times, and what it read at one moment.
    fn start(&mut self, time_ns: u64) -> Result<(), TimelineError> {
        if self.started {
            return Ok(());
        }
        self.started = true;
        self.packet(TracePacket {
            sequence_flags: Some(STATE_CLEARED),
            first_packet_on_sequence: Some(true),
            trace_packet_defaults: Some(TracePacketDefaults { timestamp_clock_id: Some(CLOCK_MONOTONIC) }),
            ..TracePacket::default()
        })?;
        // Readers take a clock that reads 0 for one that is missing.
        let monotonic_ns = time_ns.max(1);
        let realtime_ns =
            self.wall_clock_offset_ns.and_then(|offset_ns| monotonic_ns.checked_add_signed(offset_ns));
        let mut clocks = vec![Clock { clock_id: Some(CLOCK_MONOTONIC), timestamp: Some(monotonic_ns) }];
        clocks.extend(
            realtime_ns.map(|timestamp| Clock { clock_id: Some(CLOCK_REALTIME), timestamp: Some(timestamp) }),
        );
        self.packet(TracePacket {
            data: Some(Data::ClockSnapshot(ClockSnapshot {
                clocks,
                primary_trace_clock: Some(CLOCK_MONOTONIC),
            })),
            ..TracePacket::default()
        })
    }

    fn packet(&mut self, packet: TracePacket) -> Result<(), TimelineError> {
        let packet = TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), ..packet };
        self.buffer.clear();
        self.buffer.push(PACKET_TAG);
        packet.encode_length_delimited(&mut self.buffer)?;
        self.writer.write_all(&self.buffer)?;
        self.counts.packets += 1;
        self.counts.bytes += self.buffer.len() as u64;
        Ok(())
    }
}

fn with_flow(flow: Flow) -> TrackEvent {
    match flow {
        Flow::None => TrackEvent::default(),
        Flow::Through(id) => TrackEvent { flow_ids: vec![id], ..TrackEvent::default() },
        Flow::Last(id) => TrackEvent { terminating_flow_ids: vec![id], ..TrackEvent::default() },
    }
}
