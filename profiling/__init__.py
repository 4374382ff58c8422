"""Benchmarks: what the graph costs, and what that is measured against."""
