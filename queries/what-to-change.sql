-- Which change would save most request time, in which service?
--
-- One row a service, finding and setting. It says on how many hosts and in how many windows it is present, since which day,
-- and what it cost there. A finding that follows from another, or whose advice yields to another's, is left out: that other one has its
-- own row.
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
    max_by(sentence, cost_ns) AS worst_case
FROM findings
WHERE answer = 'present' AND id <> 'healthy' AND follows IS NULL AND yields_to IS NULL
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY sum(cost_ns) DESC, service, finding, setting_option NULLS LAST, setting_present NULLS LAST;
