"""The components with a life-cycle: providers, the embedded exchange, sources, buses, sinks."""
