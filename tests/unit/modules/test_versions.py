"""Version orders against the verdicts of dpkg, rpm and pacman themselves, and the laws of an order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.modules.versions import MAX_CHARACTERS, apk, compare, dpkg, pacman, rpm

CORPUS = Path(__file__).parents[2] / "corpus/versions"
VERSION = st.text(alphabet="01289abzAZ~^.+-_: é", max_size=12)
VALID = st.from_regex(r"([0-9]:)?[0-9][0-9a-zA-Z.+~]{0,8}(-[0-9a-zA-Z.+~]{1,5})?", fullmatch=True)


def verdict(tool: str, left: str, right: str) -> str:
    try:
        return str(compare(tool, left, right))
    except BadInput:
        return "refused"


@pytest.mark.parametrize("tool", ["dpkg", "rpm", "pacman"])
def test_every_verdict_of_the_corpus_is_the_tools_own(tool: str) -> None:
    pairs = [line.split("\t") for line in (CORPUS / f"{tool}.tsv").read_text().splitlines()]
    assert sum(said != "refused" for _, _, said in pairs) >= 3000
    wrong = [(left, right, said) for left, right, said in pairs if verdict(tool, left, right) != said]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "left", "right", "expected"),
    [
        ("dpkg", "1.0~rc1", "1.0", -1),
        ("dpkg", "1.0-0", "1.0", 0),
        ("dpkg", "00", "0", 0),
        ("dpkg", "1:0.1", "9", 1),
        ("dpkg", "1." + "9" * 5000, "1." + "9" * 5001, -1),
        ("rpm", "1.0~rc1", "1.0", -1),
        ("rpm", "1.0", "1.0-~1", -1),
        ("rpm", "1.0^20200101", "1.0", 1),
        ("rpm", "1.0^20200101", "1.0.1", -1),
        ("rpm", "18446744073709551616", "18446744073709551615", 1),
        ("rpm", "2.12-1.166.el6_7.7", "2.12-1.166.el6_7.10", -1),
        ("pacman", "1.0rc1", "1.0", -1),
        ("pacman", "1.0-1", "1.0", 0),
        ("brew", "1.10", "1.9", 1),
        ("text", "4567.0", "345600.0", -1),
    ],
)
def test_orders_that_people_get_wrong(kind: str, left: str, right: str, expected: int) -> None:
    assert compare(kind, left, right) == expected
    assert compare(kind, right, left) == -expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("1.2.3-r0", "1.2.3-r1", -1),
        ("1.2.3", "1.2.3-r0", -1),
        ("1.2.9", "1.2.10", -1),
        ("1.2", "1.2.1", -1),
        ("1.2_alpha", "1.2_beta", -1),
        ("1.2_beta2", "1.2_beta10", -1),
        ("1.2_rc1", "1.2", -1),
        ("1.2", "1.2_p1", -1),
        ("1.2_git20200101", "1.2_p1", -1),
        ("1.2a", "1.2b", -1),
        ("1.2", "1.2a", -1),
        ("1.01", "1.1", -1),
        ("1.0", "1.1", -1),
        ("2.0_p20200101-r3", "2.0_p20200101-r3", 0),
        ("10.2", "9.9", 1),
        ("1.1.1w-r1", "1.1.1w-r0", 1),
        ("0.12.0", "0.12.1", -1),
    ],
)
def test_alpine_versions_sort_as_alpine_says(left: str, right: str, expected: int) -> None:
    """apk-tools' documented rules: there is no Debian package of it to ask."""
    assert apk.compare(left, right) == expected
    assert apk.compare(right, left) == -expected


@settings(max_examples=300, deadline=None)
@given(VALID, VALID, VALID)
def test_dpkgs_order_is_one(a: str, b: str, c: str) -> None:
    assert dpkg.compare(a, a) == 0
    assert dpkg.compare(a, b) == -dpkg.compare(b, a)
    low, middle, high = sorted((a, b, c), key=dpkg.sort_key)
    assert max(dpkg.compare(low, middle), dpkg.compare(middle, high), dpkg.compare(low, high)) <= 0


@settings(max_examples=300, deadline=None)
@given(VERSION, VERSION, VERSION)
def test_rpms_order_is_one(a: str, b: str, c: str) -> None:
    assert rpm.compare(a, a) == 0
    assert rpm.compare(a, b) == -rpm.compare(b, a)
    low, middle, high = sorted((a, b, c), key=rpm.sort_key)
    assert max(rpm.compare(low, middle), rpm.compare(middle, high), rpm.compare(low, high)) <= 0


@settings(max_examples=300, deadline=None)
@given(VERSION, VERSION)
def test_the_others_take_every_text_and_contradict_themselves_nowhere(a: str, b: str) -> None:
    for order in (apk, pacman):
        assert order.compare(a, a) == 0
        assert order.compare(a, b) == -order.compare(b, a)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_compared_or_refused(a: str, b: str) -> None:
    for kind in ("rpm", "apk", "pacman", "brew"):
        assert compare(kind, a, b) in (-1, 0, 1)
    assert verdict("dpkg", a, b) in ("-1", "0", "1", "refused")


@pytest.mark.parametrize(
    "version", ["", "a b", "x:1", "1:", "1-", "-1", "99999999999:1", "-3:1", "1\n2", "é" * 500 + " 1"]
)
def test_what_dpkg_refuses_is_refused_in_one_short_line(version: str) -> None:
    with pytest.raises(BadInput, match="is no dpkg version: ") as caught:
        dpkg.compare("1", version)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.skipif(not shutil.which("dpkg"), reason="there is no dpkg here")
@settings(max_examples=25, deadline=None)
@given(VALID, VALID)
def test_dpkg_itself_agrees(a: str, b: str) -> None:
    relation = {-1: "lt", 0: "eq", 1: "gt"}[dpkg.compare(a, b)]
    subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=True, stderr=subprocess.DEVNULL)


def test_a_text_that_is_longer_than_any_version_is_refused_and_a_long_one_is_not_remembered() -> None:
    longest = "1." * (MAX_CHARACTERS // 2)
    for kind in ("dpkg", "rpm", "apk", "pacman", "text"):
        assert compare(kind, longest, longest) == 0
        with pytest.raises(BadInput, match="16,385 characters is no version"):
            compare(kind, "1", longest + "1")
    for order in (dpkg, rpm):
        assert order.sort_key("1.0") is order.sort_key("1.0")
        assert order.sort_key("1" * 65) is not order.sort_key("1" * 65)
