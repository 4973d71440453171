-- Where do slow requests spend their time, on each host and day?
--
-- One row a service, day, host and phase, the longest first: the 99th percentile of that phase alone, over the requests in which it
-- was measured (`requests`), exact to three digits. The percentiles of phases do not add up to that of `total_ns`. Phases that were
-- not measured have no row.
--
-- Each time is rounded before it is ranked: a percentile of rounded times is the rounded percentile. Equal times are then counted
-- and not kept, so memory grows with hosts and days and not with requests.
WITH by_phase AS (
    SELECT service, date, host, phase, phase_ns
    FROM (
        SELECT
            "service.name" AS service,
            date,
            "host.name" AS host,
            total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
            client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
            child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns,
            front_end_ns, unexplained_ns
        FROM requests
        WHERE NOT is_open AND NOT is_truncated
    ) UNPIVOT (phase_ns FOR phase IN (
        total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
        client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
        child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns,
        front_end_ns, unexplained_ns
    ))
),
counted AS (
    SELECT
        service,
        date,
        host,
        phase,
        CASE
            WHEN phase_ns < 1000000 THEN round(phase_ns, -3)
            WHEN phase_ns < 10000000 THEN round(phase_ns, -4)
            WHEN phase_ns < 100000000 THEN round(phase_ns, -5)
            WHEN phase_ns < 1000000000 THEN round(phase_ns, -6)
            WHEN phase_ns < 10000000000 THEN round(phase_ns, -7)
            WHEN phase_ns < 100000000000 THEN round(phase_ns, -8)
            ELSE round(phase_ns, -9)
        END AS rounded_ns,
        count(*) AS requests
    FROM by_phase
    GROUP BY 1, 2, 3, 4, 5
),
ranked AS (
    SELECT
        service,
        date,
        host,
        phase,
        rounded_ns,
        sum(requests) OVER (PARTITION BY service, date, host, phase ORDER BY rounded_ns) AS up_to,
        sum(requests) OVER (PARTITION BY service, date, host, phase) AS requests
    FROM counted
)
SELECT
    service,
    date,
    host,
    CAST(max(requests) AS BIGINT) AS requests,
    phase,
    round(min(rounded_ns) / 1e6, 3) AS p99_ms
FROM ranked
WHERE up_to * 100 >= requests * 99
GROUP BY service, date, host, phase
HAVING min(rounded_ns) > 0
ORDER BY service, date, host, p99_ms DESC, phase;
