"""Patterns with braces: ``shard-{000..127}.tar`` and ``{train,test}/*.tar``, as shells expand them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

MOST_NAMES = 1_000_000
"""Of one pattern; a range with a digit too many would fill the memory."""

_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.(-?\d+))?")


class BracesError(ValueError):
    """A pattern that cannot be expanded; the message says why."""


def expand_braces(text: str) -> list[str]:
    """All names of a pattern, in order; the text itself if it has no list and no range.

    Lists ``{a,b}`` may hold further braces. Ranges are of whole numbers, with as many digits as they are
    written with, or of letters, with a step as in ``{0..20..5}``. Braces around anything else are themselves.

    Raises:
        BracesError: a brace without the other one, a range of a number and a letter, a step of 0, or more
            than a million names.
    """
    parts = list(_parts(text))
    n_names = 1
    for part in parts:
        n_names *= len(part)
        if n_names > MOST_NAMES:
            raise BracesError(f"the pattern {text!r} has more than {MOST_NAMES:,} names; give it in pieces")
    return ["".join(each) for each in product(*parts)]


def _parts(text: str) -> Iterator[list[str]]:
    """The alternatives of each piece of a text, in order."""
    start = at = 0
    while at < len(text):
        if text[at] == "}":
            raise BracesError(f"the pattern {text!r} has a }} without a {{ before it")
        if text[at] != "{":
            at += 1
            continue
        stop = _end(text, at)
        if start < at:
            yield [text[start:at]]
        yield _choices(text, text[at + 1 : stop - 1])
        start = at = stop
    if start < len(text):
        yield [text[start:]]


def _end(text: str, start: int) -> int:
    """Behind the brace that closes the one at ``start``."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at + 1
    raise BracesError(f"the pattern {text!r} has a {{ without a }} behind it")


def _choices(text: str, inner: str) -> list[str]:
    """What stands for a pair of braces with ``inner`` between them."""
    listed = _split(inner)
    if len(listed) > 1:
        return [name for each in listed for name in expand_braces(each)]
    if found := _RANGE.fullmatch(inner):
        return _range(text, *found.groups())
    return ["{" + name + "}" for name in expand_braces(inner)]


def _split(inner: str) -> list[str]:
    """At the commas that are not in braces."""
    pieces, depth = [""], 0
    for letter in inner:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def _range(text: str, first: str, last: str, step: str | None) -> list[str]:
    are_letters = [each.isalpha() for each in (first, last)]
    if are_letters[0] != are_letters[1]:
        raise BracesError(
            f"the pattern {text!r} has a range from {first!r} to {last!r}; two numbers or two letters are "
            "needed"
        )
    distance = 1 if step is None else abs(int(step))
    if not distance:
        raise BracesError(f"the pattern {text!r} has a range with a step of 0")
    begin, end = (ord(each) if are_letters[0] else int(each) for each in (first, last))
    if abs(end - begin) // distance >= MOST_NAMES:
        raise BracesError(f"the pattern {text!r} has more than {MOST_NAMES:,} names; give it in pieces")
    numbers = range(begin, end + 1, distance) if begin <= end else range(begin, end - 1, -distance)
    if are_letters[0]:
        return [chr(each) for each in numbers]
    is_padded = any(len(each.lstrip("-")) > 1 and each.lstrip("-").startswith("0") for each in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [f"{each:0{width}d}" for each in numbers]
