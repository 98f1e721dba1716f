"""The order of rpm's versions: `[epoch:]version[-release]`, as rpm 4.18 compares labels.

No epoch is epoch 0; a label without release is older than one with any. Parts are compared segment by segment: `~` is
older than the end, the end older than `^`, that older than letters, these older than numbers; all else only separates.
"""

from __future__ import annotations

import re
from typing import Final

from investigator.modules.versions.remembering import Remembered

_EPOCH: Final = re.compile(r"([0-9]*):", re.ASCII)
_SEGMENT: Final = re.compile(r"0*([0-9]+)|([A-Za-z]+)|(~)|(\^)", re.ASCII)

_Segment = tuple[int, int, str]
_Part = tuple[_Segment, ...]
_TILDE: Final[_Segment] = (0, 0, "")
_END: Final[_Segment] = (1, 0, "")
_CARET: Final[_Segment] = (2, 0, "")
_LETTERS: Final = 3
_NUMBER: Final = 4


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`; every text is taken."""
    a, b = sort_key(left), sort_key(right)
    return (a > b) - (a < b)


@Remembered
def sort_key(label: str) -> tuple[_Part, _Part, tuple[_Part, ...]]:
    """Something that sorts as rpm does; equal for labels that rpm holds equal (`1.0`, `0:1.00`)."""
    epoch = _EPOCH.match(label)
    rest = label[epoch.end() :] if epoch else label
    version, dash, release = rest.rpartition("-")
    if not dash:
        version, release = rest, ""
    return (
        _part_key((epoch and epoch[1]) or "0"),
        _part_key(version),
        (_part_key(release),) if dash else (),
    )


def _part_key(part: str) -> _Part:
    segments: list[_Segment] = []
    for number, letters, tilde, _caret in _SEGMENT.findall(part):
        if number:
            segments.append((_NUMBER, len(number), number))
        elif letters:
            segments.append((_LETTERS, 0, letters))
        else:
            segments.append(_TILDE if tilde else _CARET)
    return (*segments, _END)
