"""An OpenTelemetry collector that writes down what it gets, as OpenTelemetry's own library reads it.

In: `--file` for JSON lines, one for each span (`{"span": …}`) and each metric (`{"metric": …}`); `--busy N`: the first N
messages are answered 503. Out: one line `listening PORT` on standard output, then answers until it is ended.
"""

import argparse
import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def attributes(message):
    values = ((entry.key, entry.value) for entry in message.attributes)
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


def span_of(span, resource):
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "events": [event.name for event in span.events],
        "error": span.status.code == 2,
        "attributes": attributes(span),
        "resource": resource,
    }


def lines_of(path, body):
    if path == "/v1/traces":
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = attributes(group.resource)
            for scope in group.scope_spans:
                yield from ({"span": span_of(span, resource)} for span in scope.spans)
    elif path == "/v1/metrics":
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in group.scope_metrics:
                yield from ({"metric": MessageToDict(metric)} for metric in scope.metrics)
    else:
        raise LookupError(path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        status = 200
        if self.server.busy > 0:
            self.server.busy -= 1
            status = 503
        elif self.headers["content-type"] != "application/x-protobuf":
            status = 415
        else:
            try:
                lines = [json.dumps(line) + "\n" for line in lines_of(self.path, body)]
            except LookupError:
                status = 404
            else:
                with open(self.server.file, "a", encoding="utf-8") as file:
                    file.write("".join(lines))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", required=True)
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.file, server.busy = arguments.file, arguments.busy
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
