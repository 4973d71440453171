"""Runs queries on a fleet's tables with Apache Spark: two executors with memory limits, so that shuffles and spills happen.

In: the directory of the tables, the statements that make the tables, the queries. Out: a line of JSON for each query: its name, how
long it took, its rows.
"""

import json
import os
import sys
import time
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

tables, views, *queries = map(Path, sys.argv[1:])
# Executors are processes of their own, which start from here.
os.environ.setdefault("SPARK_HOME", os.path.dirname(pyspark.__file__))
os.environ["PYSPARK_PYTHON"] = sys.executable
spark = (
    SparkSession.builder.master("local-cluster[2,1,1200]")
    .config("spark.executor.memory", "1200m")
    .config("spark.driver.memory", "1g")
    .config("spark.sql.shuffle.partitions", "8")
    # Files are thousands and small: directories are listed here, not by a task each, and a task reads many files.
    .config("spark.sql.sources.parallelPartitionDiscovery.threshold", "1000000")
    .config("spark.sql.files.openCostInBytes", str(256 << 10))
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.log.level", "ERROR")
    .getOrCreate()
)
statements = [line for line in views.read_text().splitlines() if not line.startswith("--")]
for statement in filter(None, (text.strip() for text in "\n".join(statements).split(";"))):
    spark.sql(statement.replace("'fleet/", f"'{tables}/"))
for query in queries:
    began = time.monotonic()
    rows = [row.asDict() for row in spark.sql(query.read_text().strip().rstrip(";")).collect()]
    took = time.monotonic() - began
    print(json.dumps({"query": query.stem, "seconds": took, "rows": rows}, default=str), flush=True)
spark.stop()
