"""Lints a chart and renders it with Helm's own engine (helm-python-sdk); no cluster is asked.

In: the chart's folder, values as JSON. Out: the manifests as one YAML text. What Helm finds wrong ends it with 1.
"""

import json
import sys

import helm_python
from helm_python import Chart, chart

path, values = sys.argv[1], json.loads(sys.argv[2])
report = chart.lint(path, values, strict=True, namespace="watch", kube_version="v1.30.0")
if report["errors"]:
    sys.exit("\n".join(report["errors"]))
try:
    manifests = Chart.load(path).render(values, name="wsgi-trace", namespace="watch")
except helm_python.errors.HelmError as error:
    sys.exit(str(error))
for name, text in sorted(manifests.items()):
    if name.endswith(".yaml") and text.strip():
        print(f"---\n{text}")
