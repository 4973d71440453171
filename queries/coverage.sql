-- How much was seen, and what was lost? Ask this before anything else.
--
-- One row a service, host and day. `complete_ratio` is the share of windows that lost nothing. Where it is below 1, sums of
-- requests and of phases are too small by an unknown part, and hosts are not comparable. `light_ratio` is the share of windows
-- in light mode, which has fewer phases: compare phases within one mode only. `not_measured` names phases that are null.
SELECT
    "service.name" AS service,
    "host.name" AS host,
    date,
    count(*) AS windows,
    round(sum(length_ns) / 3600e9, 3) AS hours_seen,
    sum(requests_completed) AS requests,
    sum(requests_open) AS requests_open,
    round(avg(CASE WHEN is_complete THEN 1.0 ELSE 0.0 END), 4) AS complete_ratio,
    round(avg(CASE WHEN mode = 'light' THEN 1.0 ELSE 0.0 END), 4) AS light_ratio,
    sum(requests_not_written) AS requests_not_written,
    sum(records_lost) AS records_lost,
    sum(sequence_holes) AS sequence_holes,
    sum(records_late + records_malformed + evicted + runs_skipped) AS other_losses,
    count(*) FILTER (WHERE is_recording_truncated) AS truncated_windows,
    max(not_measured) AS not_measured
FROM windows
GROUP BY 1, 2, 3
ORDER BY complete_ratio, service, host, date;
