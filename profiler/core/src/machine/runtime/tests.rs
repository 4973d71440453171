//! Requests, the loop that serves them, and the pool of its process, for the tests of this stage.
//!
//! In: how many requests, when the loop looked. Out: the stages that are worked on.

use crate::event::{Call, Connection as Opened, Slice, Tid};
use crate::fact::Account;
use crate::machine::runtime::candidates::left;
use crate::machine::runtime::event_loop::EventLoop;
use crate::machine::runtime::pool::Pool;
use crate::machine::runtime::state::{Runtime, RuntimeContext, RuntimeView};
use crate::machine::runtime::thread::Thread;
use crate::machine::runtime::unattributed::UnattributedWork;
use crate::machine::wire::connection::Connection;
use crate::machine::wire::request::{Active, Beginning, RequestKey};
use crate::machine::wire::state::Wire;
use crate::machine::world::state::World;
use crate::phase::Phases;

/// The process.
pub(super) const TGID: Tid = 1;
/// The thread of its loop.
pub(super) const LOOP: Tid = 1;
pub(super) const FIRST: RequestKey = key(0);
pub(super) const SECOND: RequestKey = key(1);

/// The request on the connection of this number.
pub(super) const fn key(number: u32) -> RequestKey {
    (number, number as u64 + 10)
}

/// Work from 100 on that may be that of no request yet.
pub(super) fn work(number: u64) -> UnattributedWork {
    UnattributedWork {
        number,
        account: Active::new(&Beginning::at(number, 100), TGID, LOOP),
        begun_ns: 100,
        task: None,
        back_ends: vec![(9, 50)],
        candidates: Vec::new(),
        has_more: false,
        answered_ns: 0,
        touched_ns: 100,
        has_asked: false,
        of_iteration: (0, Phases::default()),
    }
}

/// What there is, what goes over connections, and who works for whom.
#[derive(Default)]
pub(super) struct Stages {
    pub(super) world: World,
    pub(super) wire: Wire,
    pub(super) runtime: Runtime,
    pub(super) evicted: u64,
}

impl Stages {
    /// So many connections with a request each, which came at 90, and a loop that has not looked yet.
    pub(super) fn new(requests: u32) -> Self {
        let mut stages = Self::default();
        for number in 0..requests {
            assert_eq!(stages.wire.connections.open(&Opened::accepted(5), 10), Some(number));
            stages.begin(key(number));
        }
        assert!(stages.runtime.pools.has_loop(TGID, LOOP));
        let event_loop = Some(Box::new(EventLoop::confirmed()));
        stages.runtime.threads.put(LOOP, Box::new(Thread { tgid: TGID, event_loop, ..Thread::default() }));
        stages
    }

    /// A loop with so many requests, which slept from 200 to 210.
    pub(super) fn slept(requests: u32) -> Self {
        let mut stages = Self::new(requests);
        stages.look(200, true);
        stages
    }

    /// All requests were read at this moment.
    pub(super) fn read_at(mut self, read_ns: u64) -> Self {
        for number in 0..self.wire.connections.seen as u32 {
            self.active(key(number)).request.times.service_start_ns = Some(read_ns);
        }
        self
    }

    /// A request begins on its connection.
    pub(super) fn begin(&mut self, (number, id): RequestKey) {
        let active = Box::new(Active::new(&Beginning::at(id, 90), TGID, LOOP));
        self.connection(number).requests.push_back(active);
    }

    pub(super) fn connection(&mut self, number: u32) -> &mut Connection {
        self.wire.connections.get_mut(number).unwrap()
    }

    pub(super) fn active(&mut self, key: RequestKey) -> &mut Active {
        self.wire.connections.active_mut(key).unwrap()
    }

    pub(super) fn pool(&mut self) -> &mut Pool {
        self.runtime.pools.get_mut(TGID).unwrap()
    }

    /// The loop's thread.
    pub(super) fn thread(&mut self) -> &mut Thread {
        self.runtime.threads.get_mut(LOOP).unwrap()
    }

    pub(super) fn event_loop(&mut self) -> &mut EventLoop {
        self.thread().event_loop.as_deref_mut().unwrap()
    }

    pub(super) const fn view(&self) -> RuntimeView<'_> {
        RuntimeView { world: &self.world, wire: &self.wire, runtime: &self.runtime }
    }

    pub(super) const fn runtime_context(&mut self) -> RuntimeContext<'_> {
        let Self { world, wire, runtime, evicted } = self;
        RuntimeContext { world, wire, runtime, evicted }
    }

    /// The loop looks from `enter_ns` on for 10 ns, asleep or not.
    pub(super) fn look(&mut self, enter_ns: u64, slept: bool) {
        let (cpu_ns, blocked_ns) = if slept { (0, 10) } else { (10, 0) };
        self.wait(enter_ns, Account { cpu_ns, blocked_ns, ..Account::default() });
    }

    /// The loop sleeps.
    pub(super) fn sleep(&mut self, enter_ns: u64, exit_ns: u64) {
        self.wait(enter_ns, Account { blocked_ns: exit_ns - enter_ns, ..Account::default() });
    }

    fn wait(&mut self, enter_ns: u64, inside: Account) {
        let call = Call::EpollWait { epoll_fd: 4, timeout_ms: -1 };
        let exit_ns = enter_ns + inside.total_ns();
        self.event_loop().has_looked(&Slice { enter_ns, exit_ns, inside, ..Slice::blank(call) }, 0);
    }

    /// The loop leaves a request. `false`: there is no room to remember that.
    pub(super) fn leave(&mut self, key: RequestKey) -> bool {
        let mut thread = self.runtime.threads.take(LOOP).unwrap();
        let has_room = left(self.view(), &mut thread, key, &Phases::default());
        self.runtime.threads.put(LOOP, thread);
        has_room
    }
}
