"""The people that this console knows: by name, their certificate and the key that their results are sealed to.

It is for telling people apart on the screen. What anybody may do is in keyring and ACL alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
import orjson

from investigator.config import read_file
from investigator.console.files import PRIVATE, replace
from investigator.errors import BadInput
from investigator.protocol.action import sealing_key
from investigator.protocol.codec import convert, strict_loads

MAX_PEOPLE_BYTES: Final = 1 << 20


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody with keys."""

    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{40}$")]
    sealto: str | None = None
    """Base64 of an X25519 public key."""


def read_people(path: Path) -> dict[str, Person]:
    """By name; nobody if there is no such file.

    Raises:
        DeploymentError: it cannot be read.
        BadInput: it is no such file.
    """
    if not path.exists():
        return {}
    document = strict_loads(read_file(path, max_bytes=MAX_PEOPLE_BYTES), what=str(path), max_bytes=MAX_PEOPLE_BYTES)
    people = convert(document, dict[str, Person], what=str(path))
    for name, person in people.items():
        if person.sealto is not None:
            check_sealing_key(person.sealto, what=f"{path}: {name}")
    return people


def encode_people(people: Mapping[str, Person]) -> bytes:
    """The file's content."""
    return orjson.dumps(msgspec.to_builtins(people), option=orjson.OPT_INDENT_2) + b"\n"


def write_people(path: Path, people: Mapping[str, Person]) -> None:
    """Replace the file; raises `DeploymentError` where the disk does not take it."""
    replace(path, encode_people(people), mode=PRIVATE)


def check_sealing_key(text: str, *, what: str) -> None:
    """Raise `BadInput` unless it is the base64 of an X25519 public key, in its only form."""
    try:
        raw = sealing_key(text)
    except BadInput:
        raw = b""
    if base64.b64encode(raw).decode() != text or not text:
        raise BadInput(f"{what}: {text[:60]!r} is not the base64 of a 32-byte X25519 public key")


def owners(people: Mapping[str, Person]) -> dict[str, str]:
    """Names by sealing key."""
    return {person.sealto: name for name, person in people.items() if person.sealto is not None}
