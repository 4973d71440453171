-- The tables of the directory `fleet`, for Apache Spark 3.5 or newer, in one session with the queries:
--   spark-sql -i queries/tables-spark.sql -f queries/coverage.sql
-- Names with dots are quoted as the SQL standard has it, which Spark reads with these two settings.
SET spark.sql.ansi.enabled = true;
SET spark.sql.ansi.doubleQuotedIdentifiers = true;
SET spark.sql.session.timeZone = UTC;
CREATE TEMPORARY VIEW requests USING parquet OPTIONS (path 'fleet/requests');
CREATE TEMPORARY VIEW windows USING parquet OPTIONS (path 'fleet/windows');
CREATE TEMPORARY VIEW findings USING parquet OPTIONS (path 'fleet/findings');
CREATE TEMPORARY VIEW gil_waits USING parquet OPTIONS (path 'fleet/gil_waits');
CREATE TEMPORARY VIEW slots USING parquet OPTIONS (path 'fleet/slots');
CREATE TEMPORARY VIEW connections USING parquet OPTIONS (path 'fleet/connections');
