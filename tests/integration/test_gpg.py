"""gpg and this package read each other: keys of all kinds, signatures both ways, revocation, expiry, export and import."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from own_gpg import DATA, Gpg

from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Keyring, SignatureRefused
from investigator.pgp.certificate_file import revocation_packet
from investigator.pgp.framing import read_packets
from investigator.pgp.secret import REASONS, generate_key
from investigator.pgp.signature import Signature
from investigator.pgp.signer import GpgSigner, KeyFileSigner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


@pytest.fixture
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    # The agent's socket wants a short path; pytest's folders can be too deep for it.
    home = Path(os.path.realpath(tmp_path_factory.mktemp("g", numbered=True))) / "h"
    made = Gpg(home)
    yield made
    made.stop()


def verify(certificate: bytes, signature: bytes, data: bytes = DATA) -> str:
    keyring = Keyring.load({"a": certificate})
    assert not keyring.refused
    return keyring.verify(data, signature, int(time.time())).certificate


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "rsa4096", "nistp256", "nistp384", "nistp521"])
def test_what_gpg_signs_is_verified_and_not_over_anything_else(gpg: Gpg, algorithm: str) -> None:
    fingerprint = gpg.make(algorithm)
    for how in ([], ["--armor"]):
        signature = gpg.sign(fingerprint, *how)
        assert verify(gpg.public(fingerprint, *how), signature) == fingerprint
        with pytest.raises(SignatureRefused):
            verify(gpg.public(fingerprint), signature, DATA + b"\n")


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "nistp256/ecdsa"])
def test_a_signing_subkey_of_gpg_signs_for_its_primary_key(gpg: Gpg, algorithm: str) -> None:
    fingerprint = gpg.make("ed25519", usage="cert")
    gpg("--quick-add-key", fingerprint, algorithm, "sign", "never")
    gpg("--quick-add-key", fingerprint, "cv25519", "encr", "never")
    primary, subkey, _ = gpg.fingerprints(fingerprint)
    keyring = Keyring.load({"a": gpg.public(fingerprint)})
    verified = keyring.verify(DATA, gpg.sign(fingerprint), int(time.time()))
    assert (verified.certificate, verified.key) == (primary, subkey)
    assert keyring.certificates(int(time.time()))[0].signing_keys == (subkey,)


def test_moving_an_expiry_with_gpg_counts_at_once(gpg: Gpg) -> None:
    fingerprint = gpg.make("ed25519", expire="30d")
    signature = gpg.sign(fingerprint)
    long, month = int(time.time()) + 40 * 86_400, 40 * 86_400
    keyring = Keyring.load({"a": gpg.public(fingerprint)})
    with pytest.raises(SignatureRefused, match="is expired"):
        keyring.verify(DATA, signature, long, max_age_s=2 * month)
    gpg("--quick-set-expire", fingerprint, "1y")
    for how in ([], ["--export-options", "export-minimal"]):
        keyring = Keyring.load({"a": gpg.public(fingerprint, *how)})
        assert keyring.verify(DATA, signature, long, max_age_s=2 * month)


def test_the_revocation_that_gpg_prepared_revokes_alone_and_imported(gpg: Gpg) -> None:
    fingerprint = gpg.make("ed25519")
    signature, before = gpg.sign(fingerprint), gpg.public(fingerprint)
    prepared = (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
    revocation = prepared[prepared.index(":-----BEGIN") + 1 :].encode()
    keyring = Keyring.load({"a": before, "a.rev": revocation})
    assert not keyring.refused
    with pytest.raises(SignatureRefused, match="is revoked"):
        keyring.verify(DATA, signature, int(time.time()))
    gpg("--import", data=revocation)
    with pytest.raises(SignatureRefused, match="is revoked"):
        verify(gpg.public(fingerprint), signature)
    assert not Keyring.load({"a": before, "note.asc": prepared.encode()}).certificates(0)[0].revoked


def test_a_user_id_that_gpg_added_or_revoked_changes_nothing_for_the_key(gpg: Gpg) -> None:
    fingerprint = gpg.make("ed25519")
    gpg("--quick-add-uid", fingerprint, "Ada Byron <ada@example.org>")
    gpg("--quick-revoke-uid", fingerprint, "Ada ed25519 <ed25519@example.org>")
    certificate = gpg.public(fingerprint)
    assert verify(certificate, gpg.sign(fingerprint)) == fingerprint
    (listed,) = Keyring.load({"a": certificate}).certificates(int(time.time()))
    assert listed.user_ids == ("Ada Byron <ada@example.org>",)


def test_another_persons_certification_does_no_harm(gpg: Gpg) -> None:
    ada, bob = gpg.make("ed25519"), gpg.make("nistp256")
    gpg("--local-user", bob, "--quick-sign-key", ada)
    assert verify(gpg.public(ada), gpg.sign(ada)) == ada


@pytest.mark.parametrize("how", [["--textmode"], ["--digest-algo", "SHA1"], ["--sig-notation", "!a@b.c=d"]])
def test_what_the_policy_refuses_is_refused_from_gpg_too(gpg: Gpg, how: list[str]) -> None:
    fingerprint = gpg.make("ed25519")
    signature = gpg("--local-user", fingerprint, *how, "--detach-sign", data=DATA)
    with pytest.raises(SignatureRefused):
        verify(gpg.public(fingerprint), signature)


# the other way round


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_gpg_takes_a_generated_key_and_verifies_what_it_signs(gpg: Gpg, tmp_path: Path, passphrase: str | None) -> None:
    key = generate_key("Ada Lovelace", "ada@example.org", passphrase, lifetime_s=86_400)
    signer = KeyFileSigner(key.secret.encode(), lambda: passphrase or "")
    (tmp_path / "action.json").write_bytes(DATA)
    (tmp_path / "action.json.asc").write_text(signer.sign(DATA))
    gpg("--import", data=key.public.encode())
    gpg("--verify", str(tmp_path / "action.json.asc"), str(tmp_path / "action.json"))
    (tmp_path / "action.json").write_bytes(DATA + b" ")
    gpg("--verify", str(tmp_path / "action.json.asc"), str(tmp_path / "action.json"), code=1)
    gpg("--import", data=key.secret.encode(), passphrase=passphrase or "")
    signature = gpg("--local-user", key.fingerprint, "--detach-sign", data=DATA, passphrase=passphrase or "")
    assert verify(key.public.encode(), signature) == key.fingerprint


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "nistp256/ecdsa"])
def test_a_key_that_gpg_exports_signs_by_its_file(gpg: Gpg, algorithm: str, passphrase: str) -> None:
    fingerprint = gpg.make(algorithm.removesuffix("/ecdsa"), passphrase=passphrase)  # of a subkey gpg wants to know
    gpg("--quick-add-key", fingerprint, algorithm, "sign", "never", passphrase=passphrase)
    gpg("--quick-add-key", fingerprint, "cv25519", "encr", "never", passphrase=passphrase)
    subkey = gpg.fingerprints(fingerprint)[1]
    for how in ([], ["--armor"]):
        secret = gpg("--export-secret-keys", *how, fingerprint, passphrase=passphrase)
        signature = KeyFileSigner(secret, lambda: passphrase).sign(DATA).encode()
        verified = Keyring.load({"a": gpg.public(fingerprint)}).verify(DATA, signature, int(time.time()))
        assert (verified.certificate, verified.key) == (fingerprint, subkey)
    laptop = gpg("--export-secret-subkeys", fingerprint, passphrase=passphrase)  # the primary key's secret left at home
    assert verify(gpg.public(fingerprint), KeyFileSigner(laptop, lambda: passphrase).sign(DATA).encode()) == fingerprint


def test_gpg_signs_by_full_fingerprint_through_its_agent(gpg: Gpg) -> None:
    fingerprint = gpg.make("ed25519", usage="cert")
    gpg("--quick-add-key", fingerprint, "ed25519", "sign", "never")
    subkey = gpg.fingerprints(fingerprint)[1]
    for user in (fingerprint, subkey + "!", "0x" + fingerprint.lower()):
        signer = GpgSigner(user, homedir=gpg.home)
        assert signer.fingerprint == fingerprint
        assert verify(gpg.public(fingerprint), signer.sign(DATA).encode()) == fingerprint


def test_settings_of_the_user_that_spoil_a_signature_are_overruled_or_said(gpg: Gpg) -> None:
    fingerprint, other = gpg.make("ed25519"), gpg.make("nistp256")
    settings = gpg.home / "gpg.conf"
    settings.write_text("textmode\ndigest-algo SHA1\ncomment hello\nemit-version\n")
    assert verify(gpg.public(fingerprint), GpgSigner(fingerprint, homedir=gpg.home).sign(DATA).encode()) == fingerprint
    settings.write_text(f"local-user {other}\n")
    with pytest.raises(DeploymentError, match="2 packets"):
        GpgSigner(fingerprint, homedir=gpg.home).sign(DATA)


def test_what_keeps_gpg_from_signing_is_said_in_one_line(gpg: Gpg) -> None:
    unknown = GpgSigner("0" * 40, homedir=gpg.home)
    with pytest.raises(DeploymentError, match="no secret key"):
        unknown.sign(DATA)
    with pytest.raises(DeploymentError, match="no secret key"):
        assert unknown.fingerprint
    locked = gpg.make("ed25519", passphrase="correct horse")
    gpg.stop()  # the agent forgets the passphrase
    (gpg.home / "gpg-agent.conf").write_text("pinentry-program /bin/false\ns2k-count 65536\n")
    with pytest.raises(DeploymentError, match="gpg did not sign with") as caught:
        GpgSigner(locked, homedir=gpg.home).sign(DATA)
    assert "\n" not in str(caught.value)


# giving a key up


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_gpg_takes_a_revocation_that_this_package_made(gpg: Gpg, passphrase: str | None) -> None:
    key = generate_key("Ada Lovelace", "ada@example.org", passphrase)
    gpg("--import", data=key.public.encode())
    revocation = KeyFileSigner(key.secret.encode(), lambda: passphrase or "").revoke("compromised", "lost, in a train")
    gpg("--import", data=revocation.encode())
    listing = gpg("--with-colons", "--list-keys", key.fingerprint).decode()
    assert [line.split(":")[1] for line in listing.splitlines() if line.startswith("pub:")] == ["r"]
    assert Keyring.load({"a": gpg.public(key.fingerprint)}).certificates(int(time.time()))[0].revoked


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "nistp256"])
def test_a_key_that_gpg_exported_revokes_itself_by_its_file(gpg: Gpg, algorithm: str) -> None:
    fingerprint = gpg.make(algorithm)
    revocation = KeyFileSigner(gpg("--export-secret-keys", fingerprint)).revoke("superseded").encode()
    assert Keyring.load({"a": gpg.public(fingerprint)}).revoked_by(revocation) == fingerprint
    gpg("--import", data=revocation)
    listing = gpg("--with-colons", "--list-keys", fingerprint).decode()
    assert "pub:r:" in listing


def test_without_the_primary_keys_secret_a_file_revokes_nothing_and_says_so(gpg: Gpg) -> None:
    fingerprint = gpg.make("ed25519")
    gpg("--quick-add-key", fingerprint, "ed25519", "sign", "never")
    laptop = gpg("--export-secret-subkeys", fingerprint)
    with pytest.raises(DeploymentError, match="secret of primary key"):
        KeyFileSigner(laptop).revoke()


@pytest.mark.parametrize(("reason", "text"), [("none", ""), ("compromised", "stolen laptop"), ("retired", "")])
def test_gpg_makes_a_revocation_of_its_own_key(gpg: Gpg, reason: str, text: str) -> None:
    fingerprint = gpg.make("ed25519")
    revocation = GpgSigner(fingerprint, homedir=gpg.home).revoke(reason, text).encode()
    assert Keyring.load({"a": gpg.public(fingerprint)}).revoked_by(revocation) == fingerprint
    ((_, body),) = read_packets(revocation_packet(revocation))
    said = Signature.parse(body).one(29)
    assert said == bytes([REASONS[reason]]) + text.encode()
    assert "pub:r:" not in gpg("--with-colons", "--list-keys", fingerprint).decode()  # making it is not using it


def test_a_text_with_a_line_feed_does_not_answer_gpgs_next_question(gpg: Gpg) -> None:
    with pytest.raises(BadInput, match="printable"):
        GpgSigner(gpg.make("ed25519"), homedir=gpg.home).revoke("none", "x\n\ny")
