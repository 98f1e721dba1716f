"""Giving a key up: a revocation that proves itself, revokes its own key and no other, and says why."""

from __future__ import annotations

import pytest

from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Keyring, OtherBytes, SignatureRefused
from investigator.pgp.framing import CERTIFICATE, dearmor, read_packets
from investigator.pgp.secret import REASONS, generate_key
from investigator.pgp.signature import KEY_REVOCATION, Signature
from investigator.pgp.signer import KeyFileSigner

NOW = 1_795_490_547
DATA = b'{"type": "action"}'
ADA = generate_key("Ada", "ada@example.org", "correct horse", now=NOW)
BOB = generate_key("Bob", "bob@example.org", None, now=NOW)
RING = {"ada.asc": ADA.public.encode(), "bob.asc": BOB.public.encode()}


def signer(secret: str, passphrase: str = "correct horse") -> KeyFileSigner:
    return KeyFileSigner(secret.encode(), lambda: passphrase, clock=lambda: NOW + 60)


@pytest.mark.parametrize("reason", REASONS)
def test_a_revocation_revokes_its_own_key_and_no_other(reason: str) -> None:
    revocation = signer(ADA.secret).revoke(reason, "the laptop was stolen").encode()
    before = Keyring.load(RING)
    assert before.revoked_by(revocation) == ADA.fingerprint
    after = Keyring.load({**RING, "ada.rev": revocation})
    assert not after.refused
    states = {one.fingerprint: bool(one.revoked) for one in after.certificates(NOW + 60)}
    assert states == {ADA.fingerprint: True, BOB.fingerprint: False}
    signature = signer(ADA.secret).sign(DATA).encode()
    assert before.verify(DATA, signature, NOW + 60)
    with pytest.raises(SignatureRefused, match="is revoked"):
        after.verify(DATA, signature, NOW + 60)


def test_a_revocation_says_why_in_one_packet_of_type_0x20() -> None:
    ((tag, body),) = read_packets(dearmor(signer(BOB.secret).revoke("compromised", "lost").encode(), CERTIFICATE))
    made = Signature.parse(body)
    assert (tag, made.type, made.hash_algorithm) == (2, KEY_REVOCATION, 10)
    assert made.one(29) == b"\x02lost"
    assert made.created == NOW + 60


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "x" * 151, "ü" * 76])
def test_a_text_that_would_drive_a_terminal_or_is_too_long_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="printable"):
        signer(BOB.secret).revoke("none", text)


def test_a_wrong_passphrase_revokes_nothing() -> None:
    with pytest.raises(BadInput, match="wrong passphrase"):
        signer(ADA.secret, "wrong").revoke()


def test_a_signature_of_other_bytes_is_told_from_one_that_does_not_count() -> None:
    ring = Keyring.load(RING)
    signature = signer(BOB.secret).sign(DATA).encode()
    assert ring.named_by(signature) == BOB.fingerprint
    with pytest.raises(OtherBytes):
        ring.verify(DATA + b" ", signature, NOW + 60)
    with pytest.raises(SignatureRefused) as caught:
        Keyring.load({"ada.asc": RING["ada.asc"]}).verify(DATA, signature, NOW + 60)
    assert not isinstance(caught.value, OtherBytes)
    assert Keyring.load({"ada.asc": RING["ada.asc"]}).named_by(signature) == ""


def test_whose_signature_it_claims_to_be_is_told_of_a_revoked_key_too() -> None:
    revoked = Keyring.load({**RING, "bob.rev": signer(BOB.secret).revoke().encode()})
    assert revoked.named_by(signer(BOB.secret).sign(DATA).encode()) == BOB.fingerprint


def test_a_key_file_tells_its_public_part_and_whether_it_is_protected() -> None:
    ada = signer(ADA.secret)
    assert Keyring.load({"a": ada.public.encode()}).certificates(NOW)[0].fingerprint == ADA.fingerprint
    assert "PRIVATE" not in ada.public
    assert (ada.protected, signer(BOB.secret).protected) == (True, False)
    ada.check()
    expired = generate_key("Eve", "eve@example.org", None, now=NOW, lifetime_s=10)
    with pytest.raises(DeploymentError, match="may sign now"):
        signer(expired.secret).check()
