"""Binance spot: public streams and REST, as in Binance's own documentation of its API."""
