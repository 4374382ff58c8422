"""Binance's public wire, spoken over the simulated market."""
