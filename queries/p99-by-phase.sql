-- Where do slow requests spend their time, on each host and day?
--
-- One row a service, day, host and phase, the longest first: the 99th percentile of that phase alone, over all requests. The
-- percentiles of phases do not add up to that of `total_ns`. Phases that were not measured have no row.
WITH by_host AS (
    SELECT
        "service.name" AS service,
        date,
        "host.name" AS host,
        count(*) AS requests,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY total_ns) AS total_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY accept_queue_ns) AS accept_queue_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY pool_wait_ns) AS pool_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY loop_wait_ns) AS loop_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY read_head_ns) AS read_head_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY read_body_ns) AS read_body_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY client_read_stall_ns) AS client_read_stall_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY cpu_ns) AS cpu_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY run_queue_ns) AS run_queue_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY gil_wait_ns) AS gil_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY lock_wait_ns) AS lock_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY backend_wait_ns) AS backend_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY child_wait_ns) AS child_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY file_wait_ns) AS file_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY fault_wait_ns) AS fault_wait_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY sleep_ns) AS sleep_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY write_ns) AS write_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY client_write_stall_ns) AS client_write_stall_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY front_end_ns) AS front_end_ns,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY unexplained_ns) AS unexplained_ns
    FROM requests
    WHERE NOT is_open AND NOT is_truncated
    GROUP BY 1, 2, 3
)
SELECT service, date, host, requests, phase, round(p99_ns / 1e6, 3) AS p99_ms
FROM by_host UNPIVOT (p99_ns FOR phase IN (
    total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
    client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
    child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns, front_end_ns,
    unexplained_ns
))
WHERE p99_ns > 0
ORDER BY service, date, host, p99_ns DESC, phase;
