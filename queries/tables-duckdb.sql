-- The tables of the directory `fleet`, for DuckDB:
--   duckdb -c ".read queries/tables-duckdb.sql" -c ".read queries/coverage.sql"
-- Files of agents of several versions may be there: a column that a file does not have is null.
SET timezone = 'UTC';
CREATE OR REPLACE VIEW requests AS FROM read_parquet('fleet/requests/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW windows AS FROM read_parquet('fleet/windows/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW findings AS FROM read_parquet('fleet/findings/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW leaves AS FROM read_parquet('fleet/leaves/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW gil_waits AS FROM read_parquet('fleet/gil_waits/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW slots AS FROM read_parquet('fleet/slots/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
CREATE OR REPLACE VIEW connections AS FROM read_parquet('fleet/connections/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true);
