"""From the packets of a key file to a `Certificate`: points 1, 6, 7, 10 and 12 of the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from investigator.pgp.certificate import Certificate, SigningKey, Statement, Window
from investigator.pgp.framing import CERTIFICATE, SIGNATURE, Packet, dearmor, each_packet, read_packets, write_packet
from investigator.pgp.key import Key, fingerprint_of, key_hashed
from investigator.pgp.policy import MAX_CERTIFICATE_BYTES, MAX_USER_ID_BYTES, NEVER, SignatureRefused
from investigator.pgp.signature import (
    BACK_SIGNATURE,
    DIRECT_KEY,
    EMBEDDED,
    KEY_EXPIRES,
    KEY_FLAGS,
    KEY_REVOCATION,
    REVOCATIONS,
    REVOKER,
    SUBKEY_BINDING,
    SUBKEY_REVOCATION,
    USER_ID_REVOCATION,
    USER_ID_TYPES,
    Signature,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNATURE, _SECRET_KEY, _PRIMARY, _SECRET_SUBKEY, _TRUST, _USER_ID, _SUBKEY, _ATTRIBUTE, _PADDING = (
    2, 5, 6, 7, 12, 13, 14, 17, 21,
)  # fmt: skip
_MAX_BACK_SIGNATURES: Final = 4
_MAX_SELF_SIGNATURES: Final = 512
_MAX_HASHED_SUBJECT_BYTES: Final = 65_536
"""Each costs arithmetic, or hashing its subject: without limits a hostile file of 1 MiB would take seconds."""
_MAY_SIGN: Final = 0x02


class _Part(NamedTuple):
    """A key, user id or attribute of the file, with the signatures that follow it wherever it is repeated."""

    tag: int
    body: bytes
    subject: bytes
    """What signatures about it hash."""
    signatures: list[Signature]


def read_certificate(blob: bytes) -> Certificate:
    """Read one certificate, armored or not.

    Raises:
        SignatureRefused: for a file that is not exactly one version 4 certificate, whose primary key is not allowed, or
            that has no valid self-signature. A revoked one is returned, with `revoked` set and no signers.
    """
    return _Reader(read_packets(dearmor(blob, CERTIFICATE))).certificate()


def key_revocations(blob: bytes) -> tuple[list[Signature], bool]:
    """(10) The key revocations in a file, and whether it holds nothing else; whatever is wrong with the file.

    Several armored blocks are read here, though they make no certificate: `cat key.asc revocation.asc` must revoke.
    """
    found: list[Signature] = []
    pure = True
    for block in _blocks(blob):
        armor = SIGNATURE if block.startswith(b"-----BEGIN PGP SIGNATURE") else CERTIFICATE
        try:
            for tag, body in each_packet(dearmor(block, armor)):
                if tag == _SIGNATURE and body[1:2] == bytes([KEY_REVOCATION]):
                    found.append(Signature.parse(body))
                else:
                    pure = False
        except SignatureRefused:
            pure = False
    return found, pure and bool(found)


def revocation_packet(blob: bytes) -> bytes:
    """The one key revocation that a file consists of, armored or not, as a packet: for sending it on.

    Raises:
        SignatureRefused: it is something else.
    """
    found, nothing_else = key_revocations(blob)
    if len(found) != 1 or not nothing_else:
        raise SignatureRefused("not one key revocation and nothing else")
    (block,) = _blocks(blob)
    armor = SIGNATURE if block.startswith(b"-----BEGIN PGP SIGNATURE") else CERTIFICATE
    ((tag, body),) = read_packets(dearmor(block, armor))
    return write_packet(tag, body)


def _blocks(blob: bytes) -> list[bytes]:
    """A binary file, or each armored block of a text, without what stands around them."""
    if len(blob) > MAX_CERTIFICATE_BYTES or blob[:1] >= b"\x80":
        return [blob]
    begin, end = b"-----BEGIN ", b"-----END "
    pieces = (b"\n" + blob).split(b"\n" + begin)[1:]
    return [begin + body + end + rest.split(b"\n")[0] for body, _, rest in (piece.partition(end) for piece in pieces)]


class _Reader:
    """The packets of one file, on their way to a `Certificate`."""

    def __init__(self, packets: list[Packet]) -> None:
        _check_packets(packets)
        self.primary = Key(packets[0].body)
        self.self_signatures = 0
        self.unreadable: list[str] = []
        self.parts = self._group(packets)
        self.revoker_ids = self._revoker_ids()

    def certificate(self) -> Certificate:
        revoked = self._revoked()
        # (10) A user id's revocation that does not belong where it stands counts for everything said before it.
        gone = max((_date(s) for part in self.parts for s in part.signatures if self._strayed(s, part)), default=-1)
        direct = self._self_signatures(self.parts[0], range(DIRECT_KEY, DIRECT_KEY + 1), gone)
        named, names = self._user_ids(gone)
        if not revoked and not direct and not named:  # (6)
            raise SignatureRefused("certificate without a valid self-signature")
        kinds = tuple(tuple(_statement(self.primary, s) for s in kind) for kind in (direct, named) if kind)
        primary = SigningKey(self.primary, kinds)
        signers, unusable = {self.primary.fingerprint: primary}, {}
        for part in self.parts:
            if part.tag != _SUBKEY or part.body[:1] != b"\x04":
                continue
            fingerprint = fingerprint_of(part.body)
            try:
                signers[fingerprint] = self._subkey(part)
            except SignatureRefused as reason:
                unusable[fingerprint] = str(reason)
        certificate = Certificate(
            self.primary.fingerprint, primary, tuple(names), signers, unusable, revoker_ids=self.revoker_ids
        )
        return certificate.as_revoked(revoked) if revoked else certificate

    def _group(self, packets: list[Packet]) -> list[_Part]:
        """Merge what is repeated: of two copies of a subkey, one with its revocation and one without, none is clean."""
        parts: dict[tuple[int, bytes], _Part] = {}
        current = None
        for tag, body in packets:
            if tag == _SIGNATURE and current:
                current.signatures.extend(self._readable(body))
            elif tag in (_PRIMARY, _USER_ID, _SUBKEY, _ATTRIBUTE):
                current = parts.setdefault((tag, body), _Part(tag, body, self._subject(tag, body), []))
        return list(parts.values())

    def _subject(self, tag: int, body: bytes) -> bytes:
        """What signatures about a part hash (RFC 9580 §5.2.4)."""
        if tag == _PRIMARY:
            return self.primary.hashed
        if tag == _SUBKEY:
            return self.primary.hashed + key_hashed(body) if body[:1] == b"\x04" else b""
        return self.primary.hashed + (b"\xb4" if tag == _USER_ID else b"\xd1") + len(body).to_bytes(4, "big") + body

    def _readable(self, body: bytes) -> list[Signature]:
        """An unreadable certification by somebody is left out; what may be a revocation of ours is noted (10)."""
        try:
            return [Signature.parse(body)]
        except SignatureRefused:
            types = body[1:2] if body[:1] == b"\x04" else body[1:3]
            if REVOCATIONS & set(types):
                self.unreadable.append(body[7:15].hex().upper() if body[:1] in (b"\x02", b"\x03") else "")
            return []

    def _revoker_ids(self) -> frozenset[str]:
        """(10) The primary key, and the revokers that any self-signature designates, even one that does not hold."""
        own = self.primary.key_id
        designating = [
            signature
            for part in self.parts
            for signature in part.signatures
            if signature.type == DIRECT_KEY or signature.type in USER_ID_TYPES
            if own in signature.named_key_ids() or not signature.named_key_ids()
        ]
        return frozenset({own}) | {data[2:].hex().upper()[-16:] for s in designating for data in s.all(REVOKER)}

    def _ours(self, revocation: Signature) -> bool:
        named = revocation.named_key_ids()
        return not named or bool(named & self.revoker_ids)

    def _revoked(self) -> str:
        """(10) Why the whole certificate counts as revoked, or nothing."""
        for part in self.parts:
            for signature in part.signatures:
                if signature.type == KEY_REVOCATION and self._ours(signature):
                    return "by a revocation in its file"
                if signature.type == SUBKEY_REVOCATION and self._ours(signature) and not _is_about(signature, part):
                    return "by a subkey's revocation that does not belong where it stands"
        if any(not key_id or key_id in self.revoker_ids for key_id in self.unreadable):
            return "by a revocation that cannot be read"
        return ""

    def _user_ids(self, gone: int) -> tuple[list[Signature], list[str]]:
        """(6) The valid self-signatures on user ids that were not revoked since, and those user ids."""
        found: list[Signature] = []
        names: list[str] = []
        for part in self.parts:
            if part.tag != _USER_ID:
                continue
            own = [_date(s) for s in part.signatures if s.type == USER_ID_REVOCATION and self._ours(s)]
            holding = self._self_signatures(part, USER_ID_TYPES, max([gone, *own]))
            if holding:
                found += holding
                names.append(_printable(part.body))
        return found, names

    def _self_signatures(self, part: _Part, types: range, gone: int) -> list[Signature]:
        """(6) Those on a part that hold and were made after `gone`."""
        own = [s for s in part.signatures if s.type in types and self._holds(s, part.subject)]
        return [s for s in own if s.created > gone]

    def _strayed(self, revocation: Signature, part: _Part) -> bool:
        """(10) Whether it revokes a user id, but not the one where it stands; then it counts for all of them."""
        if revocation.type != USER_ID_REVOCATION or not self._ours(revocation):
            return False
        if part.tag not in (_USER_ID, _ATTRIBUTE) or len(part.subject) > _MAX_HASHED_SUBJECT_BYTES:
            return True
        return revocation.speaks_of(part.subject) is False

    def _subkey(self, part: _Part) -> SigningKey:
        """(7) Raise unless the subkey signs for this certificate."""
        key = Key(part.body)
        if any(s.type == SUBKEY_REVOCATION and self._ours(s) for s in part.signatures):  # (10)
            raise SignatureRefused(f"key {key.fingerprint} is revoked")
        bindings = [s for s in part.signatures if s.type == SUBKEY_BINDING and self._holds(s, part.subject)]
        if not bindings:
            raise SignatureRefused(f"key {key.fingerprint} is not bound to certificate {self.primary.fingerprint}")
        statements = tuple(_binding(key, binding, part.subject) for binding in bindings)
        if not any(statement.signs for statement in statements):
            raise SignatureRefused(f"key {key.fingerprint} is not allowed to sign, or did not agree to its binding")
        return SigningKey(key, (statements,))

    def _holds(self, signature: Signature, subject: bytes) -> bool:
        """(6) Whether the primary key said this, by the same rules as for documents."""
        if self.primary.key_id not in signature.named_key_ids():
            return False
        self.self_signatures += 1
        if self.self_signatures > _MAX_SELF_SIGNATURES:
            raise SignatureRefused(f"more than {_MAX_SELF_SIGNATURES} self-signatures")
        try:
            signature.check(self.primary, subject)
        except SignatureRefused:
            return False
        return True


def _check_packets(packets: list[Packet]) -> None:
    """(12) Raise unless the packets are those of one certificate."""
    tags = [packet.tag for packet in packets]
    if {_SECRET_KEY, _SECRET_SUBKEY} & set(tags):
        raise SignatureRefused("holds a secret key, which belongs on its owner's machine only")
    odd = set(tags) - {_SIGNATURE, _PRIMARY, _TRUST, _USER_ID, _SUBKEY, _ATTRIBUTE, _PADDING}
    if odd:
        raise SignatureRefused(f"packet {min(odd)} does not belong in a certificate")
    if tags.count(_PRIMARY) != 1:
        raise SignatureRefused(f"{tags.count(_PRIMARY)} certificates; a key file holds exactly one")
    if tags[0] != _PRIMARY:
        raise SignatureRefused("does not start with a public key")
    if any(tag == _USER_ID and len(body) > MAX_USER_ID_BYTES for tag, body in packets):
        raise SignatureRefused(f"user id of more than {MAX_USER_ID_BYTES} bytes")


def _is_about(revocation: Signature, part: _Part) -> bool:
    """Whether a subkey revocation stands behind the subkey that it revokes, as far as its digest can tell."""
    return part.tag == _SUBKEY and (not part.subject or revocation.speaks_of(part.subject) is not False)


def _date(revocation: Signature) -> int:
    try:
        return revocation.created
    except SignatureRefused:
        return NEVER


def _printable(user_id: bytes) -> str:
    text = user_id.decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _statement(key: Key, signature: Signature, agreed: Iterable[Window] = (Window(0, NEVER),)) -> Statement:
    """(8) Of two key-flags subpackets each reader would pick another, so `one` refuses them."""
    lifetime, flags = signature.seconds(KEY_EXPIRES), signature.one(KEY_FLAGS)
    return Statement(
        said=Window(signature.created, signature.expires),
        key_expires=key.created + lifetime if lifetime else NEVER,
        signs=None if flags is None else tuple(agreed) if flags[:1] and flags[0] & _MAY_SIGN else (),
    )


def _binding(key: Key, binding: Signature, subject: bytes) -> Statement:
    """(7) What a binding says of a subkey. It may sign while its back-signature (RFC 9580 §5.2.1.9) stands.

    The back-signature may be unhashed, as gpg has it: it proves itself.
    """
    agreed = []
    embedded = [data for kind, _, data in binding.hashed + binding.unhashed if kind == EMBEDDED]
    for data in embedded[:_MAX_BACK_SIGNATURES]:
        try:
            back = Signature.parse(data)
            if back.type == BACK_SIGNATURE:
                back.check(key, subject)
                agreed.append(Window(back.created, back.expires))
        except SignatureRefused:
            continue
    statement = _statement(key, binding, agreed)
    return statement if statement.signs is not None else statement._replace(signs=())
