"""The contract suite: what every operator is held to, third parties' too.

    check_operator(spaced)                                # canonical events in
    check_operator(spaced, params={"least_ms": 10})
    check_operator(decode, frames, params={"codec": "binance"})      # frames(pools) -> list of WsFrame
    check_operator(lambda context: doubled(), st.integers())          # any operator of reactivex

Needs hypothesis, which draws the scripts that the operator is driven by. `rules` holds what is asked of it
alone, `company` what is asked among others and on every scheduler; `check.RULES` lists both.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    raise ImportError("flow.testing.check_operator needs hypothesis: pip install hypothesis")
