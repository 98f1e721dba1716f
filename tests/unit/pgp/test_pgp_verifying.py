"""The arithmetic of a check says what PGPy's own says, of every kind of key, whole and spoilt."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.pgp.certificate_file import read_certificate
from investigator.pgp.framing import read_numbers
from investigator.pgp.key import Key
from investigator.pgp.policy import ECDSA, EDDSA, HASHES, RSA, SignatureRefused
from investigator.pgp.signature import Signature, read_document_signature
from investigator.pgp.verifying import VerifyingKey

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cryptography.hazmat.primitives import hashes
    from pgpy.packet import fields

CORPUS = Path(__file__).parents[2] / "corpus" / "pgp"
KINDS = {
    "Ed25519": "seq-RFC4880-Cv25519",
    "Ed25519, subkey": "gpg-subkey",
    "RSA-2048": "ok-rsa2048",
    "NIST P-256": "seq-RFC4880-P256",
    "NIST P-384": "gpg-nistp384",
}
PGPY_KEYS: dict[int, Any] = {RSA: fields.RSAPub, ECDSA: fields.ECDSAPub, EDDSA: fields.EdDSAPub}
PGPY_SIGNATURES: dict[int, Any] = {
    RSA: fields.RSASignature,
    ECDSA: fields.ECDSASignature,
    EDDSA: fields.EdDSASignature,
}
PGPY_HASHES = {
    8: hashes.SHA256(),
    9: hashes.SHA384(),
    10: hashes.SHA512(),
    12: hashes.SHA3_256(),
    14: hashes.SHA3_512(),
}


@functools.cache
def case(name: str) -> tuple[Key, Signature, bytes]:
    """Key, signature, and the bytes that are signed."""
    folder = CORPUS / KINDS[name]
    signature = read_document_signature((folder / "sig").read_bytes())
    signers = read_certificate((folder / "cert.pgp").read_bytes()).signers.values()
    (key,) = [one.key for one in signers if signature.issuers() <= {one.key.fingerprint, one.key.key_id}]
    head = signature.head + b"\x04\xff" + len(signature.head).to_bytes(4, "big")
    return key, signature, (folder / "data.bin").read_bytes() + head


def ours(key: Key, message: bytes, numbers: bytes, hash_algorithm: int) -> bool:
    digest = hashlib.new(HASHES[hash_algorithm].name, message).digest()
    return key.numbers.verify(digest, read_numbers(numbers, 1 if key.algorithm == RSA else 2), hash_algorithm)


@functools.cache
def pgpys_key(key: Key) -> Any:
    public = PGPY_KEYS[key.algorithm]()
    public.parse(bytearray(key.hashed[9:]))  # behind the length, the version, the time and the algorithm
    return public


def pgpys(key: Key, message: bytes, numbers: bytes, hash_algorithm: int) -> bool:
    public = pgpys_key(key)
    signature = PGPY_SIGNATURES[key.algorithm]()
    signature.parse(bytearray(numbers))
    try:
        return public.verify(message, bytes(signature.__sig__()), PGPY_HASHES[hash_algorithm]) is True
    except Exception:  # noqa: BLE001 - it raises all sorts for numbers that are too large
        return False


def mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_signature_is_good_to_both(kind: str) -> None:
    key, signature, message = case(kind)
    assert key.kind == kind.partition(",")[0]
    for check in (ours, pgpys):
        assert check(key, message, signature.numbers, signature.hash_algorithm)
        assert not check(key, message + b" ", signature.numbers, signature.hash_algorithm)


@given(
    kind=st.sampled_from(list(KINDS)),
    place=st.integers(0, 1),
    change=st.one_of(
        st.builds(lambda bit: lambda n: n ^ 1 << bit, st.integers(0, 2100)),
        st.sampled_from([0, 1, 2**255 - 19, 2**256 - 1, 2**521]).map(lambda new: lambda _: new),
    ),
    hash_algorithm=st.sampled_from(list(HASHES)),
)
@settings(max_examples=400)
def test_of_a_spoilt_one_they_say_the_same(kind: str, place: int, change: Any, hash_algorithm: int) -> None:
    key, signature, message = case(kind)
    numbers = read_numbers(signature.numbers, 1 if key.algorithm == RSA else 2)
    numbers[place % len(numbers)] = change(numbers[place % len(numbers)])
    spoilt = b"".join(map(mpi, numbers))
    assert ours(key, message, spoilt, hash_algorithm) is pgpys(key, message, spoilt, hash_algorithm)


@pytest.mark.parametrize("hash_algorithm", HASHES)
def test_every_hash_of_the_policy_is_known_to_the_arithmetic_of_each_kind(hash_algorithm: int) -> None:
    """A digest of the wrong kind is a bad signature, never an error."""
    for kind in KINDS:
        key, signature, message = case(kind)
        good = ours(key, message, signature.numbers, hash_algorithm)
        assert good is (hash_algorithm == signature.hash_algorithm)


def test_an_rsa_signature_with_leading_zeros_counts() -> None:
    """One in 256 is shorter than its modulus as a number; OpenSSL wants it as long."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    made = rsa.generate_private_key(65537, 2048)
    public = made.public_key().public_numbers()
    key = VerifyingKey(RSA, mpi(public.n) + mpi(public.e))
    for attempt in range(5000):
        message = b"%d" % attempt
        number = int.from_bytes(made.sign(message, PKCS1v15(), hashes.SHA256()), "big")
        if number.bit_length() <= 2040:
            break
    assert number.bit_length() <= 2040
    assert key.verify(hashlib.sha256(message).digest(), [number], 8)
    assert not key.verify(hashlib.sha256(message).digest(), [number + public.n], 8)
    assert not key.verify(hashlib.sha256(message).digest(), [1 << 4000], 8)


@pytest.mark.parametrize(
    ("algorithm", "curve", "point"),
    [
        (ECDSA, "2A8648CE3D030107", b"\x04" + b"\x01" * 64),
        (ECDSA, "2B81040022", b"\x04" + b"\xff" * 96),
        (ECDSA, "2B81040023", b"\x04" + b"\x00" * 131 + b"\x01"),
    ],
    ids=["P-256", "P-384", "P-521"],
)
def test_a_point_off_its_curve_is_no_key(algorithm: int, curve: str, point: bytes) -> None:
    oid = bytes.fromhex(curve)
    with pytest.raises(SignatureRefused, match="malformed key material"):
        VerifyingKey(algorithm, bytes([len(oid)]) + oid + mpi(int.from_bytes(point, "big")))


def test_checking_signatures_loads_no_pgpy() -> None:
    program = f"""
import json, sys
from pathlib import Path
from investigator.pgp import Keyring
folder = Path({str(CORPUS / "gpg-subkey")!r})
now = json.loads((folder.parent / "manifest.json").read_text())["now"]
keyring = Keyring.load({{"cert.pgp": (folder / "cert.pgp").read_bytes()}})
keyring.verify((folder / "data.bin").read_bytes(), (folder / "sig").read_bytes(), now)
assert not {{"pgpy", "pyasn1"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_corpus_has_each_kind() -> None:
    names = {one["name"] for one in json.loads((CORPUS / "manifest.json").read_text())["cases"]}
    assert set(KINDS.values()) <= names
