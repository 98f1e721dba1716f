"""Several certificates together, and the files that they stand in: points 7 and 10 to 13 of the policy."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from forge import ALICE, DATA, DAY, LAPTOP, MALLORY, NOW, Forger, packet, u32

from investigator.errors import DeploymentError
from investigator.pgp import Keyring, SignatureRefused
from investigator.pgp.folder import KeyringFolder
from investigator.pgp.framing import armored

if TYPE_CHECKING:
    from pathlib import Path

BOB = Forger("bob")


def trusts(keyring: Keyring, signer: Forger) -> bool:
    try:
        return keyring.verify(DATA, signer.document(), NOW).key == signer.fingerprint
    except SignatureRefused:
        return False


def block(raw: bytes) -> bytes:
    return armored("PUBLIC KEY BLOCK", raw).encode()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (packet(5, ALICE.body + b"\0" * 40), "secret key"),
        (MALLORY.certificate(packet(7, LAPTOP.body + b"\0" * 40)), "secret key"),
        (MALLORY.certificate() + ALICE.certificate(), "2 certificates"),
        (block(MALLORY.certificate()) + block(ALICE.certificate()), "more than one block"),
        (block(MALLORY.certificate())[:-60], "not one armored"),
        (MALLORY.certificate()[5:], "not one armored"),
        (MALLORY.user_id() + MALLORY.certificate(), "does not start with a public key"),
        (MALLORY.document(), "0 certificates"),
        (b"\xc6", "truncated"),
        (b"", "empty"),
        (b"\0" * ((1 << 20) + 1), "1,048,577 bytes"),
        (b"\xcd\x00" * 5000, "4096 packets"),
        (MALLORY.certificate(MALLORY.user_id(b"x" * 2049)), "user id of more than 2048"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason_and_the_rest_stands(bad: bytes, why: str) -> None:
    keyring = Keyring.load({"alice": ALICE.certificate(), "bad": bad, "bob": BOB.certificate()})
    ((name, reason),) = keyring.refused
    assert name == "bad"
    assert len(keyring) == 2
    assert trusts(keyring, ALICE)
    assert trusts(keyring, BOB)
    assert not trusts(keyring, MALLORY)
    assert re.search(why, reason), reason


def test_certificates_that_cost_a_lot_to_read_are_cut_short() -> None:
    photo = packet(17, b"\1" * 400_000)
    subject = ALICE.hashed + b"\xd1" + u32(400_000) + b"\1" * 400_000
    revoked = ALICE.revocation(0x30, subject, left16=b"\0\0")
    assert Keyring.load({"a": ALICE.certificate(photo, revoked * 3_000)}).refused
    assert trusts(Keyring.load({"a": ALICE.certificate(ALICE.bound(LAPTOP) * 4, BOB.self_signature() * 2_000)}), LAPTOP)
    flood = Keyring.load({"a": ALICE.certificate(ALICE.self_signature((27, b"\3")) * 2_000)})
    assert "more than 512 self-signatures" in flood.refused[0][1]
    strays = ALICE.certificate(
        ALICE.bound(LAPTOP), ALICE.revocation(0x30) * 1_000, *[ALICE.user_id(b"%d" % n) for n in range(2_000)]
    )
    assert "self-signature" in Keyring.load({"a": strays}).refused[0][1]


def test_two_copies_of_a_certificate_are_one_and_the_second_is_reported() -> None:
    keyring = Keyring.load({"a": ALICE.certificate(), "b": ALICE.certificate(ALICE.bound(LAPTOP))})
    assert keyring.refused == (("b", f"certificate {ALICE.fingerprint} is also in a"),)
    assert trusts(keyring, ALICE)
    assert len(keyring) == 1
    assert ALICE.fingerprint in keyring
    assert ALICE.fingerprint[-16:] not in keyring


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_two_copies_of_a_certificate_the_revoked_one_decides(names: str) -> None:
    for revoked in (
        ALICE.certificate(ALICE.revocation()),
        packet(6, ALICE.body) + ALICE.revocation(),  # as key servers hand it out: no user ids
        ALICE.certificate(packet(2, b"\x05\x20")),
    ):
        keyring = Keyring.load({names[0]: ALICE.certificate(ALICE.bound(LAPTOP)), names[1]: revoked})
        assert not trusts(keyring, ALICE)
        assert not trusts(keyring, LAPTOP)
        with pytest.raises(SignatureRefused, match="is revoked"):
            keyring.verify(DATA, ALICE.document(), NOW)


@pytest.mark.parametrize(
    "file",
    [
        ALICE.revocation(),
        block(ALICE.revocation()),
        armored("SIGNATURE", ALICE.revocation()).encode(),
        BOB.certificate(ALICE.revocation()),
        block(BOB.certificate()) + block(ALICE.revocation()),
        ALICE.revocation(hashed=[], unhashed=[]),
        ALICE.revocation(hashing=2),
        ALICE.revocation(left16=b"\0\0"),
    ],
    ids=["binary", "armored", "signature", "amid others", "concatenated", "nameless", "sha-1", "broken"],
)
def test_a_revocation_in_any_file_counts(file: bytes) -> None:
    keyring = Keyring.load({"alice": ALICE.certificate(), "z": file, "mallory": MALLORY.certificate()})
    assert not trusts(keyring, ALICE)
    assert trusts(keyring, MALLORY)


def test_a_revocation_amid_somebody_elses_certificate_must_be_valid() -> None:
    def alice_after(bobs: bytes) -> bool:
        return trusts(Keyring.load({"alice": ALICE.certificate(), "bob": BOB.certificate(bobs)}), ALICE)

    assert not alice_after(ALICE.revocation())
    assert alice_after(BOB.revocation(hashed=[ALICE.named, (2, u32(NOW))]))
    assert alice_after(ALICE.revocation(left16=b"\0\0"))


def test_a_revocation_before_the_place_where_a_file_breaks_off_counts() -> None:
    before = Keyring.load({"alice": ALICE.certificate()})
    for broken in (ALICE.certificate(ALICE.revocation(), packet(2, b"\4\x13")[:-1]), ALICE.revocation() + b"\0"):
        after = Keyring.load({"alice": broken}, previous=before)
        assert after.refused
        assert not trusts(after, ALICE)


def test_a_file_with_a_revocation_alone_is_nothing_to_complain_about() -> None:
    keyring = Keyring.load({"alice": ALICE.certificate(), "z.rev": ALICE.revocation()})
    assert keyring.refused == ()
    assert keyring.certificates(NOW)[0].revoked == "by a revocation in z.rev"


def test_a_designated_revoker_that_revokes_itself_revokes_nobody_else() -> None:
    alice = ALICE.certificate(ALICE.direct((12, b"\x80\x16" + BOB.digest)))
    assert trusts(Keyring.load({"alice": alice, "bob": BOB.certificate(BOB.revocation())}), ALICE)
    assert not trusts(Keyring.load({"alice": alice, "bob": BOB.revocation(subject=ALICE.hashed)}), ALICE)


def test_what_a_broken_file_held_before_stays_in_force() -> None:
    before = Keyring.load({"alice": ALICE.certificate(), "bob": BOB.certificate()})
    after = Keyring.load({"alice": b"half a fi", "bob": BOB.certificate()}, previous=before)
    assert [name for name, _ in after.refused] == ["alice"]
    assert trusts(after, ALICE)
    assert trusts(Keyring.load({"alice": b""}, previous=after), ALICE)
    assert not trusts(Keyring.load({"bob": BOB.certificate()}, previous=after), ALICE)
    for new in ("a new name before", "z new name behind"):
        moved = Keyring.load({"alice": b"", new: ALICE.certificate(ALICE.bound(LAPTOP))}, previous=before)
        assert len(moved) == 1
        assert trusts(moved, LAPTOP)


def test_a_revocation_in_a_broken_file_counts_all_the_same() -> None:
    before = Keyring.load({"alice": ALICE.certificate()})
    broken = block(ALICE.certificate()) + block(ALICE.revocation())
    after = Keyring.load({"alice": broken}, previous=before)
    assert after.refused
    assert not trusts(after, ALICE)


# (13) the folder


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o644)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    write(tmp_path / "alice.asc", block(ALICE.certificate()))
    write(tmp_path / "README", b"not a key")
    write(tmp_path / ".alice.asc.swp", b"not a key")
    return tmp_path


def test_a_folder_is_read_again_only_when_a_file_changed(folder: Path) -> None:
    keys = KeyringFolder(folder)
    first = keys.read()
    assert trusts(first, ALICE)
    assert not first.refused
    assert keys.read() is first
    write(folder / "bob.gpg", BOB.certificate())
    assert trusts(keys.read(), BOB)
    write(folder / "alice.rev", ALICE.revocation())
    assert not trusts(keys.read(), ALICE)
    (folder / "alice.rev").unlink()
    (folder / "bob.gpg").unlink()
    third = keys.read()
    assert trusts(third, ALICE)
    assert not trusts(third, BOB)


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(folder: Path) -> None:
    keys = KeyringFolder(folder)
    assert not trusts(keys.read(), BOB)
    old = (folder / "alice.asc").stat()
    replacement = block(BOB.certificate())
    assert len(replacement) == old.st_size
    write(folder / "new", replacement)
    os.utime(folder / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    (folder / "new").replace(folder / "alice.asc")
    assert trusts(keys.read(), BOB)


def test_a_file_that_breaks_is_reported_and_its_certificate_stays(folder: Path) -> None:
    keys = KeyringFolder(folder)
    keys.read()
    write(folder / "alice.asc", b"-----BEGIN PGP PUB")
    after = keys.read()
    assert [name for name, _ in after.refused] == ["alice.asc"]
    assert trusts(after, ALICE)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_files_and_folders_that_others_may_write_are_refused(folder: Path) -> None:
    write(folder / "bob.asc", BOB.certificate())
    (folder / "bob.asc").chmod(0o666)
    keyring = KeyringFolder(folder).read()
    assert keyring.refused == (("bob.asc", "the file can be written by others (mode 0666)"),)
    assert trusts(keyring, ALICE)
    assert not trusts(keyring, BOB)
    folder.chmod(0o777)
    with pytest.raises(DeploymentError, match="can be written by others"):
        KeyringFolder(folder).read()


def test_what_is_no_readable_file_is_named(folder: Path) -> None:
    (folder / "dir.asc").mkdir()
    (folder / "link.asc").symlink_to(folder / "nowhere")
    with pytest.raises(DeploymentError, match="missing: No such file"):
        KeyringFolder(folder / "missing").read()
    keyring = KeyringFolder(folder).read()
    assert {name for name, _ in keyring.refused} == {"dir.asc", "link.asc"}
    assert trusts(keyring, ALICE)


def test_time_goes_on_though_no_file_changes(folder: Path) -> None:
    ending = packet(6, BOB.body) + BOB.user_id() + BOB.self_signature((27, b"\3"), (9, u32(101 * DAY)))
    write(folder / "bob.asc", ending)
    keys = KeyringFolder(folder)
    assert trusts(keys.read(), BOB)
    with pytest.raises(SignatureRefused, match="is expired"):
        keys.read().verify(DATA, BOB.document(created=NOW + DAY), NOW + DAY)
