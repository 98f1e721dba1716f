"""The scribe module: verdicts, MIG's JSON and lines, privacy, limits."""

from __future__ import annotations

import copy
import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from investigator.modules import scribe
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.packages import Inventory, Package
from investigator.modules.scribe import MODULE

OBJECTS = [
    {"object": "two", "raw": {"identifiers": [{"identifier": "a", "value": "1.0~rc1"}, {"identifier": "b", "value": "2"}]}},
    {"object": "none", "hasline": {"path": "/nonexistent", "file": ".", "expression": "x"}},
    {"object": "chain", "filename": {"path": "${chain_root}", "file": "(.)"}},
    {"object": "bash", "package": {"name": "bash"}},
    {"object": "odd", "package": {"name": "odd"}},
]  # fmt: skip
INSTALLED = [Package("bash", "5.2-1", "dpkg", "amd64"), Package("odd", "x:1", "dpkg", "all")]


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "installed", lambda **_: Inventory(INSTALLED, [], complete=True))


def about(ident: str, of: str = "two", **more: Any) -> dict[str, Any]:
    """A test of a policy."""
    return {"test": ident, "object": of, **more}


def after(*names: str) -> dict[str, Any]:
    return {"if": list(names)}


def evr(operation: str, value: str) -> dict[str, Any]:
    return {"evr": {"operation": operation, "value": value}}


def ask(*tests: dict[str, Any], context: Context | None = None, **options: Any) -> dict[str, Any]:
    parameters = load_parameters(MODULE, {"scribedoc": {"objects": OBJECTS, "tests": list(tests)}, **options})
    result = MODULE.run(parameters, context or Context())
    shown: dict[str, Any] = orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))
    return shown


def verdicts(*tests: dict[str, Any]) -> dict[str, str]:
    found = ask(*tests)["elements"]["results"]
    return {one["testid"]: "error" if one["iserror"] else str(one["masterresult"]).lower() for one in found}


def test_the_evaluators() -> None:
    assert verdicts(
        about("any"),
        about("nothing", "none"),
        about("older", **evr("<", "1.0")),
        about("newer", **evr(">", "2")),
        about("same", **evr("=", "02")),
        about("exact", exactmatch={"value": "2"}),
        about("inexact", exactmatch={"value": "rc1"}),
        about("regexp", regexp={"value": "rc[0-9]"}),
        about("anchored", regexp={"value": "^rc"}),
        about("package", "bash", **evr("<", "5.2-1+b1")),
        about("held equal", "bash", **evr("=", "0:5.2-01")),
    ) == {
        "any": "true", "nothing": "false", "older": "true", "newer": "false", "same": "true", "exact": "true",
        "inexact": "false", "regexp": "true", "anchored": "false", "package": "true", "held equal": "true",
    }  # fmt: skip


def test_a_test_is_true_only_if_those_that_it_depends_on_are() -> None:
    result = ask(
        about("last", **after("no")), about("no", "none"), about("yes"), about("both", **after("yes", "no")), about("one", **after("yes"))
    )  # fmt: skip
    found = {one["testid"]: (one["masterresult"], one["hastrueresults"]) for one in result["elements"]["results"]}
    assert found == {
        "last": (False, True), "no": (False, False), "yes": (True, True), "both": (False, True), "one": (True, True),
    }  # fmt: skip


def test_what_cannot_be_decided_is_an_error_and_so_is_what_depends_on_it() -> None:
    result = ask(
        about("c", "chain"),
        about("d", **after("c")),
        about("v", "odd", **evr("<", "1")),
        about("x", "bash", **evr("<", "a b")),
    )
    errors = [one["error"] for one in result["elements"]["results"]]
    assert errors == [
        "object not prepared: it has ${chain_root}, so it is only for the import-chain of others",
        'a test dependency failed ("c")',
        "'x:1' is no dpkg version: its epoch is no number",
        "'a b' is no dpkg version: it holds a space",
    ]
    assert all(one["results"] is None and not one["masterresult"] for one in result["elements"]["results"])
    assert result["errors"] == [f'Error: {text} in "{name}"' for text, name in zip(errors, "cdvx", strict=True)]
    assert (result["success"], result["foundanything"]) == (True, False)


def test_a_host_whose_packages_cannot_be_read_is_never_called_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "installed", lambda **_: Inventory([], ["no package database"], complete=False))
    assert verdicts(about("p", "bash", **evr("<", "9")), about("raw")) == {"p": "error", "raw": "true"}


def test_what_the_author_expected_otherwise_is_said() -> None:
    result = ask(
        about("as expected", expectedresult=True),
        about("not so", expectedresult=False),
        about("known error", "chain", expecterror=True),
        about("no error", expecterror=True),
    )
    assert result["errors"] == [
        'Error: the policy expects false, but it is true in "not so"',
        'Error: the policy expects an error, but there was none in "no error"',
    ]


def test_the_result_is_migs() -> None:
    tags = [{"key": "cve", "value": "CVE-2015-0235"}]
    result = ask(
        about("t", name="n", description="d", tags=tags, **evr("<", "1.0")), about("u", "none"), jsonoutput=True
    )
    assert list(result) == ["foundanything", "success", "elements", "statistics", "errors"]
    assert result["elements"] == {
        "results": [
            {
                "testid": "t", "name": "n", "description": "d", "tags": tags, "iserror": False, "error": "", "masterresult": True,
                "hastrueresults": True,
                "results": [{"result": True, "identifier": "a"}, {"result": False, "identifier": "b"}],
            },
            {
                "testid": "u", "name": "", "description": "", "iserror": False, "error": "", "masterresult": False,
                "hastrueresults": False, "results": None,
            },
        ],
        "humanoutput": False,
        "jsonoutput": True,
    }  # fmt: skip
    assert (result["success"], result["errors"], list(result["statistics"])) == (True, None, ["execruntime"])


def test_only_true_tests_on_demand_and_found_only_if_one_is() -> None:
    both = ask(about("t"), about("u", "none"), onlytrue=True)
    assert [one["testid"] for one in both["elements"]["results"]] == ["t"]
    nothing = ask(about("u", "none"), about("c", "chain"), onlytrue=True)
    assert (nothing["foundanything"], nothing["elements"]["results"], len(nothing["errors"])) == (False, None, 1)
    assert ask(about("u", "none"))["foundanything"] is False


def printed(result: dict[str, Any], *, everything: bool = False) -> list[str]:
    return list(MODULE.lines({**result, "statistics": {"execruntime": "1ms"}}, everything=everything))


def test_the_lines_are_migs() -> None:
    tests = (about("t", name="n", **evr("<", "1.0")), about("u", "none"), about("c", "chain"))
    reason = "object not prepared: it has ${chain_root}, so it is only for the import-chain of others"
    lines = [
        'master [true] name:"n" id:"t" hastrue:true error:""',
        'sub [true] name:"n" id:"t" identifier:"a"',
        'sub [false] name:"n" id:"t" identifier:"b"',
        'master [false] name:"u" id:"u" hastrue:false error:""',
        f'master [error] name:"c" id:"c" hastrue:false error:"{reason}"',
    ]
    assert printed(ask(*tests)) == lines
    assert printed(ask(*tests), everything=True) == [*lines, f'Error: {reason} in "c"', "Statistics: runtime 1ms"]


def test_the_form_for_people_and_json() -> None:
    tags = [{"key": "cve", "value": "X"}]
    tests = (
        about("t", name="n", description="d", tags=tags, **after("u"), **evr("<", "1.0")), about("u", "none"), about("c", "chain"),
    )  # fmt: skip
    assert printed(ask(*tests, humanoutput=True)) == [
        'result for "n" (t)',
        "\tdescription: d",
        "\tmaster result: false, has true results, failure caused by dependency",
        "\ttag: cve: X",
        '\t[true] identifier: "a"',
        '\t[false] identifier: "b"',
        'result for "u"',
        "\tmaster result: false",
        'result for "c"',
        "\tmaster result: false",
        "\t[error] error: object not prepared: it has ${chain_root}, so it is only for the import-chain of others",
    ]
    result = ask(*tests, jsonoutput=True)
    assert [orjson.loads(line) for line in printed(result)] == result["elements"]["results"]


def test_an_identifier_breaks_no_line() -> None:
    result = ask(about("t"))
    result["elements"]["results"][0]["results"][0]["identifier"] = "/srv/a\nmaster [true]\x1b[2J"
    assert all("\n" not in line and "\x1b" not in line for line in printed(result))


def test_privacy_masks_identifiers_and_errors() -> None:
    parameters = load_parameters(
        MODULE, {"scribedoc": {"objects": OBJECTS, "tests": [about("t", name="n"), about("c", "chain")]}}
    )
    result = ask(about("t", name="n"), about("c", "chain"))
    before = copy.deepcopy(result)
    masked = MODULE.masked(result, parameters)
    assert result == before
    first, second = masked["elements"]["results"]
    assert [one["identifier"] for one in first["results"]] == [MASK, MASK]
    assert (first["name"], first["error"], second["error"], masked["errors"]) == ("n", "", MASK, [MASK])
    assert printed(masked, everything=True)[1] == 'sub [true] name:"n" id:"t" identifier:"masked"'
    failed = {**result, "elements": None, "errors": ["x"]}
    assert MODULE.masked(failed, parameters)["errors"] == [MASK]


def test_a_result_that_would_be_too_large_keeps_what_is_true() -> None:
    tests = [about(f"f{number}", "none", description="x" * 500) for number in range(100)] + [about("t")]
    result = ask(*tests, context=Context(result_bytes=(512 << 10) + 10_000))
    kept = [one["testid"] for one in result["elements"]["results"]]
    assert kept[-1] == "t"
    assert len(kept) < 30
    assert result["errors"] == [
        f"warning: {101 - len(kept)} test results are more than a result can hold; they are not returned"
    ]
    assert result["errors"][0] in printed(result)


def test_out_of_time_leaves_what_needs_no_time() -> None:
    files = {"object": "files", "hasline": {"path": "/etc", "file": ".", "expression": "x"}}
    parameters = load_parameters(
        MODULE, {"scribedoc": {"objects": [*OBJECTS, files], "tests": [about("f", "files"), about("t")]}}
    )
    result = MODULE.run(parameters, Context(deadline_s=time.monotonic()))
    assert [one["iserror"] for one in result.elements["results"]] == [True, False]
    assert result.errors == ['Error: out of time while looking for files in /etc in "f"']


def test_a_real_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the test writes, and uptime as a published policy reads it: /proc/uptime, joined to a raw value."""
    monkeypatch.undo()
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "uptime").write_text("4567.89 9000.00\n")
    objects = [
        {"object": "release", "filecontent": {"path": str(tmp_path), "file": "^os-release$", "expression": '^VERSION_ID="(.*)"'}},
        {"object": "uptime", "filecontent": {"path": str(tmp_path), "file": "^uptime$", "expression": r"^(\S+)\.\S+ \S+", "concat": ".", "import-chain": ["zero"]}},
        {"object": "zero", "raw": {"identifiers": [{"identifier": "raw0", "value": "0"}]}},
    ]  # fmt: skip
    tests = [
        about("debian12", "release", exactmatch={"value": "12"}),
        about("long", "uptime", **evr(">", "345600.0"), **after("debian12")),
        about("short", "uptime", **evr("=", "4567.0"), **after("debian12")),
    ]
    result = MODULE.run(load_parameters(MODULE, {"scribedoc": {"objects": objects, "tests": tests}}), Context())
    assert [one["masterresult"] for one in result.elements["results"]] == [True, False, True]
    assert result.elements["results"][2]["results"] == [{"result": True, "identifier": f"{tmp_path}/uptime"}]


def test_many_tests_on_many_values_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [Package(f"p{number}", "1", "dpkg", "all") for number in range(10_000)]
    monkeypatch.setattr(scribe, "installed", lambda **_: Inventory(packages, [], complete=True))
    objects = [{"object": "all", "package": {"collectmatch": "."}}]
    tests = [about(f"t{number}", "all") for number in range(60)]
    parameters = load_parameters(MODULE, {"scribedoc": {"objects": objects, "tests": tests}})
    tracemalloc.start()
    try:
        result = MODULE.run(parameters, Context(result_bytes=2 << 20))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(result.elements["results"]) > 1
    assert "test results are more than a result can hold" in str(result.errors)
    assert peak_bytes < 30 << 20
