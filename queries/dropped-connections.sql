-- Which connections ended badly, why, and where?
--
-- One row a service and cause: docs/dropped-connections.md says what each cause means. `of_connections_ratio` is the share of
-- the service's connections in the same windows. Windows that know nothing of them (light mode over UNIX sockets) are left out.
WITH
    placed AS (
        -- Those with a route first. Where two waited as long, the name decides: every engine names the same one.
        SELECT
            "service.name" AS service,
            cause, is_clients_doing, connections,
            "host.name" AS host_name,
            "http.route" AS route,
            row_number() OVER (
                PARTITION BY "service.name", cause, is_clients_doing
                ORDER BY "http.route" IS NULL, coalesce(waited_ns, 0) DESC, "http.route"
            ) AS place
        FROM connections
    ),
    bad AS (
        SELECT
            service, cause, is_clients_doing,
            sum(connections) AS connections,
            count(DISTINCT host_name) AS hosts,
            max(CASE WHEN place = 1 THEN route END) AS longest_waited_for
        FROM placed
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
