-- Which connections ended badly, why, and where?
--
-- One row a service and cause: docs/dropped-connections.md says what each cause means. `of_connections_ratio` is the share of
-- the service's connections in the same windows. Windows in light mode know nothing of them and are left out.
WITH
    bad AS (
        SELECT
            "service.name" AS service,
            cause,
            is_clients_doing,
            sum(connections) AS connections,
            count(DISTINCT "host.name") AS hosts,
            max_by("http.route", coalesce(waited_ns, 0)) AS longest_waited_for
        FROM connections
        GROUP BY 1, 2, 3
    ),
    seen AS (
        SELECT "service.name" AS service, sum(connections_seen) AS connections_seen
        FROM windows
        WHERE connections_dropped IS NOT NULL
        GROUP BY 1
    )
SELECT
    service, cause, is_clients_doing, connections, hosts,
    round(connections / connections_seen, 5) AS of_connections_ratio,
    longest_waited_for
FROM bad JOIN seen USING (service)
WHERE connections_seen > 0
ORDER BY connections DESC, service, cause;
