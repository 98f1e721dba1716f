"""What makes a signature file good: points 1 to 5 of the policy, beyond the corpus."""

from __future__ import annotations

import base64
import contextlib

import pytest
from forge import ALICE, DATA, DAY, ED25519_ORDER, MALLORY, NOW, Forger, mpi, packet, u32
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.errors import Refused
from investigator.pgp import Keyring, Policy, SignatureRefused
from investigator.pgp.framing import armored

KEYRING = Keyring.load({"alice": ALICE.certificate(), "mallory": MALLORY.certificate()})
GOOD = ALICE.document()
BODY = ALICE.signature(0, DATA, created=NOW - 60)
ARMORED = armored("SIGNATURE", GOOD)


def accepted(signature: bytes, data: bytes = DATA, now: int = NOW) -> bool:
    return KEYRING.verify(data, signature, now).certificate == ALICE.fingerprint


def refused(signature: bytes, why: str, data: bytes = DATA, now: int = NOW) -> None:
    with pytest.raises(SignatureRefused, match=why) as caught:
        KEYRING.verify(data, signature, now)
    assert isinstance(caught.value, Refused)
    assert caught.value.exit_code == 3
    assert caught.value.code == "signature"


@pytest.mark.parametrize(
    "header",
    [
        bytes([0x88, len(BODY)]),
        b"\x89" + len(BODY).to_bytes(2, "big"),
        b"\x8a" + u32(len(BODY)),
        bytes([0xC2, len(BODY)]),
        b"\xc2\xff" + u32(len(BODY)),
    ],
    ids=["old-1", "old-2", "old-4", "new-1", "new-5"],
)
def test_every_definite_packet_length_is_read(header: bytes) -> None:
    assert accepted(header + BODY)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"\x8b", "indeterminate"),
        (b"\xc2\xe7", "partial"),
        (b"\xc2\xff\xff\xff\xff\xff", "past the end"),
        (b"\x8a\xff\xff\xff\xff", "past the end"),
        (bytes([0x88, len(BODY) + 1]), "past the end"),
    ],
)
def test_other_packet_lengths_are_not(header: bytes, why: str) -> None:
    refused(header + BODY, why)


def test_a_second_packet_is_refused_whatever_it_is() -> None:
    for extra in (
        GOOD,
        MALLORY.document(),
        packet(10, b"PGP"),
        packet(21, b"\0"),
        packet(12, b"\1\2"),
        packet(60, b""),
    ):
        refused(GOOD + extra, "2 packets")
        refused(extra + GOOD, "2 packets")


@pytest.mark.parametrize("kind", [1, 2, 0x10, 0x13, 0x16, 0x18, 0x19, 0x1F, 0x20, 0x28, 0x30, 0x40, 0x50, 0xFF])
def test_other_signature_types_are_refused_over_any_subject(kind: int) -> None:
    for subject in (DATA, b"", ALICE.hashed):
        refused(packet(2, ALICE.signature(kind, subject, created=NOW - 60)), "signature type")


@pytest.mark.parametrize("version", [0, 2, 3, 5, 6, 255])
def test_other_versions_are_refused_by_name(version: int) -> None:
    refused(packet(2, bytes([version]) + BODY[1:]), f"version {version}")


# armor


def test_armor_may_have_known_headers_carriage_returns_and_no_checksum() -> None:
    lines = ARMORED.splitlines()
    assert accepted(ARMORED.encode())
    assert accepted("\r\n".join(lines).encode())
    assert accepted("\n".join([*lines[:-2], lines[-1]]).encode())
    assert accepted("\n".join([lines[0], "Version: GnuPG v2", "Comment: grüße", *lines[1:]]).encode())
    assert accepted(("  \n" + ARMORED + "\n\n").encode())


@pytest.mark.parametrize(
    "spoiled",
    [
        "hello\n" + ARMORED,
        ARMORED + "hello\n",
        ARMORED + ARMORED,
        ARMORED.replace("\n\n", "\nSubject: pay\n\n", 1),
        ARMORED.replace("\n\n", "\nComment: \x1b[2J\n\n", 1),
        ARMORED.replace("\n\n", "\n" + "Comment: x\n" * 9 + "\n", 1),
        ARMORED.replace("\n\n", "\nComment: " + "x" * 201 + "\n\n", 1),
        ARMORED.replace("SIGNATURE", "MESSAGE"),
        ARMORED.replace("SIGNATURE", "PUBLIC KEY BLOCK"),
        ARMORED.replace("END PGP SIGNATURE", "END PGP MESSAGE"),
        ARMORED[:-40],
        ARMORED[40:],
        ARMORED.replace("-----BEGIN", "- -----BEGIN"),
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nhello\n" + ARMORED,
        ARMORED.replace("wn", "w n", 1).replace("wl", "w l", 1).replace("iH", "i H", 1).replace("\n\nw", "\n\n w", 1),
        "-----BEGIN PGP SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\n\n====\n-----END PGP SIGNATURE-----",
        "{}",
        "\n",
    ],
)
def test_armor_is_one_whole_block_and_nothing_else(spoiled: str) -> None:
    assert spoiled != ARMORED
    with pytest.raises(SignatureRefused):
        KEYRING.verify(DATA, spoiled.encode(), NOW)


# numbers


def numbers(r: int, s: int) -> bytes:
    return packet(2, BODY[: -len(body_numbers())] + mpi(r) + mpi(s))


def body_numbers() -> bytes:
    """The numbers are what follows the left 16 bits."""
    head = 6 + int.from_bytes(BODY[4:6], "big")
    unhashed = int.from_bytes(BODY[head : head + 2], "big")
    return BODY[head + 2 + unhashed + 2 :]


def r_and_s() -> tuple[int, int]:
    raw = body_numbers()
    size = (int.from_bytes(raw[:2], "big") + 7) // 8
    return int.from_bytes(raw[2 : 2 + size], "big"), int.from_bytes(raw[4 + size :], "big")


def test_the_numbers_of_an_ed25519_signature_have_one_form() -> None:
    r, s = r_and_s()
    assert accepted(numbers(r, s))
    refused(numbers(r, s + ED25519_ORDER), "bad signature")
    refused(numbers(r, 0), "bad signature")
    refused(numbers(0, 0), "bad signature")
    refused(numbers(r << 8, s), "bad signature")
    refused(numbers(r, s << 8), "bad signature")
    refused(numbers(2**8191, s), "bad signature")
    refused(numbers(2**8192, s), "too large")
    head = BODY[: -len(body_numbers())]
    refused(packet(2, head + (r.bit_length() + 8).to_bytes(2, "big") + b"\0" + mpi(r)[2:] + mpi(s)), "leading zeros")
    refused(packet(2, head + mpi(r)), "truncated")
    refused(packet(2, head + mpi(r) + mpi(s) + mpi(s)), "trailing")
    refused(packet(2, head), "truncated")


def test_short_numbers_are_padded_and_good() -> None:
    seen = 0
    for attempt in range(2000):
        data = str(attempt).encode()
        body = ALICE.signature(0, data, created=NOW - 60)
        head = 6 + int.from_bytes(body[4:6], "big")
        unhashed = int.from_bytes(body[head : head + 2], "big")
        if int.from_bytes(body[head + unhashed + 4 : head + unhashed + 6], "big") <= 248:
            assert accepted(packet(2, body), data)
            seen += 1
    assert seen


# time


def test_the_window_of_a_signature_is_seven_days_back_and_two_minutes_ahead() -> None:
    assert accepted(ALICE.document(created=NOW + 120))
    assert accepted(ALICE.document(created=NOW - 7 * DAY))
    refused(ALICE.document(created=NOW + 121), "121 s in the future")
    refused(ALICE.document(created=NOW - 7 * DAY - 1), "604,801 s old")


def test_the_window_is_a_setting_and_an_old_document_may_be_judged_by_another() -> None:
    old = ALICE.document(created=NOW - 10 * DAY)
    wide = Keyring.load({"a": ALICE.certificate()}, Policy(max_age_s=30 * DAY))
    assert wide.verify(DATA, old, NOW)
    assert KEYRING.verify(DATA, old, NOW, max_age_s=30 * DAY)
    with pytest.raises(SignatureRefused, match="60 s old; 59 s at most"):
        wide.verify(DATA, GOOD, NOW, max_age_s=59)


def test_a_signatures_own_lifetime_ends_it_and_nought_does_not() -> None:
    refused(ALICE.document(DATA, (3, u32(60))), "own lifetime")
    assert accepted(ALICE.document(DATA, (3, u32(61))))
    assert accepted(ALICE.document(DATA, (3, u32(0))))


def test_a_signature_from_before_its_key_is_refused() -> None:
    young = Forger("young", created=NOW - 100)
    certificate = packet(6, young.body) + young.user_id() + young.self_signature((27, b"\3"), created=NOW - 100)
    keyring = Keyring.load({"a": certificate})
    assert keyring.verify(DATA, young.document(), NOW)
    with pytest.raises(SignatureRefused, match="older than its key"):
        keyring.verify(DATA, young.document(created=NOW - 101), NOW)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [(2, u32(NOW - 60)), (2, u32(NOW - 60))],
        [(2, b"")],
        [(2, u32(NOW - 60) + b"\0")],
        [(2, u32(NOW - 60)), (3, u32(900)), (3, u32(900))],
        [(2, u32(NOW - 60)), (3, b"\1")],
    ],
)
def test_times_stand_once_and_whole_in_the_hashed_area(said: list[tuple[int, bytes]]) -> None:
    with pytest.raises(SignatureRefused):
        KEYRING.verify(DATA, ALICE.document(hashed=[ALICE.named, *said], unhashed=[(2, u32(NOW - 60))]), NOW)


# issuer and subpackets


@pytest.mark.parametrize(
    "hashed",
    [
        [(33, b"\x05" + ALICE.digest)],
        [(33, b"\x04" + ALICE.digest[-8:])],
        [(33, ALICE.digest)],
        [(33, b"\x06" + ALICE.digest + b"\0" * 12)],
        [(16, ALICE.digest)],
        [(16, ALICE.key_id[-4:])],
        [(16, b"\0" * 8)],
        [(16, b"")],
        [ALICE.named, MALLORY.named],
        [MALLORY.named, (16, ALICE.key_id)],
        [ALICE.named, (16, MALLORY.key_id)],
    ],
)
def test_the_hashed_issuer_is_the_key_in_full_or_by_key_id_and_nobody_else(hashed: list[tuple[int, bytes]]) -> None:
    signature = ALICE.document(hashed=[*hashed, (2, u32(NOW - 60))], unhashed=[ALICE.named])
    with pytest.raises(SignatureRefused, match=r"names another key|is not trusted"):
        KEYRING.verify(DATA, signature, NOW)


def test_an_unhashed_issuer_is_a_hint_where_the_hashed_area_names_nobody() -> None:
    anonymous = [(2, u32(NOW - 60))]
    assert accepted(ALICE.document(hashed=anonymous, unhashed=[(16, ALICE.key_id)]))
    assert accepted(ALICE.document(hashed=anonymous, unhashed=[ALICE.named]))
    refused(ALICE.document(hashed=anonymous, unhashed=[(16, MALLORY.key_id)]), "bad signature")
    refused(ALICE.document(hashed=anonymous, unhashed=[ALICE.named, MALLORY.named]), "names another key")
    refused(ALICE.document(hashed=anonymous, unhashed=[]), "names no key")
    assert accepted(ALICE.document(unhashed=[MALLORY.named]))


@pytest.mark.parametrize("kind", [0, 1, 6, 8, 10, 20, 31, 35, 37, 38, 39, 60, 100, 110, 127])
def test_a_critical_subpacket_that_is_not_understood_refuses_and_the_same_uncritical_does_not(kind: int) -> None:
    refused(ALICE.document(DATA, (kind, b"\x80\0\0\0\0\1\0\1xy", True)), f"critical subpacket {kind} ")
    assert accepted(ALICE.document(DATA, (kind, b"\x80\0\0\0\0\1\0\1xy")))


@pytest.mark.parametrize(
    "length", [b"\x00", b"\xc0", b"\xff", b"\xff\0\0\0\0", b"\xff\xff\xff\xff\xff", b"\xf0\xff", b"\x7f"]
)
def test_subpackets_of_impossible_length_are_refused(length: bytes) -> None:
    inside = BODY[6 : 6 + int.from_bytes(BODY[4:6], "big")] + length
    refused(
        packet(2, BODY[:4] + len(inside).to_bytes(2, "big") + inside + BODY[6 + len(inside) - len(length) :]), "length"
    )


# hostile input: none of these may be slow either


HUGE = {
    "rubbish": bytes(range(256)) * 64,
    "zeros": b"\0" * 16_000,
    "compressed packets in one another": b"\xc8\xff\0\xff\xff\xff" * 1_700_000,
    "a zip bomb": b"\xa3\x02" + b"\x78\x9c" + b"\0" * 16_000,
    "tiny packets": b"\xca\x00" * 8_000,
    "armor without end": b"-----BEGIN PGP SIGNATURE-----\n" + b"Comment: x\r\n" * 1_200,
    "blank lines": b"-----BEGIN PGP SIGNATURE-----" + b"\r\n" * 8_000 + b"-----END PGP SIGNATURE-----",
    "tiny subpackets": packet(2, BODY[:4] + (16_000).to_bytes(2, "big") + b"\x01\x64" * 8_000 + BODY[6:]),
    "10 MB of subpackets": packet(2, BODY[:4] + b"\xff\xff" + b"\x01\x64" * 5_000_000),
    "unhashed subpackets": packet(2, BODY[:6] + b"\x3e\x80" + b"\x01\x64" * 8_000 + BODY[-70:]),
    "nothing": b"",
    "one octet": b"\xc2",
    "a cleartext signature": b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n" * 300,
}


@pytest.mark.parametrize("blob", HUGE.values(), ids=HUGE)
def test_hostile_files_are_refused_and_the_keyring_stands(blob: bytes) -> None:
    with pytest.raises(SignatureRefused):
        KEYRING.verify(DATA, blob, NOW)
    damaged = Keyring.load({"alice": ALICE.certificate(), "bad": blob})
    assert [name for name, _ in damaged.refused] == ["bad"]
    assert damaged.verify(DATA, GOOD, NOW)


def test_a_signature_of_another_file_or_key_is_refused() -> None:
    refused(GOOD, "not over these bytes", b"something else")
    refused(GOOD, "not over these bytes", DATA + b"\n")
    refused(Forger("stranger").document(), "is not trusted")


def test_an_empty_keyring_refuses_and_says_why() -> None:
    with pytest.raises(SignatureRefused, match="holds no certificate"):
        Keyring.load({}).verify(DATA, GOOD, NOW)
    with pytest.raises(SignatureRefused, match="holds no certificate; a: empty file"):
        Keyring.load({"a": b""}).verify(DATA, GOOD, NOW)


# mutations


SIGNED_END = 6 + int.from_bytes(BODY[4:6], "big")
UNHASHED_END = SIGNED_END + 2 + int.from_bytes(BODY[SIGNED_END : SIGNED_END + 2], "big")


def signed_meaning(blob: bytes) -> tuple[bytes, bytes]:
    """What is signed, and the numbers: of a mutant that is accepted they must be the original's."""
    body = blob[2:] if blob[1] < 192 else blob[6:]
    end = 6 + int.from_bytes(body[4:6], "big")
    unhashed = int.from_bytes(body[end : end + 2], "big")
    return body[:end], body[end + 2 + unhashed :]


@st.composite
def mutants(draw: st.DrawFn, original: bytes) -> bytes:
    blob = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(blob) - 1)) if blob else 0
        match draw(st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "swap"])):
            case "flip" if blob:
                blob[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del blob[place:]
            case "drop":
                del blob[place : place + draw(st.integers(1, 8))]
            case "insert":
                blob[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                blob[place:place] = blob[place : place + draw(st.integers(1, 64))]
            case "swap":
                blob[:] = blob[place:] + blob[:place]
    return bytes(blob)


@settings(max_examples=1000, deadline=None)
@given(mutants(GOOD))
def test_no_mutant_of_a_binary_signature_is_accepted_with_another_meaning(mutant: bytes) -> None:
    try:
        KEYRING.verify(DATA, mutant, NOW)
    except SignatureRefused:
        return
    assert signed_meaning(mutant) == signed_meaning(GOOD)


@settings(max_examples=1000, deadline=None)
@given(mutants(ARMORED.encode()))
def test_no_mutant_of_an_armored_signature_is_accepted_with_another_meaning(mutant: bytes) -> None:
    try:
        KEYRING.verify(DATA, mutant, NOW)
    except SignatureRefused:
        return
    lines = [line.strip() for line in mutant.strip().split(b"\n")]
    content = b"".join(line for line in lines[lines.index(b"") + 1 : -1] if not line.startswith(b"="))
    assert signed_meaning(base64.b64decode(content)) == signed_meaning(GOOD)


@settings(max_examples=1000, deadline=None)
@given(mutants(DATA))
def test_no_mutant_of_the_document_is_accepted(mutant: bytes) -> None:
    if mutant != DATA:
        refused(GOOD, "not over these bytes", mutant)


@settings(max_examples=1000, deadline=None)
@given(mutants(ALICE.certificate(ALICE.bound(Forger("alice's laptop")))), st.booleans())
def test_no_mutant_of_a_certificate_lets_a_stranger_in(mutant: bytes, by_subkey: bool) -> None:
    signer = Forger("alice's laptop") if by_subkey else ALICE
    keyring = Keyring.load({"a": mutant})
    with contextlib.suppress(SignatureRefused):
        assert keyring.verify(DATA, signer.document(), NOW).certificate == ALICE.fingerprint
    with pytest.raises(SignatureRefused):
        keyring.verify(DATA, MALLORY.document(), NOW)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_only_ever_raise_the_refusal(blob: bytes) -> None:
    for prefix in (b"", b"\xc2", b"\xc6", b"\x88", b"-----BEGIN PGP SIGNATURE-----\n\n"):
        with pytest.raises(SignatureRefused):
            KEYRING.verify(DATA, prefix + blob, NOW)
        assert len(Keyring.load({"a": prefix + blob})) == 0
