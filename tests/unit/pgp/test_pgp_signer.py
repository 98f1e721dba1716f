"""Making keys and signing with files; gpg itself is asked in tests/integration/test_gpg.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from forge import ALICE, DATA, DAY, NOW, packet

from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Keyring, SignatureRefused
from investigator.pgp.framing import SIGNATURE, armored, dearmor, read_packets
from investigator.pgp.secret import Generated, generate_key, read_secret_file
from investigator.pgp.signature import Signature
from investigator.pgp.signer import GpgSigner, KeyFileSigner

OPEN = generate_key("Ada Lovelace", "ada@example.org", None, now=NOW)
LOCKED = generate_key("Ada Lovelace", "ada@example.org", "correct horse", now=NOW, lifetime_s=30 * DAY)  # 0.3 s


def signer(secret: str, passphrase: str | None = None, now: int = NOW + 5) -> KeyFileSigner:
    ask = None if passphrase is None else lambda: passphrase
    return KeyFileSigner(secret.encode(), ask, clock=lambda: now)


@pytest.mark.parametrize(("key", "passphrase"), [(OPEN, None), (LOCKED, "correct horse")])
def test_a_generated_key_signs_and_its_public_half_verifies(key: Generated, passphrase: str | None) -> None:
    secret, public, fingerprint = key
    signing = signer(secret, passphrase)
    signature = signing.sign(DATA)
    verified = Keyring.load({"ada": public.encode()}).verify(DATA, signature.encode(), NOW + 6)
    assert (verified.certificate, verified.key, verified.created) == (fingerprint, fingerprint, NOW + 5)
    assert signing.fingerprint == fingerprint


def test_a_signature_is_one_packet_of_type_0_with_sha512_that_names_its_key() -> None:
    ((tag, body),) = read_packets(dearmor(signer(OPEN.secret).sign(DATA).encode(), SIGNATURE))
    made = Signature.parse(body)
    assert (tag, made.type, made.hash_algorithm) == (2, 0, 10)
    assert made.issuers() == {OPEN.fingerprint}


def test_a_generated_key_says_who_it_is_and_when_it_ends() -> None:
    (listed,) = Keyring.load({"ada": LOCKED.public.encode()}).certificates(NOW)
    assert listed.user_ids == ("Ada Lovelace <ada@example.org>",)
    assert (listed.kind, listed.created, listed.expires) == ("Ed25519", NOW, NOW + 30 * DAY)
    assert listed.signing_keys == (LOCKED.fingerprint,)


def test_a_passphrase_is_asked_for_once_and_a_wrong_one_is_said() -> None:
    asked = []

    def ask() -> str:
        asked.append(1)
        return "correct horse"

    signing = KeyFileSigner(LOCKED.secret.encode(), ask, clock=lambda: NOW)
    assert signing.sign(DATA)
    assert signing.sign(DATA + b"2")
    assert len(asked) == 1
    with pytest.raises(BadInput, match="wrong passphrase"):
        signer(LOCKED.secret, "wrong").sign(DATA)
    with pytest.raises(DeploymentError, match="none was given"):
        signer(LOCKED.secret).sign(DATA)


def test_a_protected_secret_is_not_in_the_file() -> None:
    locked = dearmor(LOCKED.secret.encode(), SIGNATURE._replace(label="PRIVATE KEY BLOCK"))
    assert not any(key.numbers.locked for key in read_secret_file(OPEN.secret.encode()).keys.values())
    assert bytes([254, 9, 3, 8]) in locked[:80]  # checked by SHA-1, AES-256, iterated and salted, SHA-256


def test_an_expired_key_is_not_used() -> None:
    with pytest.raises(DeploymentError, match="may sign now"):
        signer(LOCKED.secret, "correct horse", now=NOW + 31 * DAY).sign(DATA)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"rubbish",
        OPEN.public.encode(),
        packet(5, ALICE.body),
        ALICE.certificate(),
        b"\xc5\x00",
        b"\xc5\x06\x04....\x16",
    ],
)
def test_what_is_no_secret_key_file_is_said_to_be_none(blob: bytes) -> None:
    with pytest.raises(DeploymentError, match="secret key file: "):
        KeyFileSigner(blob).sign(DATA)


def test_a_secret_key_file_is_refused_as_a_certificate() -> None:
    refused = Keyring.load({"ada": OPEN.secret.encode()}).refused
    assert "not one armored PGP PUBLIC KEY BLOCK" in refused[0][1]
    binary = dearmor(OPEN.secret.encode(), SIGNATURE._replace(label="PRIVATE KEY BLOCK"))
    assert "secret key" in Keyring.load({"ada": binary}).refused[0][1]
    relabelled = armored("PUBLIC KEY BLOCK", binary).encode()
    assert "secret key" in Keyring.load({"ada": relabelled}).refused[0][1]


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("", "a@b"),
        ("  ", "a@b"),
        ("A <x>", "a@b"),
        ("A\nB", "a@b"),
        ("A", "ab"),
        ("A", "a@b c"),
        ("A", "a@b>"),
        ("A" * 3000, "a@b"),
    ],
)
def test_names_and_addresses_that_are_none_make_no_key(name: str, email: str) -> None:
    with pytest.raises(BadInput):
        generate_key(name, email, None)


def test_an_empty_passphrase_is_not_taken_for_none() -> None:
    with pytest.raises(BadInput, match="empty passphrase"):
        generate_key("Ada", "ada@example.org", "")


def test_every_generated_key_is_good_leading_zeros_included() -> None:
    for number in range(300):
        key = generate_key("Ada", "ada@example.org", None, now=NOW)
        signature = signer(key.secret).sign(b"%d" % number)
        assert Keyring.load({"ada": key.public.encode()}).verify(b"%d" % number, signature.encode(), NOW + 9)


@pytest.mark.parametrize("fingerprint", ["ada@example.org", "Ada", "E11474D6490E93EB", "0" * 42, "0" * 40 + "!!", ""])
def test_gpg_is_only_ever_asked_for_a_full_fingerprint(fingerprint: str) -> None:
    with pytest.raises(BadInput, match="full fingerprint"):
        GpgSigner(fingerprint)


def test_a_missing_gpg_is_said() -> None:
    with pytest.raises(DeploymentError, match="no-such-gpg is not installed"):
        GpgSigner(OPEN.fingerprint, program="no-such-gpg").sign(DATA)


def test_signatures_by_others_are_not_a_matter_of_the_signers_module() -> None:
    with pytest.raises(SignatureRefused):
        Keyring.load({"ada": OPEN.public.encode()}).verify(
            DATA, signer(LOCKED.secret, "correct horse").sign(DATA).encode(), NOW
        )


def test_importing_the_package_brings_no_pgpy_until_a_key_is_read_and_leaves_the_warning_filters_alone() -> None:
    program = (
        "import sys, warnings; before = list(warnings.filters); import investigator.pgp, investigator.pgp.signer;"
        "assert not {'pgpy', 'cryptography'} & set(sys.modules), 'loaded';"
        "import investigator.pgp.secret_numbers; assert 'pgpy' in sys.modules;"
        "assert warnings.filters == before"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
