"""What operations see: occurrences, dead letters, latency, the ledger. Consumers never feed it."""
