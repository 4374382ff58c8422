"""The components with a life-cycle: providers, the embedded exchange, sources, buses, sinks.

Importing the package registers them: what `--sim` and `--replay` need of their own is imported on first use.
"""

from nodes import recorded, simulation, sinks
from nodes.providers.binance import books, codec, provider, stream

__all__ = ["books", "codec", "provider", "recorded", "simulation", "sinks", "stream"]
