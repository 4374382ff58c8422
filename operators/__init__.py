"""Reactive operators, one a file: pure stream to stream, usable in YAML and in a bare `.pipe(...)`."""

from operators.coalesce import coalesce
from operators.decode import decode
from operators.dedupe import dedupe
from operators.fan_out_clone import fan_out_clone
from operators.ingest import ingest
from operators.order_buffer import order_buffer
from operators.route import route

__all__ = ["coalesce", "decode", "dedupe", "fan_out_clone", "ingest", "order_buffer", "route"]
