"""Revocations that came over the wire: kept for good, private, and applied to whatever keyring is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from investigator.agent import revocations as keeping
from investigator.agent.revocations import Revocations
from investigator.errors import DeploymentError, Refused
from signed import ALICE, BOB, NOW_S, FakeKeyring, revoking, sign


def trusts(keyring: object, signer: str) -> bool:
    assert isinstance(keyring, FakeKeyring)
    try:
        keyring.verify(b"x", sign(b"x", signer).encode(), int(NOW_S))
    except Refused:
        return False
    return True


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_key_that_was_given_up_counts_no_more_in_any_keyring(tmp_path: Path, on_disk: bool) -> None:
    kept = Revocations(tmp_path / "revocations" if on_disk else None)
    before = FakeKeyring()
    assert kept.applied(before) is before
    kept.keep(ALICE, revoking(ALICE))
    assert ALICE in kept
    for keyring in (before, FakeKeyring()):
        assert not trusts(kept.applied(keyring), ALICE)
        assert trusts(kept.applied(keyring), BOB)


def test_it_is_known_after_a_restart_and_nobody_else_reads_or_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "revocations"
    Revocations(folder).keep(ALICE, revoking(ALICE))
    path = folder / f"{ALICE}.rev"
    assert path.read_bytes() == revoking(ALICE)
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    again = Revocations(folder)
    assert again.fingerprints == [ALICE]
    assert not trusts(again.applied(FakeKeyring()), ALICE)


def test_the_work_is_done_once_for_a_keyring(tmp_path: Path) -> None:
    kept, keyring = Revocations(None), FakeKeyring()
    kept.keep(ALICE, revoking(ALICE))
    once = kept.applied(keyring)
    assert kept.applied(keyring) is once
    kept.keep(BOB, revoking(BOB))
    assert not trusts(kept.applied(keyring), BOB)


def test_one_that_does_not_come_to_the_disk_counts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    kept = Revocations(None)
    kept._folder = tmp_path / "file" / "revocations"
    with pytest.raises(DeploymentError, match="revocations"):
        kept.keep(ALICE, revoking(ALICE))
    assert not trusts(kept.applied(FakeKeyring()), ALICE)


def test_a_folder_that_others_can_write_stops_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "revocations"
    Revocations(folder).keep(ALICE, revoking(ALICE))
    (folder / f"{ALICE}.rev").chmod(0o666)
    with pytest.raises(DeploymentError, match="others"):
        Revocations(folder)
    (folder / f"{ALICE}.rev").chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(DeploymentError, match="others"):
        Revocations(folder)


def test_other_files_are_not_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "revocations"
    folder.mkdir(mode=0o700)
    for name in (f"{ALICE}.rev.new", "notes.rev", f"{ALICE.lower()}.rev"):
        (folder / name).write_bytes(b"half")
    assert Revocations(folder).fingerprints == []


def test_no_more_are_kept_than_a_keyring_has_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_KEPT", 1)
    kept = Revocations(None)
    kept.keep(ALICE, revoking(ALICE))
    kept.keep(BOB, revoking(BOB))
    assert kept.fingerprints == [ALICE]


def test_one_that_fits_no_key_counts_when_an_old_keyring_brings_the_key_back() -> None:
    kept, without = Revocations(None), FakeKeyring((BOB,))
    with pytest.raises(Refused):
        kept.whose(revoking(ALICE), without)
    assert kept.applied(without) is without
    assert kept.fingerprints == []
    assert not trusts(kept.applied(FakeKeyring()), ALICE)
    assert kept.fingerprints == [ALICE]


def test_no_flood_of_strangers_keys_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_ASIDE", 2)
    kept = Revocations(None)
    for number in range(9):
        with pytest.raises(Refused):
            kept.whose(revoking(f"nobody{number}"), FakeKeyring())
    assert len(kept._aside) == 2
