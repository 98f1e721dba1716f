"""`-limit cpu=20% -limit memory=256M`: what an operation may use on each host, as people write it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from investigator.errors import BadInput
from investigator.protocol.action import AskedLimits, Operation

NAMES: Final = {
    "cpu": "cpu_percent",
    "memory": "memory_bytes",
    "time": "wall_clock_s",
    "output": "output_bytes",
    "files": "open_files",
}
_HINT: Final = "For example cpu=20% (of one processor), memory=256M, time=30s, output=1M, files=256; an agent's own limits hold too."
_NUMBER: Final = re.compile(r"([0-9]{1,15})([KMG]?)%?", re.ASCII)
_RANGE: Final = re.compile(r"([<>]=) ([0-9.]+)")
_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30}


def read_limits(texts: Sequence[str]) -> AskedLimits | None:
    """All that were given, or None.

    Raises:
        BadInput: the first that is none, stands twice, or is out of range.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        key = NAMES.get(name)
        if key is None or key in found:
            why = "is no limit" if key is None else "stands there twice"
            raise BadInput(f"-limit: {name[:40]!r} {why}", hint=_HINT)
        found[key] = _value(name, value)
        try:
            msgspec.convert({key: found[key]}, AskedLimits)
        except msgspec.ValidationError as error:
            raise BadInput(f"-limit {text}: {_bound(key, str(error))}", hint=_HINT) from None
    return msgspec.convert(found, AskedLimits) if found else None


def with_limits(operations: Sequence[Operation], limits: AskedLimits | None) -> tuple[Operation, ...]:
    """The same operations; each limit that was given counts for all of them, in place of what they had."""
    if limits is None:
        return tuple(operations)
    given = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
    return tuple(
        msgspec.structs.replace(one, limits=msgspec.structs.replace(one.limits or AskedLimits(), **given))
        for one in operations
    )


def _bound(key: str, error: str) -> str:
    """Such as "at least 67,108,864 bytes", from msgspec's words and the field's unit."""
    said = _RANGE.search(error)
    if said is None:
        return error
    return f"at {'least' if said[1] == '>=' else 'most'} {float(said[2]):,.10g} {key.rpartition('_')[2]}"


def _value(name: str, text: str) -> float:
    if name == "time":
        from investigator.cli.request import life_s

        return life_s(text, what="-limit time")
    number = _NUMBER.fullmatch(text)
    if number is None or (number[2] and name not in ("memory", "output")) or (text.endswith("%") and name != "cpu"):
        raise BadInput(f"-limit {name}: {text[:40]!r} is no such number", hint=_HINT)
    return int(number[1]) << _UNITS[number[2]]
