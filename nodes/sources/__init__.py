"""Sources other than exchanges: `capture` reads and writes recordings, `replay` plays them."""
