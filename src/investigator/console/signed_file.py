"""An action that several people sign, as files: the exact bytes with signatures beside them, or one envelope file.

    action.json                  the bytes that everybody signs
    action.json.<FINGERPRINT>.asc   one signature each, as `gpg --verify action.json.<FINGERPRINT>.asc action.json` takes it

`action.json.asc` and `action.json.sig`, which gpg writes by itself, are read too. A name proves nothing; only contents are
believed, by whoever judges them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from investigator.console.condition import compile_target
from investigator.console.dispatch import Prepared, prepare
from investigator.console.files import PUBLIC, read_input, replace, write_new
from investigator.errors import BadInput, BadTarget, Refused
from investigator.modules import get_module
from investigator.modules.interface import load_parameters
from investigator.pgp.framing import SIGNATURE, armored, dearmor
from investigator.pgp.policy import MAX_SIGNATURE_BYTES
from investigator.pgp.signature import read_document_signature
from investigator.pgp.signer import Signer
from investigator.protocol.action import MAX_ACTION_BYTES, Action, utc
from investigator.protocol.codec import strict_loads
from investigator.protocol.envelope import MAX_SIGNATURES, Envelope, decode_envelope

STANDARD_INPUT: Final = Path("-")
_SUFFIXES: Final = (".asc", ".sig")


@dataclass(frozen=True, slots=True)
class Held:
    """One signature, not yet believed."""

    place: str
    """The name of its file, or its number in the envelope."""
    path: Path | None
    """Its own file, if it has one."""
    text: str


@dataclass(frozen=True, slots=True)
class SignedFile:
    """An action's bytes with all signatures that came with them."""

    path: Path
    envelope: Envelope
    held: tuple[Held, ...]
    is_envelope: bool


class Altered(Refused):
    """Somebody signed other bytes than these."""

    code = "altered"


def looks_signable(document: Any) -> bool:
    """Whether a JSON document is an action as it is signed, rather than a file that says what one should be."""
    return isinstance(document, dict) and document.get("type") == "action" and "condition" in document


def looks_signed(raw: bytes) -> bool:
    """Whether a file's content is what `read_signed_file` reads: an envelope, or an action as it is signed."""
    try:
        document = strict_loads(raw, what="action", max_bytes=MAX_ACTION_BYTES)
    except BadInput:
        return False
    return _looks_like_envelope(document) or looks_signable(document)


def _looks_like_envelope(document: Any) -> bool:
    return isinstance(document, dict) and "v" in document and "action" in document


def read_signed_file(path: Path) -> SignedFile:
    """Read either form; `-` is standard input, for an envelope or an action without signatures.

    Raises:
        BadInput: it cannot be read, or is neither.
    """
    if path == STANDARD_INPUT:
        raw = sys.stdin.buffer.read(MAX_ACTION_BYTES + 1)
    else:
        raw = read_input(path, max_bytes=MAX_ACTION_BYTES)
    what = "standard input" if path == STANDARD_INPUT else str(path)
    document = strict_loads(raw, what=what, max_bytes=MAX_ACTION_BYTES)
    if _looks_like_envelope(document):
        envelope = decode_envelope(raw)
        held = tuple(Held(f"signature {n}", None, text) for n, text in enumerate(envelope.pgpsignatures, start=1))
        return SignedFile(path, envelope, held, is_envelope=True)
    if not looks_signable(document):
        raise BadInput(
            f"{what}: neither an action as it is signed nor an envelope",
            hint=f"`investigator action new -i {path} -o FILE` writes the action that such a file describes.",
        )
    held = () if path == STANDARD_INPUT else signatures_beside(path)
    return SignedFile(path, put_together(raw, held), held, is_envelope=False)


def put_together(raw: bytes, held: Iterable[Held]) -> Envelope:
    """The envelope of an action's exact bytes and of what beside them is a signature at all."""
    return Envelope(action=raw.decode(), pgpsignatures=tuple(one.text for one in held if _issuers(one.text)))


def signatures_beside(path: Path) -> tuple[Held, ...]:
    """The signature files that belong to a file by their names, in armor, sorted by name.

    Raises:
        BadInput: one cannot be read, or there are more than an envelope takes.
    """
    try:
        beside = sorted(entry for entry in path.absolute().parent.iterdir() if _belongs(entry.name, path.name))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    beside = [entry for entry in beside if entry.is_file()]
    if len(beside) > MAX_SIGNATURES:
        raise BadInput(f"{path}: {len(beside)} signatures beside it; an action has {MAX_SIGNATURES} at most")
    return tuple(Held(entry.name, entry, armored_signature(entry)) for entry in beside)


def _belongs(name: str, signed: str) -> bool:
    if not name.startswith(f"{signed}.") or not name.endswith(_SUFFIXES):
        return False
    return "." not in name[len(signed) + 1 : -4]


def armored_signature(path: Path) -> str:
    """A detached signature's file, in armor; of what is none, a word that no check takes for one."""
    raw = read_input(path, max_bytes=MAX_SIGNATURE_BYTES)
    try:
        if raw[:1] >= b"\x80":
            return armored("SIGNATURE", dearmor(raw, SIGNATURE))
        return raw.decode("ascii")
    except (UnicodeDecodeError, Refused):
        return "unreadable"  # it counts nothing, and whoever judges it says so


def check_content(envelope: Envelope, *, now_s: float) -> Prepared:
    """What a person must know before signing or sending: it is an action, says what it means, can run, and is in time.

    Raises:
        BadInput: it is no action, its operations cannot run, or it has expired.
        BadTarget: its target is none.
        Refused: `condition`, which agents obey, is not what `target`, which people read, compiles to.
    """
    prepared = prepare(envelope)
    check_same_target(prepared.action)
    check_operations(prepared.action)
    if prepared.action.expireafter <= utc(now_s):
        raise BadInput(
            f"action {prepared.action.id}: it expired at {prepared.action.expireafter.isoformat()}",
            hint="Write it anew: its times are inside the signed bytes.",
        )
    return prepared


def check_same_target(action: Action) -> None:
    """Compile the words again, without anybody's macros: everybody must come to the same.

    Raises:
        Refused: the two differ.
    """
    try:
        tree, _ = compile_target(action.target)
    except BadTarget as error:
        raise BadTarget(
            f"action {action.id}: its target is none: {error}", text=error.text, position=error.position
        ) from None
    if orjson.dumps(tree) != orjson.dumps(action.condition):  # in Python `True == 1`
        raise Refused(
            f"action {action.id}: its condition is not what its target {action.target!r} compiles to",
            hint="Neither sign nor send it: it would run elsewhere than it says.",
        )


def check_operations(action: Action) -> None:
    """Raise `BadInput` for the first operation that no agent of this version could run."""
    for number, operation in enumerate(action.operations, start=1):
        try:
            load_parameters(get_module(operation.module), operation.opened())
        except BadInput as error:
            error.args = (f"operation {number}: {error}",)
            raise


def sign_file(file: SignedFile, signer: Signer) -> Path:
    """Add one person's signature, in the place of one that the same key made before; returns the file that holds it.

    Raises:
        BadInput: the action has as many signatures as it may have.
        DeploymentError: no key, or the file cannot be written.
    """
    if file.path == STANDARD_INPUT:
        raise BadInput("what stands on standard input cannot be signed in place; give a file")
    text = signer.sign(file.envelope.signed_bytes)
    mine = [one for one in file.held if _issuers(one.text) & _issuers(text)]
    others = [one for one in file.held if one not in mine]
    if len(others) >= MAX_SIGNATURES:
        raise BadInput(f"{file.path}: it has {len(others)} signatures, which is the most that an action may have")
    if file.is_envelope:
        texts = (*(one.text for one in others), text)
        replace(file.path, Envelope(action=file.envelope.action, pgpsignatures=texts).encode())
        return file.path
    Envelope(action=file.envelope.action, pgpsignatures=(*(one.text for one in others), text)).encode()
    place = file.path.with_name(f"{file.path.name}.{signer.fingerprint}.asc")
    if any(one.path == place.absolute() for one in mine):
        replace(place, text.encode(), mode=PUBLIC)
    else:
        write_new(place, text.encode())
    return place


def _issuers(text: str) -> frozenset[str]:
    """The key ids that a signature names; of what is no signature, none."""
    try:
        return frozenset(issuer[-16:] for issuer in read_document_signature(text.encode()).issuers())
    except Refused:
        return frozenset()


def sealed_for(action: Action, owners: Mapping[str, str]) -> str:
    """Who can open the results, in words; `owners` are names by base64 of their public key."""
    if action.sealto is None:
        return "everybody who can read the broker's streams: the results are not sealed"
    owner = owners.get(action.sealto)
    return f"{owner} alone" if owner else f"UNKNOWN: whoever has the private key of {action.sealto}"
