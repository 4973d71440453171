-- The tables of the directory `fleet`, for Apache Spark 3.5 or newer, in one session with the queries:
--   spark-sql -i queries/tables-spark.sql -f queries/coverage.sql
-- Names with dots are quoted as the SQL standard has it, which Spark reads with these two settings.
SET spark.sql.ansi.enabled = true;
SET spark.sql.ansi.doubleQuotedIdentifiers = true;
SET spark.sql.session.timeZone = UTC;
-- Files of agents of several versions may be there: a column that a file does not have is null.
CREATE TEMPORARY VIEW requests USING parquet OPTIONS (path 'fleet/requests', mergeSchema 'true');
CREATE TEMPORARY VIEW windows USING parquet OPTIONS (path 'fleet/windows', mergeSchema 'true');
CREATE TEMPORARY VIEW findings USING parquet OPTIONS (path 'fleet/findings', mergeSchema 'true');
CREATE TEMPORARY VIEW leaves USING parquet OPTIONS (path 'fleet/leaves', mergeSchema 'true');
CREATE TEMPORARY VIEW gil_waits USING parquet OPTIONS (path 'fleet/gil_waits', mergeSchema 'true');
CREATE TEMPORARY VIEW slots USING parquet OPTIONS (path 'fleet/slots', mergeSchema 'true');
CREATE TEMPORARY VIEW connections USING parquet OPTIONS (path 'fleet/connections', mergeSchema 'true');
