"""What one signature costs: ours, PGPy's own verify() and gpgv, on the same certificates in the same run.

`make bench` or `.venv/bin/python bench/pgp.py [SECONDS]`. Ours and PGPy's with the certificate loaded; gpgv starts as a
process for every signature, as a program that calls it would have to. "OpenSSL" is the arithmetic alone; "load" reads and
checks the certificate.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from figures import figure
from investigator.pgp import Keyring, SignatureRefused
from investigator.pgp.certificate_file import read_certificate
from investigator.pgp.framing import CERTIFICATE, SIGNATURE, dearmor, read_numbers
from investigator.pgp.policy import HASHES, RSA
from investigator.pgp.signature import read_document_signature

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent.parent / "tests" / "corpus" / "pgp"
CASES = {
    "Ed25519": "seq-RFC4880-Cv25519",
    "Ed25519, subkey": "gpg-subkey",
    "RSA-2048": "ok-rsa2048",
    "NIST P-256": "seq-RFC4880-P256",
    "NIST P-384": "gpg-nistp384",
}
HOSTILE = {
    "16 KB of subpackets": b"\xc2\xff\0\0\x3e\x98\x04\0\x16\x0a\x3e\x80" + b"\x01\x64" * 8_000 + b"\0" * 18,
    "1 MB of tiny packets": b"\xcd\x00" * 524_288,
    "armor without an end": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n" + b"Comment: x\r\n" * 80_000,
}
LIMIT_MS = 0.3


def milliseconds(call: Callable[[], object], seconds: float) -> float:
    """The best of several rounds, per call: the least disturbed one."""
    call()
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(20):
            call()
        best = min(best, (time.perf_counter() - start) / 20)
    return best * 1000


def pgpy_verify(certificate: bytes, signature: bytes, data: bytes) -> Callable[[], object]:
    import pgpy

    key, _ = pgpy.PGPKey.from_blob(certificate)

    def verify() -> object:
        return bool(key.verify(data, pgpy.PGPSignature.from_blob(signature)))

    return verify


def arithmetic(certificate: bytes, signature: bytes, data: bytes) -> Callable[[], object]:
    """What no policy can save: the curve or the modulus."""
    signers = read_certificate(certificate).signers
    parsed = read_document_signature(signature)
    (key,) = [
        signer.key for signer in signers.values() if parsed.issuers() <= {signer.key.fingerprint, signer.key.key_id}
    ]
    made = data + parsed.head + b"\x04\xff" + len(parsed.head).to_bytes(4, "big")
    digest = hashlib.new(HASHES[parsed.hash_algorithm].name, made).digest()
    numbers = read_numbers(parsed.numbers, 1 if key.algorithm == RSA else 2)
    assert key.numbers.verify(digest, numbers, parsed.hash_algorithm)
    return lambda: key.numbers.verify(digest, numbers, parsed.hash_algorithm)


def gpgv_verify(folder: Path, certificate: bytes, signature: bytes, data: bytes) -> Callable[[], object]:
    files = {"cert.gpg": dearmor(certificate, CERTIFICATE), "sig": dearmor(signature, SIGNATURE), "data": data}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = ["gpgv", "--keyring", *(str(folder / name) for name in files)]
    return lambda: subprocess.run(command, capture_output=True, check=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    warnings.simplefilter("ignore")  # of PGPy's verify(); this is our own process
    now = json.loads((CORPUS / "manifest.json").read_text())["now"]
    gpgv = shutil.which("gpgv") is not None
    if not gpgv:
        print("gpgv is not installed: skipped")
    print(
        f"{'milliseconds':<18}{'ours':>8}{'OpenSSL':>9}{'PGPy':>8}{'gpgv':>8}{'PGPy/ours':>11}{'gpgv/ours':>11}{'load':>8}"
    )
    slow: list[str] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in CASES.items():
            certificate, signature, data = (
                (CORPUS / case / part).read_bytes() for part in ("cert.pgp", "sig", "data.bin")
            )
            keyring = Keyring.load({case: certificate})
            ours = milliseconds(lambda k=keyring, d=data, s=signature: k.verify(d, s, now), seconds)  # type: ignore[misc]
            floor = milliseconds(arithmetic(certificate, signature, data), seconds)
            load = milliseconds(lambda c=certificate: Keyring.load({"": c}), seconds)  # type: ignore[misc]
            theirs = milliseconds(pgpy_verify(certificate, signature, data), seconds)
            process = milliseconds(gpgv_verify(Path(scratch), certificate, signature, data), seconds) if gpgv else None
            shown = f"{process:8.2f}" if process else f"{'-':>8}"
            ratio = f"{process / ours:11.1f}" if process else f"{'-':>11}"
            print(f"{name:<18}{ours:8.3f}{floor:9.3f}{theirs:8.3f}{shown}{theirs / ours:11.1f}{ratio}{load:8.2f}")
            slow += [name] if ours > LIMIT_MS else []
            figures[f"pgp: {name}"] = ours / floor
    for name, ratio_to_floor in figures.items():
        figure(name, ratio_to_floor, against="OpenSSL's arithmetic")
    for name, blob in HOSTILE.items():
        print(f"refused: {name:<24}{milliseconds(lambda b=blob: refuse(b, now), seconds):8.2f} ms")  # type: ignore[misc]
    print(f"limit {LIMIT_MS} ms per signature: {'missed by ' + ', '.join(slow) if slow else 'kept by all'}")


def refuse(blob: bytes, now: int) -> None:
    keyring = Keyring.load({"": blob})
    assert keyring.refused
    try:
        keyring.verify(b"", blob, now)
    except SignatureRefused:
        return
    raise AssertionError("accepted")


if __name__ == "__main__":
    main()
