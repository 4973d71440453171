"""Runs queries on a fleet's tables with Apache Spark: two executors with memory limits, so that shuffles and spills happen.

In: the directory of the tables, the statements that make the tables, the queries. Out: a line of JSON for each query: its name, how
long it took, its rows; and at the end one for each with the bytes that went between executors and that did not fit into their memory.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

tables, views, *queries = map(Path, sys.argv[1:])
# Executors are processes of their own, which start from here.
os.environ.setdefault("SPARK_HOME", os.path.dirname(pyspark.__file__))
os.environ["PYSPARK_PYTHON"] = sys.executable
# What it says of itself of each task: nothing else has its spills by query.
events = tempfile.TemporaryDirectory(prefix="spark-events-")
spark = (
    SparkSession.builder.master("local-cluster[2,1,1200]")
    .config("spark.executor.memory", "1200m")
    .config("spark.driver.memory", "1g")
    .config("spark.sql.shuffle.partitions", "8")
    # Files are thousands and small: directories are listed here, not by a task each, and a task reads many files.
    .config("spark.sql.sources.parallelPartitionDiscovery.threshold", "1000000")
    .config("spark.sql.files.openCostInBytes", str(256 << 10))
    # Other work may have the cores for minutes.
    .config("spark.network.timeout", "1800s")
    .config("spark.executor.heartbeatInterval", "60s")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.log.level", "ERROR")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", Path(events.name).as_uri())
    .getOrCreate()
)


def moved(lines):
    """Bytes shuffled and spilled, by job group."""
    group_of_stage, sums = {}, {}
    for event in map(json.loads, lines):
        if event["Event"] == "SparkListenerJobStart":
            group = event["Properties"].get("spark.jobGroup.id", "")
            group_of_stage.update(dict.fromkeys(event["Stage IDs"], group))
        elif event["Event"] == "SparkListenerTaskEnd" and event.get("Task Metrics"):
            metrics = event["Task Metrics"]
            of_group = sums.setdefault(group_of_stage.get(event["Stage ID"], ""), Counter())
            of_group["shuffled_bytes"] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
            of_group["spilled_bytes"] += metrics["Disk Bytes Spilled"]
    return sums


statements = [line for line in views.read_text().splitlines() if not line.startswith("--")]
for statement in filter(None, (text.strip() for text in "\n".join(statements).split(";"))):
    spark.sql(statement.replace("'fleet/", f"'{tables}/"))
for query in queries:
    spark.sparkContext.setJobGroup(query.stem, query.stem)
    began = time.monotonic()
    rows = [row.asDict() for row in spark.sql(query.read_text().strip().rstrip(";")).collect()]
    took = time.monotonic() - began
    print(json.dumps({"query": query.stem, "seconds": took, "rows": rows}, default=str), flush=True)
application = spark.sparkContext.applicationId
spark.stop()
# Executors leave their programs and logs there.
shutil.rmtree(Path(os.environ["SPARK_HOME"]) / "work" / application, ignore_errors=True)
with next(Path(events.name).iterdir()).open() as log:
    for name, bytes_of in moved(log).items():
        print(json.dumps({"query": name, **bytes_of}), flush=True)
events.cleanup()
