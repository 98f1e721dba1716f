"""Files that are whole or not there, and never overwritten by surprise."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from investigator.console.files import PRIVATE, replace, write_new
from investigator.errors import DeploymentError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    write_new(tmp_path / "a", b"first")
    with pytest.raises(DeploymentError, match="is there already"):
        write_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeploymentError, match="is there already"):
        write_new(tmp_path / "a", b"x")
    assert names(tmp_path) == ["a"]


def test_modes_are_what_was_asked_for_and_a_replaced_file_keeps_its_own(tmp_path: Path) -> None:
    write_new(tmp_path / "a", b"x", mode=PRIVATE)
    assert (tmp_path / "a").stat().st_mode & 0o777 == PRIVATE
    (tmp_path / "a").chmod(0o640)
    replace(tmp_path / "a", b"y")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "a").stat().st_mode & 0o777) == (b"y", 0o640)
    assert names(tmp_path) == ["a"]


def test_a_folder_that_takes_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="No such file or directory"):
        write_new(tmp_path / "none" / "a", b"x")
    with pytest.raises(DeploymentError, match="No such file or directory"):
        replace(tmp_path / "a", b"x")
