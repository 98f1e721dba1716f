"""SSH's own binary format: strings and numbers with a length before them (RFC 4251, section 5), public keys, fingerprints."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

MAX_FIELD_BYTES: Final = 1 << 20
_MPINT, _TEXT, _ED25519, _ED448, _POINT = "mpint", "text", "32", "57", "point"
_LAYOUTS: Final[dict[bytes, tuple[str, ...]]] = {
    b"ssh-rsa": (_MPINT, _MPINT),
    b"ssh-dss": (_MPINT, _MPINT, _MPINT, _MPINT),
    b"ssh-ed25519": (_ED25519,),
    b"ssh-ed448": (_ED448,),
    b"ecdsa-sha2-nistp256": (_TEXT, _POINT),
    b"ecdsa-sha2-nistp384": (_TEXT, _POINT),
    b"ecdsa-sha2-nistp521": (_TEXT, _POINT),
    b"sk-ssh-ed25519@openssh.com": (_ED25519, _TEXT),
    b"sk-ecdsa-sha2-nistp256@openssh.com": (_TEXT, _POINT, _TEXT),
}
"""What follows the type in a public key: RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f."""
_SIZES: Final = {_ED25519: 32, _ED448: 57}
_CERTIFIED: Final = "-cert-v01@openssh.com"


def _certificate_name(name: str) -> str:
    """OpenSSH's PROTOCOL.certkeys: of `sk-…@openssh.com` the suffix goes before the domain."""
    return name.removesuffix("@openssh.com") + _CERTIFIED


PLAIN_OF: Final = {_certificate_name(name.decode()).encode(): name for name in _LAYOUTS}
"""The plain key's type, by the type of its certificate."""
KEY_TYPES: Final = (*(name.decode() for name in _LAYOUTS), *(name.decode() for name in PLAIN_OF))
"""Every type that a line with a public key can begin with, certificates included."""


class Unparsable(ValueError):
    """It is not what it says it is."""


class Wire:
    """A cursor over fields."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether all was taken."""
        return self._at >= len(self._data)

    def number(self) -> int:
        """A uint32.

        Raises:
            Unparsable: there is not enough left.
        """
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        """A string, whatever it holds.

        Raises:
            Unparsable: its length is beyond the end.
        """
        return self._take(self.number())

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size or size > MAX_FIELD_BYTES:
            raise Unparsable("a field is longer than what holds it")
        self._at += size
        return piece


def string(value: bytes) -> bytes:
    """A string field."""
    return len(value).to_bytes(4, "big") + value


def mpint(value: int) -> bytes:
    """A number field, for one that is not negative."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


def decoded(text: bytes) -> bytes:
    """The bytes of Base64 without blanks in it.

    Raises:
        Unparsable: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unparsable("no Base64") from None


def public_key(blob: bytes, *, named: bytes = b"") -> bytes:
    """The plain public key of a key or certificate, checked for its shape; `named` is the type that it is to have.

    Of a certificate it is the key that was certified, as for `ssh-keygen -l`: that key is what can be compared.

    Raises:
        Unparsable: a type that is not known or not `named`, a missing or malformed field, something after the last.
    """
    fields = Wire(blob)
    name = fields.string()
    if named and name != named:
        raise Unparsable("the key has another type than its line")
    certified = name in PLAIN_OF
    plain = PLAIN_OF.get(name, name)
    if plain not in _LAYOUTS:
        raise Unparsable("an unknown type of key")
    if certified:
        fields.string()  # the nonce
    key = string(plain) + b"".join(string(_checked(kind, fields.string())) for kind in _LAYOUTS[plain])
    if not certified and not fields.ended:
        raise Unparsable("more than a key")
    return key


def _checked(kind: str, value: bytes) -> bytes:
    if kind == _MPINT and not (value and value[0] < 0x80):
        raise Unparsable("a number that is none or negative")
    if kind in _SIZES and len(value) != _SIZES[kind]:
        raise Unparsable("a key of a wrong size")
    if kind == _POINT and not (value[:1] == b"\x04" and len(value) in (65, 97, 133)):
        raise Unparsable("no point of a curve")
    return value


def fingerprints(key: bytes) -> tuple[str, str]:
    """MD5 as `aa:bb:…` and SHA-256 as `SHA256:…` without padding, of a public key (ssh-keygen(1), -E)."""
    md5 = hashlib.md5(key, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return ":".join(md5[at : at + 2] for at in range(0, len(md5), 2)), f"SHA256:{sha256}"
