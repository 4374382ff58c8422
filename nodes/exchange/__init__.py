"""The embedded exchange: one simulated market behind the wire of real exchanges, with faults on demand.

    async with Exchange(parse_sim_params("symbols=50,rate=1000,seed=7")) as exchange:
        ...  # connect to exchange.ws_url and exchange.rest_url

Its data are made up. Every HTTP reply and every WebSocket handshake carries `X-Flow-Simulated: 1`.
"""

from nodes.exchange.counters import Counters
from nodes.exchange.faults import FaultKind
from nodes.exchange.params import FaultParams, LimitParams, SimParams, parse_sim_params
from nodes.exchange.server import Exchange

__all__ = ["Counters", "Exchange", "FaultKind", "FaultParams", "LimitParams", "SimParams", "parse_sim_params"]
