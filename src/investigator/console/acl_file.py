"""The ACL as a file that people are put into and taken out of. What comes out was read as an agent reads it.

Only JSON is edited: a TOML file has its owner's comments and order, so its lines are printed for the owner to place.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import orjson

from investigator.config import read_file
from investigator.console.files import replace
from investigator.errors import BadInput
from investigator.modules import MODULES
from investigator.protocol.acl import DEFAULT, MAX_ACL_BYTES, acl_format, parse_acl


def acl_lines(name: str, fingerprint: str, weight: int, *, form: str = "json", entry: str = DEFAULT) -> str:
    """What gives a person a weight, to be placed by hand."""
    if form == "toml":
        return f'[{entry}.investigators."{name}"]\nfingerprint = "{fingerprint}"\nweight = {weight}'
    return f'"{name}": {{"fingerprint": "{fingerprint}", "weight": {weight}}}'


def with_person(acl: Path, *, name: str, fingerprint: str, weight: int, entry: str, keys: Collection[str]) -> bytes:
    """The ACL's text with a person in one entry; the same person's weight there is changed.

    Raises:
        BadInput: it is TOML, or the name is somebody else's there, or what comes out is no ACL.
    """
    document = _document(acl, keys)
    if entry not in document:
        raise BadInput(f"{acl}: it has no entry {entry!r}", hint=f"It has {', '.join(map(str, document))}.")
    people = document[entry]["investigators"]
    for other, line in people.items():
        same_name, same_key = other == name, line["fingerprint"].upper() == fingerprint
        if same_name != same_key:
            raise BadInput(f"{acl}: {entry}: {other} is there already, with fingerprint {line['fingerprint']}")
    people[name] = {"fingerprint": fingerprint, "weight": weight}
    return _checked(acl, document, keys)


def without_person(acl: Path, *, fingerprints: Collection[str], keys: Collection[str]) -> tuple[bytes, list[str]]:
    """The ACL's text without a person's keys, and the names of the entries that they were taken out of.

    `keys` are those of the keyring as it was. Raises `BadInput` as `with_person`, above all for a minimum that the
    others cannot reach.
    """
    document = _document(acl, keys)
    entries = []
    for entry, value in document.items():
        if not isinstance(value, dict):
            continue
        people = value["investigators"]
        for name in [name for name, line in people.items() if line["fingerprint"].upper() in fingerprints]:
            del people[name]
            entries.append(entry)
    return _checked(acl, document, set(keys) - set(fingerprints)), entries


def write_acl(acl: Path, text: bytes) -> None:
    """Replace the file; raises `DeploymentError` where the disk does not take it."""
    replace(acl, text)


def _document(acl: Path, keys: Collection[str]) -> dict[str, Any]:
    if acl_format(acl.name) != "json":
        raise BadInput(f"{acl}: a TOML file is not edited here", hint="Place the lines by hand.")
    text = read_file(acl, max_bytes=MAX_ACL_BYTES)
    parse_acl(text, what=str(acl), modules=MODULES, keys=keys)  # so below it has the shape of one
    document: dict[str, Any] = orjson.loads(text)
    return document


def _checked(acl: Path, document: dict[str, Any], keys: Collection[str]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    parse_acl(text, what=f"{acl}, changed so", modules=MODULES, keys=keys)
    return text
