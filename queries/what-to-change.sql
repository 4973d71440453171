-- Which change would save most request time, in which service?
--
-- One row a service, finding and setting. It says on how many hosts and in how many windows it is present, since which day,
-- and what it cost there.
WITH
    present AS (
        -- The worst case is the costliest. Where two cost as much, the sentence decides: every engine names the same one.
        SELECT
            *,
            row_number() OVER (
                PARTITION BY
                    "service.name", id, setting_option, setting_direction, setting_present, setting_proposed
                ORDER BY cost_ns DESC NULLS LAST, sentence NULLS LAST
            ) AS place
        FROM findings
        WHERE answer = 'present' AND id <> 'healthy'
    )
SELECT
    "service.name" AS service,
    id AS finding,
    setting_option,
    setting_direction,
    setting_present,
    setting_proposed,
    count(DISTINCT "host.name") AS hosts,
    count(*) AS windows,
    round(sum(cost_ns) / 1e9, 3) AS cost_s,
    CAST(min(end_time) AS DATE) AS since,
    max(CASE WHEN place = 1 THEN sentence END) AS worst_case
FROM present
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY sum(cost_ns) DESC NULLS LAST, service, finding, setting_option NULLS LAST, setting_present NULLS LAST;
