"""The provider kit: what exchanges have in common as seen by a client, and one package per exchange.

`transport` is the door to the network (and to recordings), `limits` and `backoff` keep an exchange's
rules, `rest` and `link` speak over a transport, `carrier` keeps connections up, `symbols` translates
names, and `provider` ties them together as the one object that the nodes of a graph share per exchange.
"""
