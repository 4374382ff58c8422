"""Nothing may be left out of a pool."""

from __future__ import annotations

from flow.pool import Pools

__all__ = ["assert_nothing_out"]


def assert_nothing_out(pools: Pools, *, used: bool = True) -> None:
    """Raises `AssertionError` where an object is out, where puts are not gets, or, with `used`, where none
    was taken."""
    figures = pools.figures()
    for kind, pool in pools.by_kind.items():
        if pool.out:
            raise AssertionError(f"{pool.out} of {kind} were not put back: {pool.whereabouts()}")
        lying = sum(len(shelf) for shelf in pool.shelves.values())
        if not pool.is_off and lying != pool.made:
            raise AssertionError(f"{kind}: {pool.made} objects were made, {lying} lie on their shelves")
    if used and not any(figure["gets"] for figure in figures.values()):
        raise AssertionError("no object was taken from any pool, so none could be left out")
