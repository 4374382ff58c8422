"""The operators of the market-data graphs, one a file."""
