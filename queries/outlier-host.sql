-- Which host differs from the others of its service, in which phase, and is it noise?
--
-- A request's time in a phase is averaged over 16 batches of each recording, requests that came after one another. A host's
-- error is that of the mean of its batches, as in `wsgi-trace diff`. To it comes how much the hosts of the service differ
-- anyway (the median deviation from the median host). `t` is the difference in units of both together. Less than 1 µs is taken
-- for 1 µs. The limit of 6.5 is Student's for 16 batches and 3,800 comparisons (200 hosts, 19 columns) at 5 % for all of them
-- together. A difference of less than a twentieth of the service's mean time is left out: it is not worth a look. It takes
-- five hosts to say which one is different. `since` is the first day on which the host differed by half as much or more.
--
-- Coverage comes first: requests of windows that lost something are left out, and hosts are compared within one mode, as light
-- mode measures fewer phases. A host that lost something in all windows has no row: coverage.sql names it.
WITH
    covered AS (
        SELECT recording_id, window_number, mode FROM windows WHERE is_complete
    ),
    spans AS (
        -- Requests are numbered in the order in which they came: so many of them after one another are a batch.
        SELECT recording_id, min(request_id) AS first_id, max(request_id) - min(request_id) + 1 AS ids
        FROM requests
        GROUP BY 1
    ),
    batches AS (
        SELECT
            "service.name" AS service,
            mode,
            "host.name" AS host,
            recording_id,
            floor(16 * (request_id - first_id) / ids) AS batch,
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
        FROM requests JOIN spans USING (recording_id) JOIN covered USING (recording_id, window_number)
        WHERE NOT is_open AND NOT is_truncated
        GROUP BY 1, 2, 3, 4, 5
    ),
    by_host AS (
        SELECT service, mode, host, phase, count(*) AS batches, avg(ns) AS mean_ns, var_samp(ns) / count(*) AS error
        FROM batches UNPIVOT (ns FOR phase IN (
            total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
            client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
            child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns, front_end_ns,
            unexplained_ns
        ))
        GROUP BY 1, 2, 3, 4
    ),
    middle AS (
        SELECT service, mode, phase, count(*) AS hosts, median(mean_ns) AS middle_ns
        FROM by_host
        GROUP BY 1, 2, 3
    ),
    spread AS (
        SELECT service, mode, phase, 1.4826 * median(abs(mean_ns - middle_ns)) AS spread_ns
        FROM by_host JOIN middle USING (service, mode, phase)
        GROUP BY 1, 2, 3
    ),
    whole AS (
        SELECT service, mode, middle_ns AS service_ns FROM middle WHERE phase = 'total_ns'
    ),
    judged AS (
        SELECT
            service, mode, host, phase, hosts, batches, mean_ns, middle_ns, service_ns,
            (mean_ns - middle_ns) / sqrt(greatest(error + spread_ns * spread_ns, 1e6)) AS t
        FROM by_host
            JOIN middle USING (service, mode, phase)
            JOIN spread USING (service, mode, phase)
            JOIN whole USING (service, mode)
    ),
    differ AS (
        SELECT * FROM judged
        WHERE hosts >= 5 AND batches >= 8 AND abs(t) >= 6.5 AND abs(mean_ns - middle_ns) >= service_ns / 20
    ),
    days AS (
        SELECT
            "service.name" AS service,
            mode,
            "host.name" AS host,
            date,
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
        FROM requests JOIN covered USING (recording_id, window_number)
        WHERE NOT is_open AND NOT is_truncated
        GROUP BY 1, 2, 3, 4
    ),
    by_day AS (
        SELECT service, mode, host, date, phase, ns
        FROM days UNPIVOT (ns FOR phase IN (
            total_ns, accept_queue_ns, pool_wait_ns, loop_wait_ns, read_head_ns, read_body_ns,
            client_read_stall_ns, cpu_ns, run_queue_ns, gil_wait_ns, lock_wait_ns, backend_wait_ns,
            child_wait_ns, file_wait_ns, fault_wait_ns, sleep_ns, write_ns, client_write_stall_ns, front_end_ns,
            unexplained_ns
        ))
    ),
    middle_of_day AS (
        SELECT service, mode, date, phase, median(ns) AS day_ns FROM by_day GROUP BY 1, 2, 3, 4
    ),
    began AS (
        SELECT service, mode, host, phase, min(date) AS since
        FROM differ
            JOIN by_day USING (service, mode, host, phase)
            JOIN middle_of_day USING (service, mode, date, phase)
        WHERE (ns - day_ns) * sign(mean_ns - middle_ns) >= abs(mean_ns - middle_ns) / 2
        GROUP BY 1, 2, 3, 4
    )
SELECT
    service, mode, host, phase,
    round(mean_ns / 1e6, 3) AS mean_ms,
    round(middle_ns / 1e6, 3) AS other_hosts_ms,
    round((mean_ns - middle_ns) / 1e6, 3) AS difference_ms,
    round(t, 1) AS t,
    hosts,
    since
FROM differ LEFT JOIN began USING (service, mode, host, phase)
ORDER BY abs(mean_ns - middle_ns) DESC, service, mode, host, phase;
