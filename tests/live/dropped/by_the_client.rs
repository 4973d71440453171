//! The client leaves: before it is accepted, while it waits, in the middle of the response.
//!
//! In: clients that leave. Out: verdicts, with how long each had waited by its own clock.

use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::require_bpf;

use crate::{BOTH_MODES, carry_out_in};

#[test]
fn clients_that_leave_are_told_apart_by_when_they_left_and_how_long_they_had_waited() -> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        // One worker: while it sleeps for the first client, the next is not even accepted.
        let plan = [
            "--after",
            "0.3",
            "get:/fast",
            "leave_reading:/big",
            "leave:/sleep/1200",
            "leave:/fast",
            "get:/fast",
        ];
        let outcome = carry_out_in(mode, &Settings::sync(Version::V27, 1), &plan)?;
        outcome.must_be(
            &["200", "left", "left", "left", "200"],
            2,
            &[("client_left_reading", 1), ("client_left_waiting", 1), ("client_left_in_queue", 1)],
        );
        for (cause, client) in [("client_left_waiting", 2), ("client_left_in_queue", 3)] {
            let Some(waited_ns) = outcome.drops.first(cause).and_then(|example| example.waited_ns) else {
                anyhow::bail!("no wait of {cause}: {:?}", outcome.drops)
            };
            let Some(client) = outcome.seen.clients.get(client) else { anyhow::bail!("no client") };
            let own_ns = client.end_ns - client.start_ns;
            // The client's clock runs from before its connect to after its close was asked for, which is less
            // than its end.
            assert!(waited_ns.abs_diff(own_ns) < 100_000_000, "{cause}: {waited_ns}, by the client {own_ns}");
            assert!(waited_ns > 290_000_000, "{cause}: {waited_ns}");
        }
    }
    Ok(())
}
