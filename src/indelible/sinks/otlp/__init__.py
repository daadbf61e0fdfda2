"""OTLP logs to a receiver: an OpenTelemetry Collector, or whatever takes what Collectors take.

`environment` what ``OTEL_EXPORTER_OTLP_*`` say · `message` many records in one request, as JSON or protobuf · `answers`
what the answers mean · `over_grpc` that transport · `sink` the sink, over it or over HTTP.
"""
