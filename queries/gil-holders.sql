-- Who has the interpreter lock (GIL) while others wait for it, over the whole fleet?
--
-- One row a service and holder, the costliest first. `waited_s` is time that others waited. `of_waiting_ratio` is its share of
-- all waiting for the lock in the service. `mostly_waits` is who waited longest. A holder that did not give the lock up when it
-- was asked to (`not_honoured_s`) runs in an extension that never releases it.
WITH
    pairs AS (
        SELECT
            "service.name" AS service,
            coalesce(holder_endpoint, holder_thread, holder_kind) AS holder,
            coalesce(waiter_endpoint, waiter_thread, waiter_kind) AS waiter,
            "host.name" AS host,
            wait_ns,
            waits,
            drop_not_honoured_ns
        FROM gil_waits
    ),
    by_pair AS (
        SELECT
            service, holder, waiter,
            sum(wait_ns) AS wait_ns,
            sum(waits) AS waits,
            sum(drop_not_honoured_ns) AS drop_not_honoured_ns
        FROM pairs
        GROUP BY 1, 2, 3
    ),
    placed AS (
        -- Where two waited as long, the name decides: every engine names the same one.
        SELECT *, row_number() OVER (PARTITION BY service, holder ORDER BY wait_ns DESC, waiter) AS place FROM by_pair
    ),
    hosts AS (
        SELECT service, holder, count(DISTINCT host) AS hosts FROM pairs GROUP BY 1, 2
    ),
    by_holder AS (
        SELECT
            service, holder,
            sum(wait_ns) AS wait_ns,
            sum(waits) AS waits,
            sum(drop_not_honoured_ns) AS drop_not_honoured_ns,
            max(CASE WHEN place = 1 THEN waiter END) AS mostly_waits
        FROM placed
        GROUP BY 1, 2
    )
SELECT
    service, holder, hosts,
    round(wait_ns / 1e9, 3) AS waited_s,
    round(wait_ns / sum(wait_ns) OVER (PARTITION BY service), 4) AS of_waiting_ratio,
    waits,
    round(drop_not_honoured_ns / 1e9, 3) AS not_honoured_s,
    mostly_waits
FROM by_holder JOIN hosts USING (service, holder)
WHERE wait_ns > 0
ORDER BY wait_ns DESC, service, holder;
