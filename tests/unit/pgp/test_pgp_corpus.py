"""105 crafted and real cases, each a certificate, a document, a signature and the verdict that the policy gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from investigator.pgp import Keyring, SignatureRefused

CORPUS = Path(__file__).parents[2] / "corpus" / "pgp"
MANIFEST = json.loads((CORPUS / "manifest.json").read_text())


def judge(case: str) -> tuple[str, str]:
    folder = CORPUS / case
    keyring = Keyring.load({"cert.pgp": (folder / "cert.pgp").read_bytes()})
    try:
        keyring.verify((folder / "data.bin").read_bytes(), (folder / "sig").read_bytes(), MANIFEST["now"])
    except SignatureRefused as reason:
        return "R", str(reason)
    return "A", ""


@pytest.mark.parametrize("case", MANIFEST["cases"], ids=lambda case: case["name"])
def test_the_verdict_is_the_policys(case: dict[str, str]) -> None:
    verdict, reason = judge(case["name"])
    assert "\n" not in reason
    assert case["expect"] in (verdict, "a"), f"{case['what']}: {reason or 'accepted'}"


def test_the_corpus_is_all_there() -> None:
    assert len(MANIFEST["cases"]) == 105
    assert {case["expect"] for case in MANIFEST["cases"]} == {"A", "R", "a"}
