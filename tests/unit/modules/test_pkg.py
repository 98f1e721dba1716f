"""The pkg module: what may be asked, what comes back, how it is printed."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules import pkg
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.packages import Inventory, Package
from investigator.modules.pkg import MODULE

LISTED = [
    Package("bash", "5.2-1", "dpkg", "amd64"),
    Package("libc6:amd64", "2.36-9", "dpkg", "amd64"),
    Package("openssl", "3.0.11", "dpkg", "amd64"),
    Package("openssl-libs", "1:1.1.1", "rpm", "x86_64"),
]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkg, "installed", lambda **_: Inventory(LISTED, [], complete=True))


def ask(*names: str, version: str = "", **context: Any) -> dict[str, Any]:
    parameters = load_parameters(MODULE, {"pkgmatch": {"matches": list(names)}, "vermatch": version})
    shown: dict[str, Any] = orjson.loads(
        orjson.dumps(msgspec.structs.asdict(MODULE.run(parameters, Context(**context))))
    )
    return shown


def found(*names: str, version: str = "") -> list[str]:
    return [one["name"] for one in ask(*names, version=version)["elements"]["packages"]]


@pytest.mark.usefixtures("host")
def test_names_are_ored_and_each_package_comes_once() -> None:
    assert found("^bash$", "ash", "^openssl$") == ["bash", "openssl"]
    assert found("nosuch") == []
    assert found(".") == [one.name for one in LISTED]


@pytest.mark.usefixtures("host")
def test_a_qualified_name_is_found_by_both_its_forms() -> None:
    assert found("^libc6$") == found("^libc6:amd64$") == found("^libc6(:.*)?$") == ["libc6:amd64"]


@pytest.mark.usefixtures("host")
def test_a_version_can_be_asked_for_or_excluded() -> None:
    assert found("openssl", version="^3\\.") == ["openssl"]
    assert found("openssl", version="!^3\\.") == ["openssl-libs"]
    assert found("openssl", version="^1:1") == ["openssl-libs"]
    assert found("openssl", version="!") == []


@pytest.mark.usefixtures("host")
def test_the_result_is_migs() -> None:
    result = ask("^openssl-libs$")
    assert list(result) == ["foundanything", "success", "elements", "statistics", "errors"]
    assert result["elements"] == {
        "packages": [{"name": "openssl-libs", "version": "1:1.1.1", "type": "rpm", "arch": "x86_64"}]
    }
    assert (result["foundanything"], result["success"], result["errors"]) == (True, True, None)
    assert list(result["statistics"]) == ["execruntime"]
    nothing = ask("nosuch")
    assert (nothing["foundanything"], nothing["elements"]) == (False, {"packages": []})


@pytest.mark.usefixtures("host")
def test_the_lines_are_migs() -> None:
    result = {**ask("^bash$"), "statistics": {"execruntime": "1.5ms"}, "errors": ["one", "warning: two"]}
    line = "pkgmatch name=bash version=5.2-1 type=dpkg arch=amd64"
    assert list(MODULE.lines(result, everything=False)) == [line, "warning: two"]
    assert list(MODULE.lines(result, everything=True)) == [line, "one", "warning: two", "Statistics: runtime 1.5ms"]


@pytest.mark.usefixtures("host")
def test_a_result_that_would_be_too_large_is_cut_and_says_so() -> None:
    result = ask(".", result_bytes=(64 << 10) + 150)
    assert len(result["elements"]["packages"]) == 2
    assert result["errors"] == ["warning: 2 more packages match than a result can hold; they are not returned"]


def test_a_host_without_any_database_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkg, "installed", lambda **_: Inventory([], ["there is none"], complete=False))
    result = ask("bash")
    assert (result["success"], result["elements"], result["errors"]) == (False, None, ["there is none"])
    assert result["statistics"]["execruntime"]


def test_a_database_that_cannot_be_read_beside_one_that_can_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkg, "installed", lambda **_: Inventory(LISTED, ["could not read"], complete=False))
    result = ask("bash")
    assert (result["success"], result["foundanything"], result["errors"]) == (True, True, ["could not read"])


@pytest.mark.usefixtures("host")
def test_privacy_masks_errors_alone() -> None:
    parameters = load_parameters(MODULE, {"pkgmatch": {"matches": ["bash"]}})
    result = {**ask("bash"), "errors": ["could not read /home/ada"]}
    masked = MODULE.masked(result, parameters)
    assert masked == {**result, "errors": [MASK]}
    assert list(MODULE.lines(masked, everything=True))
    assert MODULE.masked({**result, "elements": None, "errors": None}, parameters)["errors"] is None


@pytest.mark.parametrize(
    ("parameters", "kind", "text"),
    [
        ({}, BadParameters, "pkgmatch"),
        ({"pkgmatch": {}}, BadParameters, "pkgmatch.matches: a search needs at least one name"),
        ({"pkgmatch": {"matches": [""]}}, BadParameters, "pkgmatch.matches[0]: is empty"),
        ({"pkgmatch": {"matches": ["a", "b("]}}, BadRegex, "pkgmatch.matches[1]: regular expression 'b('"),
        ({"pkgmatch": {"matches": ["a"]}, "vermatch": "!["}, BadRegex, "vermatch: regular expression '['"),
        ({"pkgmatch": {"matches": ["a"] * 1001 + ["b"]}}, None, ""),
        ({"pkgmatch": {"matches": [str(n) for n in range(1001)]}}, BadParameters, "pkgmatch.matches: 1,001 names"),
        ({"pkgmatch": {"matches": "a"}}, BadParameters, "pkgmatch.matches"),
        ({"pkgmatch": {"match": ["a"]}}, BadParameters, "did you mean 'matches'?"),
        ({"pkgmatch": {"matches": ["a"]}, "version": "1"}, BadParameters, "there is no parameter 'version'"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(parameters: Any, kind: type[BadInput] | None, text: str) -> None:
    if kind is None:
        load_parameters(MODULE, parameters)
        return
    with pytest.raises(kind) as caught:
        load_parameters(MODULE, parameters)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flags_become_migs_parameters() -> None:
    assert MODULE.from_flags({"name": ["a", "b"], "version": "!1"}) == {
        "pkgmatch": {"matches": ["a", "b"]},
        "vermatch": "!1",
    }
    assert MODULE.from_flags({"name": ["a"]}) == {"pkgmatch": {"matches": ["a"]}}
