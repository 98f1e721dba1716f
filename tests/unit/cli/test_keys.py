"""`investigator keys verify`: fingerprint on stdout and 0, or the reason as one line on stderr and 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from investigator.cli import main

CORPUS = Path(__file__).parents[2] / "corpus" / "pgp"
NOW = json.loads((CORPUS / "manifest.json").read_text())["now"]


def run(case: str, capsys: pytest.CaptureFixture[str], *, at: Any = NOW, **other: Any) -> tuple[int, str, str]:
    files = {"certificate": "cert.pgp", "signature": "sig", "data": "data.bin"}
    paths = {what: str(other.get(what, CORPUS / case / name)) for what, name in files.items()}
    options = ["--certificate", paths["certificate"], "--signature", paths["signature"], "--at", str(at)]
    code = main(["keys", "verify", *options, paths["data"]])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_good_signature_prints_the_primary_keys_fingerprint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ok-subkey", capsys) == (0, "F11099ADC2365C1500E18A30C7CA94F0971E7998\n", "")


@pytest.mark.parametrize("case", ["rev-soft", "cert-two-keys", "bad-data", "armor-redos-clear"])
def test_a_refusal_is_one_line_and_3(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(case, capsys)
    assert (code, out) == (3, "")
    assert err.startswith("investigator: ")
    assert err.count("\n") == 1


def test_time_is_now_unless_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("ok-subkey", capsys, at=NOW + 400 * 86_400)
    assert code == 3
    assert "s old" in err


@pytest.mark.parametrize("missing", ["certificate", "signature", "data"])
def test_a_file_that_cannot_be_read_is_named(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("ok-subkey", capsys, **{missing: tmp_path / "missing"})
    assert (code, out) == (2, "")
    assert "missing: No such file" in err
    code, out, err = run("ok-subkey", capsys, **{missing: tmp_path})
    assert (code, out) == (2, "")
    assert "Is a directory" in err


def test_endless_key_and_signature_files_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    if Path("/dev/zero").exists():
        assert run("ok-subkey", capsys, certificate=Path("/dev/zero"))[0] == 3
        assert run("ok-subkey", capsys, signature=Path("/dev/zero"))[0] == 3
