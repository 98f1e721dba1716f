"""What makes a certificate speak for its owner: points 6 to 10 and 12 of the policy, beyond the corpus."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from forge import ALICE, BORN, DATA, DAY, LAPTOP, MALLORY, NOW, TABLET, Forger, mpi, packet, u32

from investigator.pgp import Keyring, SignatureRefused, Verified

SIGNS, CERTIFIES = (27, b"\x03"), (27, b"\x01")


def expires(seconds_after_birth: int) -> tuple[int, bytes]:
    return (9, u32(seconds_after_birth))


def verify(certificate: bytes, signature: bytes | None = None, now: int = NOW) -> Verified:
    keyring = Keyring.load({"a": certificate})
    assert not keyring.refused, keyring.refused
    return keyring.verify(DATA, signature or ALICE.document(), now)


def refused(certificate: bytes, why: str, signature: bytes | None = None, now: int = NOW) -> None:
    with pytest.raises(SignatureRefused, match=why):
        Keyring.load({"a": certificate}).verify(DATA, signature or ALICE.document(), now)


def test_a_plain_certificate_verifies_and_names_its_primary_key() -> None:
    assert verify(ALICE.certificate()) == Verified(ALICE.fingerprint, ALICE.fingerprint, NOW - 60)


def test_a_subkey_verifies_and_the_identity_is_still_the_primary_key() -> None:
    certificate = ALICE.certificate(ALICE.bound(LAPTOP), flags=b"\x01")
    assert verify(certificate, LAPTOP.document()) == Verified(ALICE.fingerprint, LAPTOP.fingerprint, NOW - 60)


# (8) and (9): flags and expiry


@pytest.mark.parametrize("direct_expires", [True, False])
def test_the_earlier_of_direct_key_and_user_id_expiry_counts(direct_expires: bool) -> None:
    short, long = expires(10 * DAY), expires(1000 * DAY)
    direct, user_id = (short, long) if direct_expires else (long, short)
    certificate = packet(6, ALICE.body) + ALICE.direct(direct) + ALICE.user_id() + ALICE.self_signature(SIGNS, user_id)
    refused(certificate, "is expired")


@pytest.mark.parametrize(("direct", "user_id"), [(SIGNS, CERTIFIES), (CERTIFIES, SIGNS)])
def test_direct_key_and_user_id_must_agree_on_signing(direct: tuple[int, bytes], user_id: tuple[int, bytes]) -> None:
    certificate = packet(6, ALICE.body) + ALICE.direct(direct) + ALICE.user_id() + ALICE.self_signature(user_id)
    refused(certificate, "not allowed to sign")


def test_a_direct_key_signature_that_is_silent_on_signing_leaves_it_to_the_user_id() -> None:
    certificate = packet(6, ALICE.body) + ALICE.direct() + ALICE.user_id() + ALICE.self_signature(SIGNS)
    assert verify(certificate)


def test_a_certificate_without_user_ids_may_speak_by_direct_key_signature() -> None:
    assert verify(packet(6, ALICE.body) + ALICE.direct(SIGNS))


def test_the_newest_statement_wins_in_either_direction_and_any_order() -> None:
    extended = ALICE.self_signature(SIGNS, expires(1000 * DAY), created=BORN + 2 * DAY)
    ending = ALICE.self_signature(SIGNS, expires(10 * DAY), created=BORN + DAY)
    withdrawn = ALICE.self_signature(CERTIFIES, created=BORN + 3 * DAY)
    start = packet(6, ALICE.body) + ALICE.user_id()
    assert verify(start + ending + extended)
    assert verify(start + extended + ending)
    refused(start + withdrawn + extended, "not allowed to sign")


@pytest.mark.parametrize("first_signs", [True, False])
def test_of_two_statements_of_the_same_second_the_stricter_counts(first_signs: bool) -> None:
    both = [ALICE.self_signature(SIGNS), ALICE.self_signature(CERTIFIES)]
    refused(packet(6, ALICE.body) + ALICE.user_id() + b"".join(both if first_signs else both[::-1]), "not allowed")


def test_what_was_withdrawn_when_it_signed_stays_unsigned_though_the_withdrawal_has_ended() -> None:
    withdrawn = ALICE.self_signature(CERTIFIES, (3, u32(2 * DAY)), created=NOW - 3 * DAY)
    certificate = ALICE.certificate(withdrawn)
    refused(certificate, "not allowed to sign", ALICE.document(created=NOW - 2 * DAY))
    assert verify(certificate)


def test_what_was_signed_before_signing_was_allowed_stays_refused() -> None:
    allowed = ALICE.self_signature(SIGNS, created=NOW - DAY)
    certificate = packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(CERTIFIES) + allowed
    refused(certificate, "not allowed to sign", ALICE.document(created=NOW - 2 * DAY))
    assert verify(certificate)


def test_a_renewed_self_signature_alone_vouches_for_what_was_signed_before_it() -> None:
    certificate = packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, created=NOW - 60)
    assert verify(certificate, ALICE.document(created=NOW - DAY))


def test_a_certificate_expires_while_it_is_loaded() -> None:
    end = BORN + 101 * DAY
    certificate = packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, expires(101 * DAY))
    keyring = Keyring.load({"a": certificate})
    assert keyring.verify(DATA, ALICE.document(), end - 1)
    with pytest.raises(SignatureRefused, match="is expired"):
        keyring.verify(DATA, ALICE.document(), end)


def test_a_self_signature_dated_in_the_future_begins_to_count_when_its_time_comes() -> None:
    keyring = Keyring.load(
        {"a": packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, created=NOW + DAY)}
    )
    with pytest.raises(SignatureRefused, match="in the future"):
        keyring.verify(DATA, ALICE.document(), NOW)
    assert keyring.verify(DATA, ALICE.document(created=NOW + DAY), NOW + DAY)


def test_a_certificate_read_under_a_clock_of_1970_is_not_lost() -> None:
    keyring = Keyring.load({"a": ALICE.certificate()})
    with pytest.raises(SignatureRefused, match="in the future"):
        keyring.verify(DATA, ALICE.document(), 0)
    assert keyring.verify(DATA, ALICE.document(), NOW)


def test_a_key_made_a_moment_ago_by_a_clock_ahead_of_ours_may_sign() -> None:
    young = Forger("young", created=NOW + 60)
    certificate = packet(6, young.body) + young.user_id() + young.self_signature(SIGNS, created=NOW + 60)
    assert verify(certificate, young.document(created=NOW + 90))


def test_a_subkey_that_outlives_its_certificate_signs_no_more() -> None:
    certificate = (
        packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, expires(DAY)) + ALICE.bound(LAPTOP)
    )
    refused(certificate, "certificate .* is expired", LAPTOP.document())


def test_a_subkey_older_than_its_certificate_did_not_sign_for_it_before() -> None:
    young = Forger("young", created=NOW - DAY)
    start = packet(6, young.body) + young.user_id() + young.self_signature(SIGNS, created=NOW - DAY)
    certificate = start + young.bound(LAPTOP, created=NOW - DAY)
    assert verify(certificate, LAPTOP.document())
    refused(certificate, "did not exist yet", LAPTOP.document(created=NOW - 2 * DAY))


@pytest.mark.parametrize("flags", [b"", b"\x00", b"\x01", b"\x2c", b"\x00\x02"])
def test_only_the_sign_bit_of_the_first_octet_allows_to_sign(flags: bytes) -> None:
    refused(ALICE.certificate(flags=flags), "not allowed to sign")


@pytest.mark.parametrize("kind", [2, 3, 9, 27])
def test_a_self_signature_that_says_one_thing_twice_says_nothing_usable(kind: int) -> None:
    data = b"\x03" if kind == 27 else u32(BORN if kind == 2 else 1000 * DAY)
    said = [ALICE.named, (2, u32(BORN)), SIGNS, *([] if kind in (2, 27) else [(kind, data)]), (kind, data)]
    certificate = packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(hashed=said)
    refused(certificate, "occurs 2 times|without a valid self-signature")


@pytest.mark.parametrize(
    "said", [(100, b"", True), (20, b"\x80\0\0\0\0\1\0\1xy", True), (6, b"x", True), (9, b"\1\2", True)]
)
def test_a_self_signature_with_something_critical_that_we_do_not_know_does_not_count(
    said: tuple[int, bytes, bool],
) -> None:
    refused(packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, said), "self-signature|subpacket 9")


# (7): bindings


def test_a_subkey_without_sign_flag_does_not_sign_though_it_agreed() -> None:
    refused(ALICE.certificate(ALICE.bound(LAPTOP, flags=b"\x20")), "not allowed to sign", LAPTOP.document())


def test_an_adopted_subkey_counts_for_nobody_and_does_not_push_its_owner_out() -> None:
    adopting = MALLORY.certificate(MALLORY.bound(ALICE, back=b""), MALLORY.bound(LAPTOP, back=b""))
    keyring = Keyring.load({"0-mallory": adopting, "alice": ALICE.certificate(ALICE.bound(LAPTOP))})
    assert not keyring.refused
    assert keyring.verify(DATA, LAPTOP.document(), NOW).certificate == ALICE.fingerprint
    assert keyring.verify(DATA, ALICE.document(), NOW).certificate == ALICE.fingerprint


def test_a_back_signature_given_to_another_certificate_does_not_serve_here() -> None:
    replayed = LAPTOP.signature(0x19, ALICE.hashed + LAPTOP.hashed)
    refused(MALLORY.certificate(MALLORY.bound(LAPTOP, back=replayed)), "did not agree", LAPTOP.document())


def test_a_back_signature_by_the_primary_key_itself_is_none() -> None:
    own = ALICE.signature(0x19, ALICE.hashed + LAPTOP.hashed)
    refused(ALICE.certificate(ALICE.bound(LAPTOP, back=own)), "did not agree", LAPTOP.document())


@pytest.mark.parametrize(
    "how",
    [{"kind": 0x18}, {"hashing": 2}, {"left16": b"\0\0"}, {"version": 5}, {"hashed": [(2, u32(BORN))], "unhashed": []}],
)
def test_a_back_signature_is_held_to_the_same_rules(how: dict[str, Any]) -> None:
    back = LAPTOP.signature(how.pop("kind", 0x19), ALICE.hashed + LAPTOP.hashed, **how)
    refused(ALICE.certificate(ALICE.bound(LAPTOP, back=back)), "did not agree", LAPTOP.document())


def test_a_back_signature_within_a_back_signature_is_not_looked_for() -> None:
    inner = LAPTOP.signature(0x19, ALICE.hashed + LAPTOP.hashed)
    outer = LAPTOP.signature(0x18, ALICE.hashed + LAPTOP.hashed, (32, inner))
    refused(ALICE.certificate(ALICE.bound(LAPTOP, back=outer)), "did not agree", LAPTOP.document())


def test_a_back_signature_of_the_future_allows_nothing_yet() -> None:
    back = LAPTOP.signature(0x19, ALICE.hashed + LAPTOP.hashed, created=NOW + DAY)
    refused(ALICE.certificate(ALICE.bound(LAPTOP, back=back)), "not allowed to sign", LAPTOP.document())


def test_a_key_of_two_certificates_belongs_to_the_first_only() -> None:
    shared = {"a": ALICE.certificate(ALICE.bound(LAPTOP)), "b": MALLORY.certificate(MALLORY.bound(LAPTOP))}
    keyring = Keyring.load(shared)
    assert [name for name, _ in keyring.refused] == ["b"]
    assert keyring.verify(DATA, LAPTOP.document(), NOW).certificate == ALICE.fingerprint


def test_a_subkey_that_is_not_bound_is_said_to_be_so() -> None:
    refused(ALICE.certificate(packet(14, LAPTOP.body)), "is not bound to certificate", LAPTOP.document())


# (10): revocation


STAND = [packet(12, b"\x01\x02"), packet(21, b"\0" * 40), packet(17, b"\x02\x01x")]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"created": NOW + 1000 * DAY},
        {"hashing": 1},
        {"left16": b"\0\0"},
        {"hashed": []},
        {"hashed": [], "unhashed": []},
        {"hashed": [(2, u32(BORN)), MALLORY.named]},  # the unhashed area still names the key
        {"hashed": [(33, b"\x05" + ALICE.digest)], "unhashed": []},
        {"hashed": [ALICE.named, (2, u32(BORN)), (3, u32(1))]},
        {"hashed": [ALICE.named, (2, u32(BORN)), (99, b"", True)]},
        {"hashed": [ALICE.named, (2, u32(BORN)), (29, b"\x01superseded")]},
        {"version": 5},
        {"version": 6},
        {"subject": b"something else"},
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_revocation_counts_as_it_stands_wherever_it_stands(how: dict[str, Any], place: int) -> None:
    parts = [packet(6, ALICE.body), ALICE.user_id(), ALICE.self_signature(SIGNS), ALICE.bound(LAPTOP)]
    parts.insert(place + 1, ALICE.revocation(**how))
    keyring = Keyring.load({"a": b"".join(parts)})
    for signer in (ALICE, LAPTOP):
        with pytest.raises(SignatureRefused, match="is revoked"):
            keyring.verify(DATA, signer.document(), NOW)


def test_a_version_3_revocation_counts_by_the_key_id_it_names() -> None:
    def old(key_id: bytes) -> bytes:
        return packet(2, b"\x03\x05\x20" + u32(BORN) + key_id + b"\x01\x02\xab\xcd" + mpi(12345))

    refused(ALICE.certificate(old(ALICE.key_id)), "is revoked")
    assert verify(ALICE.certificate(old(MALLORY.key_id)))


def test_a_strangers_revocation_does_nothing() -> None:
    assert verify(ALICE.certificate(MALLORY.revocation(subject=ALICE.hashed)))


@pytest.mark.parametrize("revoker_class", [b"\x80", b"\xc0"])
@pytest.mark.parametrize("how", [{}, {"hashing": 2}, {"created": NOW + DAY}])
@pytest.mark.parametrize("direct", [True, False])
def test_a_designated_revoker_revokes(revoker_class: bytes, how: dict[str, Any], direct: bool) -> None:
    designation = (12, revoker_class + b"\x16" + MALLORY.digest)
    said = ALICE.direct(designation, **how) if direct else b""
    named = ALICE.self_signature(*([] if direct else [designation]), SIGNS, **how)
    start = packet(6, ALICE.body) + said + ALICE.user_id() + ALICE.self_signature(SIGNS) + named
    assert verify(start, now=NOW) if how.get("created") is None else True
    refused(start + MALLORY.revocation(subject=ALICE.hashed), "is revoked")


def test_a_revoked_subkey_signs_no_more_and_the_rest_does() -> None:
    gone = ALICE.bound(LAPTOP) + ALICE.revocation(0x28, ALICE.hashed + LAPTOP.hashed)
    certificate = ALICE.certificate(gone, ALICE.bound(TABLET))
    refused(certificate, "is revoked", LAPTOP.document())
    assert verify(certificate)
    assert verify(certificate, TABLET.document())


def test_a_clean_copy_of_a_revoked_subkey_does_not_bring_it_back() -> None:
    gone = ALICE.bound(LAPTOP) + ALICE.revocation(0x28, ALICE.hashed + LAPTOP.hashed)
    refused(ALICE.certificate(gone, ALICE.bound(LAPTOP)), "is revoked", LAPTOP.document())
    refused(ALICE.certificate(ALICE.bound(LAPTOP), gone), "is revoked", LAPTOP.document())


def test_a_subkeys_revocation_behind_another_subkey_revokes_all() -> None:
    moved = ALICE.bound(TABLET) + ALICE.revocation(0x28, ALICE.hashed + LAPTOP.hashed)
    for signer in (ALICE, LAPTOP, TABLET):
        refused(ALICE.certificate(ALICE.bound(LAPTOP), moved), "is revoked", signer.document())


def uid_subject(name: bytes, prefix: bytes = b"\xb4") -> bytes:
    return ALICE.hashed + prefix + u32(len(name)) + name


def test_a_revoked_user_id_counts_again_only_when_it_is_certified_anew() -> None:
    name = b"Alice <alice@example.org>"
    revocation = ALICE.revocation(0x30, uid_subject(name), created=BORN + DAY)
    refused(ALICE.certificate(revocation), "self-signature")
    assert verify(ALICE.certificate(revocation, ALICE.self_signature(SIGNS, created=BORN + 2 * DAY)))
    refused(ALICE.certificate(ALICE.user_id(b"x"), ALICE.user_id(), revocation), "self-signature")


def test_a_user_ids_revocation_in_the_wrong_place_counts_for_all_of_them() -> None:
    revocation = ALICE.revocation(0x30, uid_subject(b"Alice <alice@example.org>"), created=BORN + DAY)
    refused(ALICE.certificate(ALICE.bound(LAPTOP), revocation), "self-signature")


def test_a_user_ids_revocation_behind_another_user_id_counts_for_both() -> None:
    both = ALICE.certificate(ALICE.user_id(b"x"), ALICE.self_signature(SIGNS, name=b"x"))
    assert verify(both)
    refused(
        both + ALICE.revocation(0x30, uid_subject(b"Alice <alice@example.org>"), created=BORN + DAY), "self-signature"
    )


def test_a_direct_key_signature_can_be_revoked_too() -> None:
    revocation = ALICE.revocation(0x30, ALICE.hashed, created=BORN + DAY)
    refused(packet(6, ALICE.body) + ALICE.direct(SIGNS) + revocation, "self-signature")
    assert verify(packet(6, ALICE.body) + ALICE.direct(SIGNS, created=BORN + 2 * DAY) + revocation)


def test_a_revoked_photo_is_a_revoked_photo() -> None:
    photo = b"\x10\x01" + b"\xff\xd8" * 7
    revocation = ALICE.revocation(0x30, uid_subject(photo, b"\xd1"), created=BORN + DAY)
    assert verify(ALICE.certificate(packet(17, photo), revocation))


# (1), (3), (12): what a file may hold


@pytest.mark.parametrize("extra", STAND)
def test_trust_padding_and_attribute_packets_are_passed_over(extra: bytes) -> None:
    assert verify(ALICE.certificate(extra))


@pytest.mark.parametrize("tag", [0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 18, 19, 20, 60])
def test_packets_that_do_not_belong_refuse_the_file(tag: int) -> None:
    refused(ALICE.certificate(packet(tag, b"PGP")), "a: .*(does not belong|secret key)")


@pytest.mark.parametrize(
    "subkey",
    [
        b"\x06" + u32(BORN) + b"\x1b" + u32(32) + b"\x01" * 32,
        b"\x05" + u32(BORN) + b"\x16" + u32(51) + b"\x01" * 51,
        b"\x04" + u32(BORN) + b"\x19" + b"\x01" * 32,
        b"\x04" + u32(BORN) + b"\x12\x0a" + bytes.fromhex("2B060104019755010501") + b"\x01\x07\x40" + b"\x01" * 32,
        b"\x04" + u32(BORN) + b"\x13\x09" + bytes.fromhex("2B2403030208010107") + b"\x02\x03\x04" + b"\x01" * 64,
        b"\x04" + u32(BORN) + b"\x10" + mpi(2**2047 + 1) * 3,
        b"\x04",
    ],
    ids=["v6", "v5", "x25519", "cv25519", "brainpool", "elgamal", "stub"],
)
def test_subkeys_of_other_kinds_leave_the_rest_alone(subkey: bytes) -> None:
    if len(subkey) < 6:
        refused(ALICE.certificate(packet(14, subkey)), "version 4")
    else:
        assert verify(ALICE.certificate(packet(14, subkey)))


def rsa(modulus: int, exponent: int) -> bytes:
    body = b"\x04" + u32(BORN) + b"\x01" + mpi(modulus) + mpi(exponent)
    return packet(6, body)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (rsa(2**2047 + 1, 1), "unsafe exponent"),
        (rsa(2**2047 + 1, 4), "unsafe exponent"),
        (rsa(2**2047 + 1, 2**33 + 1), "unsafe exponent"),
        (rsa(2**2047, 65537), "even modulus"),
        (rsa(2**2046 + 1, 65537), "2047 bits"),
        (rsa(2**8192 + 1, 65537), "too large"),
        (packet(6, ALICE.body[:-33] + b"\x04" + ALICE.body[-32:]), "leading zeros"),
        (packet(6, ALICE.body + b"\0"), "trailing"),
        (packet(6, b"\x03" + ALICE.body[1:]), "version 3"),
        (
            packet(6, b"\x04" + u32(BORN) + b"\x13\x08" + bytes.fromhex("2A8648CE3D030107") + mpi(4 << 512 | 1)),
            "malformed",
        ),
        (
            packet(6, b"\x04" + u32(BORN) + b"\x16\x08" + bytes.fromhex("2A8648CE3D030107") + mpi(4 << 512 | 1)),
            "not allowed",
        ),
    ],
)
def test_weak_or_malformed_primary_keys_are_refused(key: bytes, why: str) -> None:
    refused(key + ALICE.user_id(), why)


def test_names_are_made_safe_for_a_terminal() -> None:
    name = b"Eve\x1b[2J\xff\n"
    certificate = packet(6, ALICE.body) + ALICE.user_id(name) + ALICE.self_signature(SIGNS, name=name)
    (listed,) = Keyring.load({"a": certificate}).certificates(NOW)
    assert listed.user_ids == ("Eve\ufffd[2J\ufffd\ufffd",)


def test_a_listing_tells_expiry_signing_keys_and_revocation_as_of_now() -> None:
    start = packet(6, ALICE.body) + ALICE.user_id() + ALICE.self_signature(SIGNS, expires(200 * DAY))
    (listed,) = Keyring.load({"a.asc": start + ALICE.bound(LAPTOP)}).certificates(NOW)
    assert listed.name == "a.asc"
    assert listed.kind == "Ed25519"
    assert not listed.revoked
    assert (listed.created, listed.expires) == (BORN, BORN + 200 * DAY)
    assert listed.signing_keys == (ALICE.fingerprint, LAPTOP.fingerprint)
    (listed,) = Keyring.load({"a.asc": start + ALICE.revocation()}).certificates(BORN + 300 * DAY)
    assert listed.revoked
    assert listed.signing_keys == ()
    assert re.fullmatch("[0-9A-F]{40}", listed.fingerprint)
    assert hashlib.sha1(ALICE.hashed).hexdigest().upper() == listed.fingerprint
