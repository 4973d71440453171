-- What did requests wait for, in the end, over the whole fleet?
--
-- One row a service and leaf, the costliest first: each wait followed to what ended it, and requests' own work beside it. `held_s`
-- is request time there, `of_request_ratio` its share of all request time of the service. `prevented_s` would not have been
-- without it. That does not add up, and is null where nothing was replayed. `by_way_of` is the way that took longest.
WITH
    known AS (
        SELECT
            "service.name" AS service,
            kind,
            coalesce(object, '') AS object,
            coalesce(system_call, '') AS system_call,
            coalesce(endpoint, '') AS endpoint,
            coalesce(reason, '') AS reason,
            coalesce(hops, 'itself') AS way,
            "host.name" AS host,
            held_ns, unusual_ns, prevented_ns, requests, longest_ns
        FROM leaves
    ),
    by_way AS (
        SELECT service, kind, object, system_call, endpoint, reason, way, sum(held_ns) AS held_ns
        FROM known
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    ),
    placed AS (
        -- Where two ways took as long, the name decides: every engine names the same one.
        SELECT
            *,
            row_number() OVER (
                PARTITION BY service, kind, object, system_call, endpoint, reason ORDER BY held_ns DESC, way
            ) AS place
        FROM by_way
    ),
    ways AS (
        SELECT service, kind, object, system_call, endpoint, reason, way FROM placed WHERE place = 1
    ),
    by_leaf AS (
        SELECT
            service, kind, object, system_call, endpoint, reason,
            count(DISTINCT host) AS hosts,
            sum(held_ns) AS held_ns,
            sum(unusual_ns) AS unusual_ns,
            sum(prevented_ns) AS prevented_ns,
            sum(requests) AS requests,
            max(longest_ns) AS longest_ns
        FROM known
        GROUP BY 1, 2, 3, 4, 5, 6
    )
SELECT
    service,
    kind,
    nullif(object, '') AS object,
    nullif(system_call, '') AS system_call,
    nullif(endpoint, '') AS endpoint,
    nullif(reason, '') AS reason,
    hosts,
    round(held_ns / 1e9, 3) AS held_s,
    round(held_ns / sum(held_ns) OVER (PARTITION BY service), 4) AS of_request_ratio,
    round(unusual_ns / 1e9, 3) AS unusual_s,
    round(prevented_ns / 1e9, 3) AS prevented_s,
    requests,
    round(longest_ns / 1e9, 3) AS longest_s,
    way AS by_way_of
FROM by_leaf JOIN ways USING (service, kind, object, system_call, endpoint, reason)
WHERE held_ns > 0
ORDER BY held_ns DESC, service, kind, by_leaf.object, by_leaf.system_call, by_leaf.endpoint, by_leaf.reason;
