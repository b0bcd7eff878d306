"""The prefix of a network's keys in a state dict: names of wrappers, of entries, of a larger module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pannsx.errors import WeightsError
from pannsx.models.layout import published_key

Value = TypeVar("Value")

ANCHORS = ("fc_audioset.weight", "att_block.cla.weight")
"""Keys of classifiers, one of which every network has; the text before it is the network's prefix."""

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names that torch.compile, FSDP and activation checkpointing put into a key, at any place."""

_OUTER = ("module", "model", "network", "net")
"""Attributes that hold the network in DataParallel, in Lightning and in other training programs."""

_SHOWN = 8  # beginnings of keys in an error


def published_keys(state: Iterable[str], path: Path) -> list[str]:
    """The published keys of a state dict with one network.

    Raises:
        WeightsError: there are several networks, or one and other keys.
    """
    keys = [_unwrapped(key) for key in state]
    while outer := next((name for name in _OUTER if all(key.startswith(f"{name}.") for key in keys)), None):
        keys = [key.removeprefix(f"{outer}.") for key in keys]
    prefix = _prefix_of_network(keys, path)
    return [published_key(key.removeprefix(prefix)) for key in keys]


def _prefix_of_network(keys: list[str], path: Path) -> str:
    """The prefix of all keys of the only network; WeightsError if there are several, or other keys.

    A network at the top level has the prefix ``""``, whatever else there is: its keys are compared with the
    model's afterwards.
    """
    prefixes = {_prefix_before(key, anchor) for key in keys for anchor in ANCHORS if ends_in(key, anchor)}
    if "" in prefixes or not prefixes:
        return ""
    if len(prefixes) > 1:
        shown = ", ".join(map(repr, sorted(prefixes)))
        raise WeightsError(f"{path} holds several networks, under {shown}; choose one with prefix=")
    (prefix,) = prefixes
    others = [key for key in keys if not key.startswith(prefix)]
    if others:
        raise WeightsError(
            f"{path} holds a network under {prefix!r}, and {len(others)} other keys ({others[0]!r}, ...); "
            f"give prefix={prefix!r} to load the network without them"
        )
    return prefix


def ends_in(key: str, anchor: str) -> bool:
    """Whether a key is that of a classifier, in a network of any prefix."""
    return key == anchor or key.endswith(f".{anchor}")


def _prefix_before(key: str, anchor: str) -> str:
    """The prefix of a classifier's key, without our own names of parts."""
    names = key.removesuffix(anchor).rstrip(".").split(".")
    while names and published_key(f"{names[-1]}.x") == "x":
        del names[-1]
    return "".join(f"{name}." for name in names if name)


def under(prefix: str, state: dict[str, Value], path: Path) -> dict[str, Value]:
    """The tensors under a prefix, without it and without what DataParallel or Lightning put before it.

    Raises:
        WeightsError: there are none, or the prefix is at several places.
    """
    wanted = _unwrapped(prefix) + "."
    keys = {_unwrapped(key): tensor for key, tensor in state.items()}
    starts = {key[: at + len(wanted)] for key in keys if (at := f".{key}".find(f".{wanted}")) >= 0}
    if wanted in starts:
        starts = {wanted}
    if not starts:
        firsts = dict.fromkeys(key.split(".")[0] for key in keys)
        raise WeightsError(
            f"{path} has no key under the prefix {prefix!r}; its keys begin with "
            f"{', '.join(map(repr, list(firsts)[:_SHOWN]))}"
        )
    if len(starts) > 1:
        raise WeightsError(
            f"{path} has the prefix {prefix!r} at several places, {', '.join(map(repr, sorted(starts)))}; "
            "give one of them as prefix="
        )
    (start,) = starts
    return {key.removeprefix(start): tensor for key, tensor in keys.items() if key.startswith(start)}


def _unwrapped(key: str) -> str:
    return ".".join(name for name in key.split(".") if name not in _WRAPPERS)
