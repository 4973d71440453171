-- Which services run out of workers or threads, and how much would they gain?
--
-- One row a service. A slot can serve one request at a time. `exhausted_ratio` is the share of time in which all slots of a
-- host were busy: nothing could start. `waited_ratio` is the share of request time that was spent waiting for a slot: what more
-- slots, or shorter requests, can save at most. Windows in light mode know nothing of slots and are left out.
-- `waited_p99_ms` is exact to a tenth of a millisecond: an engine that counts equal times then has few to count.
-- Times are added up in seconds: in nanoseconds those of a large fleet do not fit into 64 bits.
WITH
    held AS (
        SELECT
            "service.name" AS service,
            count(DISTINCT "host.name") AS hosts,
            round(sum(length_ns / 3600e9), 3) AS hours_seen,
            max(slots) AS slots_of_a_host,
            max(slots_busy_max) AS slots_busy_max,
            sum(slots_busy_ns / 1e9) / sum(slots * (length_ns / 1e9)) AS busy_ratio,
            sum(slots_exhausted_ns / 1e9) / sum(length_ns / 1e9) AS exhausted_ratio,
            sum(requests_completed) / sum(length_ns / 1e9) AS requests_a_second
        FROM windows
        WHERE slots > 0
        GROUP BY 1
    ),
    waited AS (
        SELECT
            "service.name" AS service,
            sum((coalesce(accept_queue_ns, 0) + coalesce(pool_wait_ns, 0)) / 1e9) AS waited_s,
            sum(total_ns / 1e9) AS request_s,
            percentile_disc(0.99) WITHIN GROUP (ORDER BY round(coalesce(accept_queue_ns, 0) + coalesce(pool_wait_ns, 0), -5)) / 1e6
                AS waited_p99_ms
        FROM requests
        WHERE NOT is_open AND NOT is_truncated
        GROUP BY 1
    )
SELECT
    service, hosts, hours_seen, slots_of_a_host, slots_busy_max,
    round(busy_ratio, 4) AS busy_ratio,
    round(exhausted_ratio, 4) AS exhausted_ratio,
    round(requests_a_second, 2) AS requests_a_second,
    round(waited_s, 3) AS waited_s,
    round(waited_s / request_s, 4) AS waited_ratio,
    round(waited_p99_ms, 3) AS waited_p99_ms
FROM held JOIN waited USING (service)
WHERE request_s > 0
ORDER BY waited_s DESC, service;
