"""The keys that one file holds, by its text and name: PEM, OpenSSH, PuTTY, RFC 4716, lines of public and authorized keys.

Only what is public, and that there is a private key: this returns fingerprints, never key material.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from investigator.modules.sshkey.private import of_openssh, of_pem
from investigator.modules.sshkey.wire import KEY_TYPES, Unparsable, decoded, fingerprints, public_key

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["private", "public", "authorizedkeys"]
AUTHORIZED_NAMES: Final = (b"authorized_keys", b"authorized_keys2")
MAX_PRIVATE_KEYS: Final = 64
"""Of one file: bundles hold a few."""
_TYPE: Final = "|".join(re.escape(name) for name in sorted(KEY_TYPES, key=len, reverse=True))
CANDIDATE: Final = (
    r"^\x{FEFF}?(-----BEGIN ((RSA|DSA|EC|OPENSSH|ENCRYPTED|ANY) )?PRIVATE KEY-----|---- BEGIN SSH2 PUBLIC KEY ----"
    rf"|PuTTY-User-Key-File-[0-9]+: |[ \t]*({_TYPE})[ \t])"
)
"""RE2: a line that files with keys have. Files with the names of authorized keys are looked at in any case, since every
line may begin with options."""

_BEGIN: Final = re.compile(rb"^(?:\xef\xbb\xbf)?-----BEGIN ((?:[A-Z]+ )?)PRIVATE KEY-----[ \t]*\r?$", re.MULTILINE)
_END: Final = re.compile(rb"^-----END (?:[A-Z]+ )?PRIVATE KEY-----", re.MULTILINE)
_RFC4716: Final = re.compile(
    rb"^---- BEGIN SSH2 PUBLIC KEY ----[ \t]*\r?\n(.*?)^---- END SSH2 PUBLIC KEY ----", re.MULTILINE | re.DOTALL
)
_PUTTY: Final = re.compile(rb"^(?:\xef\xbb\xbf)?PuTTY-User-Key-File-[0-9]+: (\S+)[ \t]*\r?$", re.MULTILINE)
_PUTTY_FIELD: Final = re.compile(rb"^(Encryption|Public-Lines): (\S+)[ \t]*\r?$", re.MULTILINE)
_MAX_PUTTY_LINES: Final = 1000
_KEY_START: Final = re.compile(rb"(" + _TYPE.encode() + rb")[ \t]+([^ \t\r\n]+)")
_HEADER: Final = re.compile(rb"[A-Za-z0-9-]+: ")


@dataclass(frozen=True, slots=True)
class Key:
    """One key; without fingerprints where they cannot be known."""

    kind: Kind
    encrypted: bool = False
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What a file holds, and whether something in it looks like a key and is none."""

    keys: list[Key]
    unparsable: bool


def keys_of(name: bytes, text: bytes) -> Held:
    """The keys in a file of this base name: all its private keys, else each authorized key, else the first public one."""
    private, spoiled = _private_keys(text)
    if private or spoiled:
        return Held(private, spoiled)
    if name in AUTHORIZED_NAMES:
        return _authorized_keys(text)
    return _public_key(text)


def _known(kind: Kind, key: bytes, *, encrypted: bool = False) -> Key:
    """With a passphrase there are no fingerprints, as in MIG, though some formats have the public half in the clear."""
    return Key(kind, encrypted) if encrypted or not key else Key(kind, encrypted, *fingerprints(key))


def _private_keys(text: bytes) -> tuple[list[Key], bool]:
    keys: list[Key] = []
    spoiled = False
    for found in _BEGIN.finditer(text):
        if len(keys) == MAX_PRIVATE_KEYS:
            return keys, True
        end = _END.search(text, found.end())
        try:
            keys.append(_pem(found[1].decode().strip(), text[found.end() : end.start()] if end else b""))
        except Unparsable:
            spoiled = True
    putty = _PUTTY.search(text)
    if putty is not None:
        try:
            keys.append(_putty(putty[1], text[putty.end() :]))
        except Unparsable:
            spoiled = True
    return keys, spoiled


def _pem(label: str, body: bytes) -> Key:
    """One block; RFC 1421's headers say whether a traditional one has a passphrase."""
    if label == "ENCRYPTED":
        decoded(b"".join(body.split()))
        return Key("private", encrypted=True)
    lines = [line.strip() for line in body.splitlines()]
    headers = [line for line in lines if _HEADER.match(line)]
    data = decoded(b"".join(line for line in lines if line not in headers))
    if not data:
        raise Unparsable("an empty block")
    if any(line.startswith(b"Proc-Type:") and b"ENCRYPTED" in line for line in headers):
        return Key("private", encrypted=True)
    if label == "OPENSSH":
        encrypted, key = of_openssh(data)
        return _known("private", key, encrypted=encrypted)
    return _known("private", of_pem(label, data))


def _putty(name: bytes, rest: bytes) -> Key:
    """PuTTY's own files: the public key stands in the clear."""
    fields = {found[1]: found for found in _PUTTY_FIELD.finditer(rest[: 64 << 10])}
    if len(fields) < 2 or not fields[b"Public-Lines"][2].isdigit() or len(fields[b"Public-Lines"][2]) > 4:
        raise Unparsable("no PuTTY key")
    count = min(int(fields[b"Public-Lines"][2]), _MAX_PUTTY_LINES)
    lines = rest[fields[b"Public-Lines"].end() :].splitlines()[1 : count + 1]
    key = public_key(decoded(b"".join(line.strip() for line in lines)), named=name)
    return _known("private", key, encrypted=fields[b"Encryption"][2] != b"none")


def _authorized_keys(text: bytes) -> Held:
    """sshd(8), AUTHORIZED_KEYS FILE FORMAT: blank lines and comments, then options, type, key, comment."""
    keys: list[Key] = []
    spoiled = False
    for line in _lines(text):
        try:
            keys.append(_known("authorizedkeys", authorized_key(line)))
        except Unparsable:
            spoiled = True
    return Held(keys, spoiled)


def authorized_key(line: bytes) -> bytes:
    """The public key of a line with or without options.

    Raises:
        Unparsable: there is none.
    """
    found = _KEY_START.match(line)
    if found is None:
        found = _KEY_START.match(line, _options_end(line))
    if found is None:
        raise Unparsable("no key")
    return public_key(decoded(found[2]), named=found[1])


def _options_end(line: bytes) -> int:
    """Where the options end: at the first blank outside double quotes, in which a backslash takes a quote's meaning."""
    quoted = False
    at = 0
    while at < len(line) and (quoted or line[at] not in b" \t"):
        if line[at : at + 2] == b'\\"':
            at += 1
        elif line[at] == ord('"'):
            quoted = not quoted
        at += 1
    while at < len(line) and line[at] in b" \t":
        at += 1
    return at


def _public_key(text: bytes) -> Held:
    spoiled = False
    for line in _lines(text):
        found = _KEY_START.match(line)
        if found is None:
            continue
        try:
            return Held([_known("public", public_key(decoded(found[2]), named=found[1]))], unparsable=False)
        except Unparsable:
            spoiled = True
    block = _RFC4716.search(text)
    if block is None:
        return Held([], spoiled)
    try:
        return Held([_known("public", public_key(_rfc4716(block[1])))], unparsable=False)
    except Unparsable:
        return Held([], unparsable=True)


def _rfc4716(body: bytes) -> bytes:
    """RFC 4716, section 3: headers, which a backslash at a line's end continues, then Base64."""
    data: list[bytes] = []
    continued = False
    for line in body.splitlines():
        if continued or b":" in line:
            continued = line.endswith(b"\\")
        else:
            data.append(line.strip())
    return decoded(b"".join(data))


def _lines(text: bytes) -> Iterator[bytes]:
    """The lines that say something."""
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        stripped = line.strip(b" \t\r")
        if stripped and not stripped.startswith(b"#"):
            yield stripped
