"""Stage 1, from a file: MIG's action files (syntax version 2), our own unsigned actions, and signed ones in either form.

MIG is loose about keys: they match in any case. That looseness ends here: what comes out has our names, was validated
by each operation's module, and is signed anew. An envelope is taken as it is, since its bytes are signed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

from investigator.console.operations import in_our_case, read_operation
from investigator.console.signed_file import STANDARD_INPUT, looks_signable, put_together, signatures_beside
from investigator.errors import BadInput
from investigator.nearest import nearest
from investigator.protocol.action import MAX_OPERATIONS, Operation, parse_action
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.envelope import Envelope, decode_envelope

MAX_FILE_BYTES: Final = 64 << 20
_UNSET_YEAR: Final = 1
"""Go's zero time, 0001-01-01, is how MIG prints a time that is not set."""
_DESCRIPTION: Final = ("author", "email", "url", "revision")
_THREAT: Final = ("ref", "level", "family", "type")
_SERVERS: Final = frozenset(("id", "status", "starttime", "finishtime", "lastupdatetime", "counters", "investigators"))
"""MIG's server fills these; what a file says of them means nothing."""
_OURS: Final = frozenset(("type", "condition", "sealto"))
"""Ours are written anew: the condition from the target, the recipient from this console's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """What an action file (or a command line) asks, before it becomes an action."""

    name: str
    target: str
    """Empty: the file has none."""
    operations: tuple[Operation, ...]
    """Each validated by its module."""
    description: dict[str, Any] | None = None
    threat: dict[str, Any] | None = None
    validfrom: datetime | None = None
    expireafter: datetime | None = None
    envelope: Envelope | None = None
    """Set where the file was signed already: it is sent as it is."""
    notes: tuple[str, ...] = ()
    """What was taken otherwise than it stands there, for the person who asks."""


class _File(msgspec.Struct, kw_only=True):
    """An action file's own keys, after their case is settled."""

    name: str = ""
    target: str = ""
    description: dict[str, Any] | None = None
    threat: dict[str, Any] | None = None
    validfrom: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    expireafter: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    operations: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MAX_OPERATIONS)]
    syntaxversion: Literal[2] | None = None
    pgpsignatures: list[str] | None = None


def read_action_file(path: Path, *, local: bool = False) -> AskedFor:
    """Read an action file; `-` is standard input. `local` is true for `-t local`, where relative paths are allowed.

    Raises:
        BadInput: it cannot be read, is too large or cut short, or asks what cannot be asked: what and where.
    """
    raw = _read(path)
    what = "standard input" if path == STANDARD_INPUT else str(path)
    document = strict_loads(raw, what=what, max_bytes=MAX_FILE_BYTES)
    if not isinstance(document, dict):
        raise BadInput(f"{what}: no action: a JSON object is expected")
    if "v" in document and "action" in document:
        return _signed(decode_envelope(raw))
    if path != STANDARD_INPUT and looks_signable(document):
        beside = signatures_beside(path)
        if beside:  # without any it is one of ours to sign anew, as it was printed
            return _signed(put_together(raw, beside))
    return _unsigned(document, what=what, local=local)


def _read(path: Path) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"action file {path}: {error.strerror}") from None


def _signed(envelope: Envelope) -> AskedFor:
    action = parse_action(envelope.signed_bytes)
    return AskedFor(
        name=action.name,
        target=action.target,
        operations=action.operations,
        description=action.description,
        threat=action.threat,
        validfrom=action.validfrom,
        expireafter=action.expireafter,
        envelope=envelope,
    )


def _unsigned(document: dict[str, Any], *, what: str, local: bool) -> AskedFor:
    known = {field.encode_name for field in msgspec.structs.fields(_File)}
    settled = in_our_case(document, known | _SERVERS | _OURS, what=what)
    unknown = [key for key in settled if key not in known | _SERVERS | _OURS]
    if unknown:
        _refuse_key(unknown[0], known, what=what)
    own = {key: value for key, value in settled.items() if key in known and value is not None}
    for key, names in (("description", _DESCRIPTION), ("threat", _THREAT)):
        if isinstance(own.get(key), dict):
            own[key] = in_our_case(own[key], names, what=f"{what}: {key}")
    file = convert(own, _File, what=what)
    notes: list[str] = []
    if file.pgpsignatures:
        notes.append(f"{what}: MIG's signatures are over other bytes and do not count; the action is signed anew")
    local = local or file.target == "local"
    operations = tuple(
        read_operation(operation, what=f"{what}: operation {number}", local=local, notes=notes)
        for number, operation in enumerate(file.operations, start=1)
    )
    return AskedFor(
        name=file.name,
        target=file.target,
        operations=operations,
        description=file.description,
        threat=file.threat,
        validfrom=_set(file.validfrom),
        expireafter=_set(file.expireafter),
        notes=tuple(notes),
    )


def _set(time: datetime | None) -> datetime | None:
    return None if time is None or time.year == _UNSET_YEAR else time


def _refuse_key(key: str, known: Collection[str], *, what: str) -> NoReturn:
    near = nearest(key.lower(), sorted(known))
    raise BadInput(
        f"{what}: an action has no key {key[:60]!r}" + (f"; did you mean {near!r}?" if near else ""),
        hint="An action file holds name, target and operations.",
    )
