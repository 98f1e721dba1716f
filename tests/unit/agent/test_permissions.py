"""Who could write what an agent obeys, or take its place: each way is refused, and told with the command that closes it."""

import os
from pathlib import Path

import pytest

from investigator.agent.permissions import refuse_loose
from investigator.errors import DeploymentError

OTHER = 12345
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    path = folder / "acl.json"
    path.touch()
    path.chmod(0o644)
    refuse_loose(path)
    return path


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o606, 0o666])
def test_a_file_that_others_can_write(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(DeploymentError, match="others than its owner can write it") as refused:
        refuse_loose(file)
    assert refused.value.hint == f"chmod go-w {file}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_private_file_that_others_can_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    refuse_loose(file)
    with pytest.raises(DeploymentError, match="others than its owner can read it") as refused:
        refuse_loose(file, private=True)
    assert refused.value.hint == f"chmod go= {file}"
    file.chmod(0o600)
    refuse_loose(file, private=True)


def test_a_file_that_anybody_can_replace_unless_the_folder_is_sticky(file: Path) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(DeploymentError, match="anybody can replace what is in it") as refused:
        refuse_loose(file)
    assert refused.value.hint == f"chmod o-w {file.parent}"
    file.parent.chmod(0o1777)
    refuse_loose(file)


def test_a_folder_that_our_own_group_can_write_is_ours(file: Path) -> None:
    file.parent.chmod(0o775)
    refuse_loose(file)


@root_only
def test_a_folder_that_another_group_can_write(file: Path) -> None:
    os.chown(file.parent, -1, OTHER)
    refuse_loose(file)
    file.parent.chmod(0o775)
    with pytest.raises(DeploymentError, match=f"group {OTHER} can replace what is in it") as refused:
        refuse_loose(file)
    assert refused.value.hint == f"chmod g-w {file.parent}"


@root_only
def test_a_file_or_folder_of_another_user(file: Path) -> None:
    os.chown(file, OTHER, -1)
    with pytest.raises(DeploymentError, match=f"belongs to user {OTHER}, neither root nor us"):
        refuse_loose(file)
    os.chown(file, 0, -1)
    os.chown(file.parent, OTHER, -1)
    with pytest.raises(DeploymentError, match=f"belongs to user {OTHER}, who can replace what is in it"):
        refuse_loose(file)


def test_a_link_is_judged_where_it_leads(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    refuse_loose(link)
    file.parent.chmod(0o777)
    with pytest.raises(DeploymentError, match=f"{file.parent}: anybody can replace"):
        refuse_loose(link)
    file.parent.chmod(0o755)
    tmp_path.chmod(0o777)
    with pytest.raises(DeploymentError, match=f"{tmp_path}: anybody can replace"):
        refuse_loose(link)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="nothing: No such file or directory"):
        refuse_loose(tmp_path / "nothing")
