"""Where a user's zipapp unpacks. Refusals, and root's place, are tried on the real zipapp in test_zipapp.py."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from investigator._bootstrap.folders import check_own, check_parent, open_place, user_cache
from investigator._bootstrap.trouble import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":
    pytest.skip("modes and owners", allow_module_level=True)


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HOME": "/home/u"}, "/home/u/.cache"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/var/tmp/c"}, "/var/tmp/c"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/var/../tmp//c/"}, "/tmp/c"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "relative"}, "/home/u/.cache"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": ""}, "/home/u/.cache"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="there it is ~/Library/Caches")
def test_the_cache_folder_is_xdgs(environ: dict[str, str], cache: str) -> None:
    assert user_cache(1000, environ) == cache


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(CannotStart, match=r"user 987654 has no home folder.*XDG_CACHE_HOME"):
        user_cache(987654, {})


def test_a_home_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(CannotStart, match="cannot make /proc/nowhere"):
        open_place(4242, {"HOME": "/proc/nowhere"})


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="is no folder"):
        check_own(str(tmp_path / "file"), os.geteuid())


def test_roots_folders_may_not_even_be_sticky(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    if os.geteuid() == 0:
        with pytest.raises(CannotStart, match="others can write to"):
            check_parent(str(tmp_path), 0)
    else:
        check_parent(str(tmp_path), os.geteuid())
