//! Connections over UNIX sockets that processes had begun before tracing.
//!
//! In: what the kernel's iterator and `/proc` showed of them, in either order. Out: assertions on what is known of their other ends.

use super::*;
use crate::event::ConnectionBegun;
use crate::fact::{DescriptorClass, DescriptorSeen};

#[test]
fn the_other_end_is_known_whichever_of_both_comes_first() {
    let class = DescriptorClass::Backend { port: 0 };
    let seen = || {
        Fact::DescriptorSeen(DescriptorSeen {
            tgid: 10,
            fd: 5,
            class,
            interest: Vec::new(),
            interest_events: Vec::new(),
            shared: false,
            local_port: 0,
        })
    };
    let seen = || Body::Fact(Box::new(seen()));
    let begun = || Body::ConnectionBegun(ConnectionBegun { tgid: 10, fd: 5, other_end: 77 });
    for bodies in [[begun(), seen()], [seen(), begun()]] {
        let mut pipeline = Pipeline::new(Settings { thread_slices: false });
        for body in bodies {
            pipeline.machines.event(&mut Some(Event { time_ns: START, body }), &mut |_| ());
        }
        let known = pipeline.machines.state.world.descriptors.get(10, 5).unwrap();
        assert_eq!((known.class, known.identity), (class, 77));
    }
}
