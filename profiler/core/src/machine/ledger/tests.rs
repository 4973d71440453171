//! The time of a thread as the time of requests: what begins, advances, is left and finishes.
//!
//! In: calls of thread 1 of process 1 on its clients' connections and on a back end. Out: assertions on
//! requests, and on what is reported.

mod exchange;
mod foreign;
mod gil_attribution;
mod leave;
mod slots;
mod turn;
mod unattributed;

use crate::event::{Call, Connection as Opened, Slice, Tid};
use crate::fact::{Account, DescriptorClass};
use crate::machine::ledger::context::TestLedger;
use crate::machine::ledger::exchange::{Bytes, read, write};
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::thread::Thread;
use crate::machine::time::piece::Piece;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::{Active, Beginning, RequestKey, Wants};
use crate::phase::Phase;

const GET: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";
const OK5: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The first client's descriptor; the next ones have the numbers behind it.
const CLIENT: i32 = 9;
const BACK_END: i32 = 20;
const EAGAIN: i64 = -11;
const EINPROGRESS: i64 = -115;

/// When a gap began, when the call was entered, and when it was left.
type Times = (u64, u64, u64);

/// The ledger, and the thread whose calls come.
struct Scene {
    ledger: TestLedger,
    thread: Thread,
}

/// A call after a gap, all of it on a CPU.
fn slice(call: Call, times: Times, result: i64) -> Slice {
    Slice { result, ..Slice::on_cpu(call, times) }
}

const fn read_of(fd: i32) -> Call {
    Call::Read { fd, asked_bytes: 8192, arrival_ns: 0 }
}

impl Scene {
    /// A thread with so many clients.
    fn new(clients: u32) -> Self {
        let (mut ledger, thread) = (TestLedger::default(), Thread { tgid: 1, ..Thread::default() });
        for (number, fd) in (0..clients).zip(CLIENT..) {
            assert_eq!(ledger.wire.connections.open(&Opened::accepted(5), 10), Some(number));
            ledger.world.descriptors.open_client(1, fd, 10, number);
        }
        ledger.world.arrival_measured = true;
        Self { ledger, thread }
    }

    /// A thread with so many clients that runs a loop, which slept from 50 to 100.
    fn of_loop(clients: u32) -> Self {
        let mut scene = Self::new(clients);
        scene.thread.signs.reads = true;
        let event_loop = EventLoop::confirmed();
        scene.thread.event_loop = Some(Box::new(event_loop));
        assert!(scene.ledger.runtime.pools.has_loop(1, 1));
        scene.sleep(50, 100);
        scene
    }

    fn event_loop(&mut self) -> &mut EventLoop {
        self.thread.event_loop.as_deref_mut().unwrap()
    }

    /// The loop sleeps, and turns to nothing it was about.
    fn sleep(&mut self, enter_ns: u64, exit_ns: u64) {
        let inside = Account { cpu_ns: 1, blocked_ns: exit_ns - enter_ns - 1, ..Account::default() };
        let call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
        self.event_loop().has_looked(&Slice { enter_ns, exit_ns, inside, ..Slice::blank(call) }, 0);
    }

    /// The loop looks, and finds something.
    fn look(&mut self, at_ns: u64) {
        let call = Call::EpollWait { epoll_fd: 4, timeout_ms: 0 };
        let slice = Slice { enter_ns: at_ns, exit_ns: at_ns, result: 1, ..Slice::blank(call) };
        self.event_loop().has_looked(&slice, 0);
    }

    /// A request that came at this time, whose head was read at once.
    fn ask(&mut self, number: u32, id: u64, start_ns: u64) -> &mut Active {
        let mut active = Active::new(&Beginning { index: 1, ..Beginning::at(id, start_ns) }, 1, 1);
        active.request.times.service_start_ns = Some(start_ns);
        self.connection(number).requests.push_back(Box::new(active));
        self.connection(number).begun += 1;
        self.connection(number).requests.back_mut().unwrap()
    }

    fn connection(&mut self, number: u32) -> &mut Connection {
        self.ledger.wire.connections.get_mut(number).unwrap()
    }

    fn active(&mut self, (number, id): RequestKey) -> &mut Active {
        self.ledger.wire.connections.active_mut((number, id)).unwrap()
    }

    /// The time of a slice is the thread's now.
    fn takes(&mut self, slice: &Slice) {
        self.thread.pending.push(Piece::gap(slice));
        let account = slice.inside;
        let piece = Piece { account, cpu: Phase::Cpu, ..Piece::unknown(slice.enter_ns, slice.exit_ns) };
        self.thread.pending.push(piece);
    }

    /// The thread reads these bytes from a client, of which the first came at this time (0: not known).
    fn reads(&mut self, number: u32, times: Times, arrival_ns: u64, bytes: &[u8]) {
        let moved = bytes.len() as u64;
        let slice = slice(read_of(CLIENT + number as i32), times, moved as i64);
        self.takes(&slice);
        let bytes = Bytes { moved, captured: bytes };
        read(&mut self.ledger.context(), &mut self.thread, number, &slice, arrival_ns, &bytes);
    }

    /// The thread writes these bytes to a client.
    fn writes(&mut self, number: u32, times: Times, bytes: &[u8]) {
        let moved = bytes.len() as u64;
        let slice = slice(Call::Write { fd: CLIENT + number as i32 }, times, moved as i64);
        self.takes(&slice);
        let is_status = bytes.starts_with(b"HTTP/");
        let bytes = Bytes { moved, captured: bytes };
        write(&mut self.ledger.context(), &mut self.thread, number, &slice, is_status, &bytes);
    }

    /// A socket to a back end, of this request.
    fn back_end(&mut self, opened_ns: u64, owner: Option<RequestKey>) {
        let descriptors = &mut self.ledger.world.descriptors;
        descriptors.open(1, BACK_END, DescriptorClass::Backend { port: 5432 }, opened_ns);
        descriptors.own(1, BACK_END, owner);
    }

    fn told(&mut self) -> Vec<String> {
        self.ledger.take_events()
    }
}

/// The parts of a request's time, by name, without those that are empty.
fn phases(active: &Active) -> Vec<(&'static str, u64)> {
    let mut parts: Vec<_> =
        active.request.phases.iter().map(|(phase, length_ns)| (phase.name(), length_ns)).collect();
    parts.sort_unstable();
    parts
}
