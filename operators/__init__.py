"""Reactive operators, one a file: pure stream to stream, usable in YAML and in a bare `.pipe(...)`."""

from operators.coalesce import coalesce
from operators.decode import decode
from operators.dedupe import dedupe
from operators.fan_out_clone import fan_out_clone
from operators.ingest import ingest
from operators.order_buffer import order_buffer
from operators.route import route
from operators.rx import (
    rx_buffer_with_count,
    rx_buffer_with_time,
    rx_debounce,
    rx_distinct_until_changed,
    rx_filter,
    rx_map,
    rx_pairwise,
    rx_sample,
    rx_scan,
)
from operators.throttle import throttle
from operators.window_merge import window_merge

__all__ = [
    "coalesce",
    "decode",
    "dedupe",
    "fan_out_clone",
    "ingest",
    "order_buffer",
    "route",
    "rx_buffer_with_count",
    "rx_buffer_with_time",
    "rx_debounce",
    "rx_distinct_until_changed",
    "rx_filter",
    "rx_map",
    "rx_pairwise",
    "rx_sample",
    "rx_scan",
    "throttle",
    "window_merge",
]
