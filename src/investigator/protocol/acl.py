"""Stage 4: who may ask what: weights of investigators, per module, in MIG's JSON or the same in TOML.

    {"default": {"minimumweight": 2, "investigators": {"Bob": {"fingerprint": "E60892BB…", "weight": 2}, …}},
     "agentdestroy": {…}}

A module's entry replaces `default`, nothing is merged; so do the entries `cancel`, for stopping somebody else's action, and
`enrol`, for saying which hosts are ours.
What ends agents (`agentdestroy`) is not for whoever `default` lets ask: without an entry of its own it needs all of them.
Weights of the distinct signers are summed. `maxsignatureage_s`, beside the entries, says how old a signature may be.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, TypeVar

import msgspec

from investigator.errors import BadInput
from investigator.nearest import nearest
from investigator.protocol.codec import DuplicateKey, one_line, strict_loads, whole_floats_as_integers
from investigator.protocol.places import json_duplicate_line, json_line, toml_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from investigator.protocol.places import Place

MAX_ACL_BYTES: Final = 256 * 1024
"""Some 3,000 lines of investigators."""
DEFAULT: Final = "default"
CANCEL: Final = "cancel"
"""The entry for stopping what others asked; no module is called so."""
ENROL: Final = "enrol"
"""The entry for saying who is who (`protocol.statement`); likewise."""
HIGHEST: Final = frozenset(("agentdestroy",))
"""Modules that without an entry of their own need the weight of everybody in `default` together, the highest there can be:
one stolen key must not be enough to take the agents, and with them audit and revocations, off a fleet."""
MAX_SIGNATURE_AGE: Final = "maxsignatureage_s"
"""A setting among the entries: a number, where an entry is an object, and with `_`, which no module's name has."""
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_UNKNOWN_KEY = re.compile(r"unknown field `(\w+)`")
Format = Literal["json", "toml"]
T = TypeVar("T")


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An investigator's line: the full fingerprint of the primary key, and a weight of 0 or more."""

    fingerprint: str
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one module (or `default`) asks for."""

    minimumweight: Annotated[int, msgspec.Meta(ge=1)]
    investigators: dict[str, Person]


class _EntryShape(msgspec.Struct, forbid_unknown_fields=True):
    """An entry before its people are looked at: each is read with its own name, so that a complaint has it."""

    minimumweight: Annotated[int, msgspec.Meta(ge=1)]
    investigators: dict[str, Any]


Age = Annotated[int, msgspec.Meta(ge=60, le=365 * 86_400)]


@dataclass(frozen=True, slots=True)
class Weighing:
    """What the signers of an action weigh for one of its operations."""

    module: str
    entry: str
    """The entry that rules it: the module's own, `default`, or nothing where there is neither."""
    need: int
    weights: tuple[tuple[str, int], ...]
    """(name, weight) of the signers whom the entry lists."""
    strangers: tuple[str, ...]
    """The other signers: by the name that another entry has for them, else by fingerprint."""

    @property
    def got(self) -> int:
        """The sum of the weights."""
        return sum(weight for _, weight in self.weights)

    @property
    def missing(self) -> int:
        """How much is missing; 0: the operation may run."""
        return max(self.need - self.got, 0)

    def __str__(self) -> str:
        """Why the operation may not run, first in MIG's words."""
        return (
            f"permission denied for operation {self.module}, insufficient signatures weight "
            f"(need {self.need}, got {self.got}): {self.signed}; "
            + (f"{self.missing} missing" if self.entry else "the ACL has no entry for it and no default")
            + (", since it has no entry of its own" if self.module in HIGHEST and self.entry == DEFAULT else "")
        )

    @property
    def signed(self) -> str:
        """Who signed, with which weight."""
        listed = [f"{name} ({weight})" for name, weight in self.weights]
        told = [f"signed by {', '.join(listed)}"] if listed else []
        if self.strangers:
            has = "has" if len(self.strangers) == 1 else "have"
            by = "and by" if listed else "signed by"
            told.append(f"{by} {', '.join(self.strangers)}, who {has} no weight here")
        return one_line(", ".join(told) or "nobody signed", at_most=1000)


class Acl:
    """A checked ACL; made by `parse_acl`."""

    def __init__(self, entries: Mapping[str, Entry], *, max_signature_age_s: int | None = None) -> None:
        self.entries = entries
        self.max_signature_age_s = max_signature_age_s
        """How old a signature may be, in seconds; None: as the OpenPGP policy says, 7 days."""
        self._people = {
            module: {person.fingerprint.upper(): (name, person.weight) for name, person in entry.investigators.items()}
            for module, entry in entries.items()
        }
        self._names = {key: name for people in self._people.values() for key, (name, _) in people.items()}

    def weigh(self, module: str, signers: Collection[str]) -> Weighing:
        """What these certificates (each counted once) weigh for a module, or for `CANCEL`."""
        entry = next((name for name in (module, DEFAULT) if name in self.entries), "")
        people = self._people.get(entry, {})
        distinct = sorted(set(signers))
        return Weighing(
            module=module,
            entry=entry,
            need=self.minimum(module),
            weights=tuple(people[signer] for signer in distinct if signer in people),
            strangers=tuple(self._names.get(signer, signer) for signer in distinct if signer not in people),
        )

    def minimum(self, module: str) -> int:
        """The weight that a module needs, or `CANCEL`; 1 where neither an entry of its own nor `default` lists anybody."""
        if module in self.entries:
            return self.entries[module].minimumweight
        if DEFAULT not in self.entries:
            return 1
        if module in HIGHEST:
            return sum(person.weight for person in self.entries[DEFAULT].investigators.values())
        return self.entries[DEFAULT].minimumweight

    def shortages(self, modules: Iterable[str], signers: Collection[str]) -> list[Weighing]:
        """The modules for which these certificates' weights do not suffice; none: all may run."""
        weighed = (self.weigh(module, signers) for module in dict.fromkeys(modules))
        return [weighing for weighing in weighed if weighing.missing]


def acl_format(name: str) -> Format:
    """TOML where the file's name ends so, else JSON."""
    return "toml" if name.lower().endswith(".toml") else "json"


def parse_acl(
    text: bytes, *, modules: Collection[str], keys: Collection[str], what: str = "ACL", form: Format = "json"
) -> Acl:
    """Read and check an ACL. `modules` are those that there are, `keys` the fingerprints of the keyring's certificates.

    Raises:
        BadInput: naming the line: a shape that is none, an unknown module or key, one fingerprint under two names of an
            entry (its weight would count twice), or a minimum that all together cannot reach.
    """
    return _Reader(text, what, form).acl(modules, keys)


class _Reader:
    """One document: its content, and where in it things stand."""

    def __init__(self, text: bytes, what: str, form: Format) -> None:
        self._what = what
        self._form = form
        self._text = text
        self._document = self._json() if form == "json" else self._toml()

    def acl(self, modules: Collection[str], keys: Collection[str]) -> Acl:
        """What it says, checked."""
        if not isinstance(self._document, dict):
            self.refuse((), "not a table of entries")
        entries = dict(self._document)
        age = (
            self._shaped(entries.pop(MAX_SIGNATURE_AGE), Age, (MAX_SIGNATURE_AGE,))
            if MAX_SIGNATURE_AGE in entries
            else None
        )
        if not entries:
            self.refuse((), "no entry; every action would be refused")
        names = {DEFAULT, CANCEL, ENROL, *modules}
        for name in entries:
            if name not in names:
                self._refuse_module(name, names)
        return Acl({name: self._entry(name, keys) for name in entries}, max_signature_age_s=age)

    def refuse(self, place: Place, reason: str) -> NoReturn:
        """Say what is wrong with the key at this place."""
        text = self._text.decode()
        line = json_line(text, place) if self._form == "json" else toml_line(text, place)
        path = "".join(f"{part}: " for part in place)
        raise BadInput(f"{self._what}, line {line}: {one_line(path + reason)}")

    def _json(self) -> Any:
        try:
            return strict_loads(self._text, what=self._what, max_bytes=MAX_ACL_BYTES)
        except DuplicateKey as error:
            line = json_duplicate_line(self._text.decode())
            raise BadInput(f"{self._what}, line {line}: {error.key[:80]!r} stands twice in one object") from None

    def _toml(self) -> Any:
        if len(self._text) > MAX_ACL_BYTES:
            raise BadInput(f"{self._what}: {len(self._text):,} bytes; {MAX_ACL_BYTES:,} at most")
        try:
            return tomllib.loads(self._text.decode())
        except (ValueError, RecursionError) as error:  # no UTF-8 and no TOML are both ValueErrors
            raise BadInput(f"{self._what}: no TOML: {one_line(str(error))}") from None

    def _entry(self, name: str, keys: Collection[str]) -> Entry:
        shape = self._shaped(self._document[name], _EntryShape, (name,))
        people = {person: self._person(name, person, keys) for person in shape.investigators}
        owners: dict[str, str] = {}
        for person, line in people.items():
            owner = owners.setdefault(line.fingerprint, person)
            if owner != person:
                place = (name, "investigators", person, "fingerprint")
                self.refuse(place, f"{owner} has the same fingerprint; its weight would count twice")
        total = sum(line.weight for line in people.values())
        if total < shape.minimumweight:
            reason = f"{shape.minimumweight} cannot be reached: all together have {total}"
            self.refuse((name, "minimumweight"), reason)
        return Entry(shape.minimumweight, people)

    def _person(self, entry: str, name: str, keys: Collection[str]) -> Person:
        place = (entry, "investigators", name)
        person = self._shaped(self._document[entry]["investigators"][name], Person, place)
        fingerprint = person.fingerprint.upper()
        if not _FINGERPRINT.fullmatch(fingerprint):
            self.refuse((*place, "fingerprint"), "not 40 hexadecimal digits")
        if fingerprint not in keys:
            self.refuse((*place, "fingerprint"), f"no certificate of the keyring is {fingerprint}")
        return Person(fingerprint, person.weight)

    def _shaped(self, value: Any, shape: type[T], place: Place) -> T:
        """The value as that shape; a complaint is about the field that it names, else about the whole."""
        try:
            return msgspec.convert(whole_floats_as_integers(value), shape)
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at ")
            named = _UNKNOWN_KEY.search(text)
            field = where.strip("`$.") or (named[1] if named else "")
            self.refuse((*place, field) if field.isidentifier() else place, text.replace("`", "'"))

    def _refuse_module(self, name: str, names: Collection[str]) -> NoReturn:
        near = nearest(name, names)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(names))}"
        self.refuse((name,), f"there is no module of this name; {hint}")
