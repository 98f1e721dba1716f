"""The key that results are sealed to: its public half is known without the passphrase, and is never another's."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from investigator.console.keys import encode_sealing_key, load_sealing_key, load_sealto
from investigator.errors import BadInput, DeploymentError
from investigator.protocol.sealing import generate_sealing_key, public_sealing_key


def nobody() -> str:
    raise AssertionError("nobody is asked")


def test_what_results_are_sealed_to_is_known_without_the_passphrase(tmp_path: Path) -> None:
    private, path = generate_sealing_key(), tmp_path / "sealing.pem"
    path.write_bytes(encode_sealing_key(private, "hush"))
    assert load_sealto(path, nobody) == public_sealing_key(private)
    assert load_sealing_key(path, lambda: "hush") == private
    with pytest.raises(BadInput, match="the passphrase does not open it"):
        load_sealing_key(path, lambda: "loud")


def test_a_key_without_the_line_is_opened_for_it(tmp_path: Path) -> None:
    private, path = generate_sealing_key(), tmp_path / "sealing.pem"
    path.write_bytes(encode_sealing_key(private, "hush").partition(b"\n")[2])
    assert load_sealto(path, lambda: "hush") == public_sealing_key(private)
    assert load_sealing_key(path, lambda: "hush") == private


def test_anothers_public_key_before_ours_is_refused_before_results_are_lost_to_it(tmp_path: Path) -> None:
    path = tmp_path / "sealing.pem"
    other = b"Public-Key: " + base64.b64encode(public_sealing_key(generate_sealing_key()))
    pem = encode_sealing_key(generate_sealing_key(), None).partition(b"\n")[2]
    path.write_bytes(other + b"\n" + pem)
    with pytest.raises(DeploymentError, match="another's"):
        load_sealing_key(path, nobody)
