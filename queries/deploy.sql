-- What changed with the latest version of each service, on which endpoint, in which phase?
--
-- Needs `--resource service.version=…` at the export. The version that was seen first most recently is compared with the one
-- before it. Each endpoint is compared by itself: a change of the mix changes nothing here. As in `wsgi-trace diff`, errors are those of
-- means of batches. `t` is the difference in units of them. Less than 1 µs is taken for 1 µs. The limit of 6 is Student's for
-- eight batches a side and 1,000 comparisons at 5 % for all of them together. Changes below a twentieth of the endpoint's mean
-- time are left out. So are requests of windows that lost something, and versions are compared within one mode.
WITH
    covered AS (
        SELECT recording_id, window_number, mode FROM windows WHERE is_complete
    ),
    versions AS (
        SELECT "service.name" AS service, "service.version" AS version, min(start_time) AS first_seen
        FROM windows
        WHERE "service.version" IS NOT NULL
        GROUP BY 1, 2
    ),
    latest AS (
        SELECT service, version, first_seen,
            row_number() OVER (PARTITION BY service ORDER BY first_seen DESC, version DESC) AS place
        FROM versions
    ),
    spans AS (
        -- Requests are numbered in the order in which they came: so many of them after one another are a batch.
        SELECT recording_id, min(request_id) AS first_id, max(request_id) - min(request_id) + 1 AS ids
        FROM requests
        GROUP BY 1
    ),
    batches AS (
        SELECT
            latest.service, latest.version, latest.first_seen, latest.place, mode,
            "http.request.method" AS method,
            "http.route" AS route,
            recording_id,
            floor(16 * (request_id - first_id) / ids) AS batch,
            count(*) AS requests,
            avg(total_ns) AS total_ns,
            avg(accept_queue_ns) AS accept_queue_ns,
            avg(pool_wait_ns) AS pool_wait_ns,
            avg(loop_wait_ns) AS loop_wait_ns,
            avg(read_head_ns) AS read_head_ns,
            avg(read_body_ns) AS read_body_ns,
            avg(client_read_stall_ns) AS client_read_stall_ns,
            avg(cpu_ns) AS cpu_ns,
            avg(run_queue_ns) AS run_queue_ns,
            avg(gil_wait_ns) AS gil_wait_ns,
            avg(lock_wait_ns) AS lock_wait_ns,
            avg(backend_wait_ns) AS backend_wait_ns,
            avg(child_wait_ns) AS child_wait_ns,
            avg(file_wait_ns) AS file_wait_ns,
            avg(fault_wait_ns) AS fault_wait_ns,
            avg(sleep_ns) AS sleep_ns,
            avg(write_ns) AS write_ns,
            avg(client_write_stall_ns) AS client_write_stall_ns,
            avg(front_end_ns) AS front_end_ns,
            avg(unexplained_ns) AS unexplained_ns
        FROM requests
            JOIN spans USING (recording_id)
            JOIN covered USING (recording_id, window_number)
            JOIN latest ON latest.service = "service.name" AND latest.version = "service.version" AND latest.place <= 2
        WHERE NOT is_open AND NOT is_truncated
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ),
    sides AS (
        SELECT
            service, mode, method, route, phase, place, version, first_seen,
            sum(requests) AS requests, count(*) AS batches, avg(ns) AS mean_ns, var_samp(ns) / count(*) AS error
        FROM batches UNPIVOT (ns FOR phase IN (
            total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
            client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
            child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns, front_end_ns,
            unexplained_ns
        ))
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ),
    whole AS (
        SELECT service, mode, method, route, mean_ns AS endpoint_ns FROM sides WHERE place = 2 AND phase = 'total_ns'
    )
SELECT
    service, mode, method, route, phase,
    before.version AS version_before,
    after.version AS version_after,
    after.first_seen AS since,
    round(before.mean_ns / 1e6, 3) AS before_ms,
    round(after.mean_ns / 1e6, 3) AS after_ms,
    round((after.mean_ns - before.mean_ns) / 1e6, 3) AS difference_ms,
    round((after.mean_ns - before.mean_ns) / sqrt(greatest(before.error + after.error, 1e6)), 1) AS t
FROM (SELECT * FROM sides WHERE place = 2) AS before
    JOIN (SELECT * FROM sides WHERE place = 1) AS after USING (service, mode, method, route, phase)
    JOIN whole USING (service, mode, method, route)
WHERE before.batches >= 8 AND after.batches >= 8 AND before.requests >= 100 AND after.requests >= 100
    AND abs(after.mean_ns - before.mean_ns) >= 6 * sqrt(greatest(before.error + after.error, 1e6))
    AND abs(after.mean_ns - before.mean_ns) >= endpoint_ns / 20
ORDER BY abs(after.mean_ns - before.mean_ns) DESC, service, mode, method, route, phase;
