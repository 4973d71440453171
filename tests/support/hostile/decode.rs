//! Raw kernel records through decode and order: no input may panic, and what comes out is in order of time.
//!
//! In: bytes; every 2 of them give the length of the next record. Out: nothing.
use profiler_core::decode::decode;
use profiler_core::event::Event;
use profiler_core::order::Order;

/// Takes one input.
pub fn body(bytes: &[u8]) {
    let mut order = Order::new(1_000_000);
    let mut last_ns = 0;
    let mut each = |event: &mut Option<Event>| {
        let Some(event) = event.take() else { unreachable!("each is handed over once") };
        assert!(event.time_ns >= last_ns, "out of order");
        last_ns = event.time_ns;
    };
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (record, after) = after.split_at(length);
        if let Ok(event) = decode(record) {
            order.push(event);
        }
        order.release(&mut each);
        rest = after;
    }
    order.finish(&mut each);
}
