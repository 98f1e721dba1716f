"""The order of Arch Linux's versions: `[epoch:]version[-release]`, as `vercmp` of pacman 6.0 compares them.

An older rpm's, with two differences: separators of different length decide, and letters at the end make a version older
(`1.0rc` before `1.0`). A release is compared only where both have one. It is no total order, and need not be.
"""

from __future__ import annotations

import re
from typing import Final

_EPOCH: Final = re.compile(r"([0-9]*):", re.ASCII)
_SEGMENT: Final = re.compile(r"([^0-9A-Za-z]*)(?:([0-9]+)|([A-Za-z]+))", re.ASCII)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`; every text is taken."""
    if left == right:
        return 0
    (epoch_a, version_a, release_a), (epoch_b, version_b, release_b) = _split(left), _split(right)
    found = _compare_parts(epoch_a, epoch_b) or _compare_parts(version_a, version_b)
    if not found and release_a is not None and release_b is not None:
        found = _compare_parts(release_a, release_b)
    return found


def _split(text: str) -> tuple[str, str, str | None]:
    epoch = _EPOCH.match(text)
    rest = text[epoch.end() :] if epoch else text
    version, dash, release = rest.rpartition("-")
    return (epoch and epoch[1]) or "0", version if dash else rest, release if dash else None


def _compare_parts(left: str, right: str) -> int:
    if left == right:
        return 0
    at_a = at_b = 0
    while at_a < len(left) and at_b < len(right):
        a, b = _SEGMENT.match(left, at_a), _SEGMENT.match(right, at_b)
        if a is None or b is None:  # only separators are left in one of them
            at_a = a.start(2 if a[2] else 3) if a else len(left)
            at_b = b.start(2 if b[2] else 3) if b else len(right)
            break
        if len(a[1]) != len(b[1]):
            return -1 if len(a[1]) < len(b[1]) else 1
        found = _compare_segments(a, b)
        if found:
            return found
        at_a, at_b = a.end(), b.end()
    rest_a, rest_b = left[at_a : at_a + 1], right[at_b : at_b + 1]
    if not rest_a and not rest_b:
        return 0
    if (not rest_a and not _is_letter(rest_b)) or _is_letter(rest_a):
        return -1
    return 1


def _compare_segments(a: re.Match[str], b: re.Match[str]) -> int:
    if bool(a[2]) != bool(b[2]):
        return 1 if a[2] else -1
    if a[2]:
        one, two = a[2].lstrip("0"), b[2].lstrip("0")
        return ((len(one), one) > (len(two), two)) - ((len(one), one) < (len(two), two))
    return (a[3] > b[3]) - (a[3] < b[3])


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()
