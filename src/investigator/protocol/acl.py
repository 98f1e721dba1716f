"""Stage 4: who may ask what: weights of investigators, per module, in MIG's JSON.

    {"default": {"minimumweight": 2, "investigators": {"Bob": {"fingerprint": "E60892BB…", "weight": 2}, …}},
     "agentdestroy": {…}}

A module's entry replaces `default`, nothing is merged. Weights of the distinct signers are summed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_ACL_BYTES: Final = 4 << 20
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An investigator's line: the full fingerprint of the primary key, and a weight of 0 or more."""

    fingerprint: str
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one module (or `default`) asks for."""

    minimumweight: Annotated[int, msgspec.Meta(ge=1)]
    investigators: dict[str, Person]


@dataclass(frozen=True, slots=True)
class Shortage:
    """An operation that the signers may not ask."""

    module: str
    need: int
    got: int

    def __str__(self) -> str:
        """MIG's words."""
        return (
            f"permission denied for operation {self.module}, "
            f"insufficient signatures weight (need {self.need}, got {self.got})"
        )


class Acl:
    """A checked ACL; made by `parse_acl`."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries
        self._weights = {
            module: {person.fingerprint.upper(): person.weight for person in entry.investigators.values()}
            for module, entry in entries.items()
        }

    def shortages(self, modules: Iterable[str], signers: Collection[str]) -> list[Shortage]:
        """The modules for which these certificates' weights (each counted once) do not suffice; none: all may run."""
        missing = []
        for module in dict.fromkeys(modules):
            name = module if module in self.entries else "default"
            weights = self._weights.get(name, {})
            got = sum(weights.get(fingerprint, 0) for fingerprint in set(signers))
            need = self.entries[name].minimumweight if name in self.entries else 1
            if got < need or name not in self.entries:
                missing.append(Shortage(module, need, got))
        return missing


def parse_acl(text: bytes, *, what: str = "ACL") -> Acl:
    """Read and check an ACL.

    Raises:
        BadInput: a shape that is none, one fingerprint under two names (its weight would count twice), or a minimum
            that all together cannot reach.
    """
    entries = convert(strict_loads(text, what=what, max_bytes=MAX_ACL_BYTES), dict[str, Entry], what=what)
    if not entries:
        raise BadInput(f"{what}: no entry; every action would be refused")
    for module, entry in entries.items():
        names: dict[str, str] = {}
        for name, person in entry.investigators.items():
            fingerprint = person.fingerprint.upper()
            if not _FINGERPRINT.fullmatch(fingerprint):
                raise BadInput(f"{what}: {module}: {name}: the fingerprint is not 40 hexadecimal digits")
            if fingerprint in names:
                raise BadInput(f"{what}: {module}: {name} and {names[fingerprint]} have the same fingerprint")
            names[fingerprint] = name
        total = sum(person.weight for person in entry.investigators.values())
        if total < entry.minimumweight:
            raise BadInput(
                f"{what}: {module}: minimumweight {entry.minimumweight} cannot be reached: all together have {total}"
            )
    return Acl(entries)
