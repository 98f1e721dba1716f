"""Revocations that came from elsewhere: only the key's owner makes one, and it counts whatever file the key stands in."""

from __future__ import annotations

import contextlib
from functools import cache

import pytest

from investigator.pgp.certificate_file import revocation_packet
from investigator.pgp.keyring import Keyring
from investigator.pgp.policy import SignatureRefused
from investigator.pgp.secret import Generated, generate_key
from investigator.pgp.signer import KeyFileSigner

NOW = 1_795_500_000


@cache
def key(name: str) -> Generated:
    return generate_key(name, f"{name}@example.net", None, now=NOW - 1000)


def keyring(*names: str) -> Keyring:
    return Keyring.load({f"{name}.asc": key(name).public.encode() for name in names})


def signer(name: str) -> KeyFileSigner:
    return KeyFileSigner(key(name).secret.encode(), clock=lambda: NOW)


def revocation(name: str) -> bytes:
    return revocation_packet(signer(name).revoke("compromised").encode())


def test_a_revocation_names_the_certificate_whose_key_made_it() -> None:
    assert keyring("alice", "bob").revoked_by(revocation("bob")) == key("bob").fingerprint


def test_armored_and_binary_are_the_same_packet() -> None:
    packet = revocation("alice")
    assert packet[:1] >= b"\x80"
    assert revocation_packet(packet) == packet
    assert keyring("alice").revoked_by(packet) == key("alice").fingerprint


def test_after_it_the_key_signs_no_more_and_others_do() -> None:
    before = keyring("alice", "bob")
    after = before.with_revocations({"x.rev": revocation("alice")})
    good, stolen = signer("bob").sign(b"data").encode(), signer("alice").sign(b"data").encode()
    assert before.verify(b"data", stolen, NOW).certificate == key("alice").fingerprint
    with pytest.raises(SignatureRefused, match=r"revoked by a revocation in x\.rev"):
        after.verify(b"data", stolen, NOW)
    assert after.verify(b"data", good, NOW).certificate == key("bob").fingerprint
    assert after.revoked_by(revocation("alice")) == key("alice").fingerprint


def test_nobody_revokes_a_key_that_is_not_theirs() -> None:
    with pytest.raises(SignatureRefused, match="no key of the keyring"):
        keyring("alice").revoked_by(revocation("mallory"))
    assert (
        keyring("alice")
        .with_revocations({"x": revocation("mallory")})
        .verify(b"data", signer("alice").sign(b"data").encode(), NOW)
    )


def test_no_mutation_of_a_revocation_of_one_key_revokes_another_or_passes() -> None:
    here, packet = keyring("alice", "bob"), revocation("mallory")
    names = [bytes.fromhex(key(name).fingerprint) for name in ("mallory", "alice")]
    renamed = packet.replace(names[0], names[1]).replace(names[0][-8:], names[1][-8:])
    assert renamed != packet
    with pytest.raises(SignatureRefused):
        here.revoked_by(renamed)
    own = bytearray(revocation("alice"))
    signed = range(6, len(own))
    for place in signed:
        own[place] ^= 1
        with contextlib.suppress(SignatureRefused):  # the unsigned hints may be anything
            assert here.revoked_by(bytes(own)) == key("alice").fingerprint
        own[place] ^= 1


@pytest.mark.parametrize("what", ["empty", "rubbish", "certificate", "signature", "two", "key and revocation"])
def test_what_is_not_one_revocation_and_nothing_else_is_refused(what: str) -> None:
    armored = signer("alice").revoke().encode()
    blob = {
        "empty": b"",
        "rubbish": b"\x88\x00junk",
        "certificate": key("alice").public.encode(),
        "signature": signer("alice").sign(b"data").encode(),
        "two": armored + armored,
        "key and revocation": key("alice").public.encode() + armored,
    }[what]
    with pytest.raises(SignatureRefused):
        revocation_packet(blob)
    with pytest.raises(SignatureRefused):
        keyring("alice").revoked_by(blob)
