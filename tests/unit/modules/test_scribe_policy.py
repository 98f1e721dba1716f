"""Policies as people write them: JSON and YAML, mistakes with their places, and what no document can do to the reader."""

from __future__ import annotations

import contextlib
import copy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules.interface import load_parameters
from investigator.modules.scribe import MODULE
from investigator.modules.scribe.policy import Policy
from investigator.modules.scribe.policy_file import parse_policy, parse_yaml
from investigator.modules.scribe.validation import in_order

ROOT = Path(__file__).parents[3]
GOOD: dict[str, Any] = {
    "variables": [{"key": "root", "value": "/etc"}],
    "objects": [
        {"object": "release", "filecontent": {"path": "${root}", "file": "^os-release$", "expression": "^ID=(.*)"}},
        {"object": "raw", "raw": {"identifiers": [{"identifier": "one", "value": "1"}]}, "package": {}, "hasline": {}},
        {"object": "bash", "package": {"name": "bash"}},
    ],
    "tests": [
        {"test": "debian", "object": "release", "exactmatch": {"value": "debian"}, "evr": {}, "regexp": {}},
        {"test": "old", "object": "bash", "evr": {"operation": "<", "value": "5"}, "if": ["debian"]},
    ],
}


def load(document: Any) -> Policy:
    return load_parameters(MODULE, {"scribedoc": document}).scribedoc


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The good policy with another value in one place."""
    document = copy.deepcopy(GOOD)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if isinstance(place, list) and path[-1] == len(place):
        place.append(to)
    else:
        place[path[-1]] = to
    return document


def test_a_good_policy_loads() -> None:
    assert [one.test for one in load(GOOD).tests] == ["debian", "old"]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (changed("tests", 0, "exactmach", to={}), "scribedoc.tests[0]: there is no parameter 'exactmach'; did you mean 'exactmatch'?"),
        (changed("tests", 1, "object", to="x"), "scribedoc.tests[1].object: there is no object 'x'"),
        (changed("tests", 1, "if", 0, to="x"), "scribedoc.tests[1].if[0]: there is no test 'x'"),
        (changed("tests", 0, "if", to=["old"]), "scribedoc.tests[1].if: 'debian' depends on itself in the end"),
        (changed("tests", 1, "if", to=["old"]), "scribedoc.tests[1].if: 'old' depends on itself in the end"),
        (changed("tests", 1, "test", to="debian"), "scribedoc.tests[1].test: 'debian' stands at scribedoc.tests[0] already"),
        (changed("tests", 0, "test", to=""), "scribedoc.tests[0].test: is empty"),
        (changed("tests", to=[]), "scribedoc.tests: a policy needs at least one test"),
        (changed("tests", 0, "regexp", to={"value": "x"}), "scribedoc.tests[0]: has regexp and exactmatch; a test has one"),
        (changed("tests", 0, "regexp", to={"value": "x("}), "scribedoc.tests[0]: has regexp and exactmatch"),
        (changed("tests", 1, "evr", to={"value": "5"}), "scribedoc.tests[1].evr.operation: is empty"),
        (changed("tests", 1, "evr", to={"operation": "<"}), "scribedoc.tests[1].evr.value: is empty"),
        (changed("tests", 1, "evr", "operation", to="<="), "scribedoc.tests[1].evr.operation"),
        (changed("tests", 1, "evr", "value", to=5), "scribedoc.tests[1].evr.value"),
        (changed("tests", 0, "tags", to=[{"key": 'a"b'}]), "scribedoc.tests[0].tags[0]: holds a double quote"),
        (changed("objects", 2, "object", to="raw"), "scribedoc.objects[2].object: 'raw' stands at"),
        (changed("objects", 2, "package", to={}), "scribedoc.objects[2]: object 'bash' has no source"),
        (changed("objects", 0, "filecontent", "file", to=""), "scribedoc.objects[0].filecontent.file: is empty"),
        (changed("objects", 0, "filecontent", "file", to="("), "scribedoc.objects[0].filecontent.file: regular expression"),
        (changed("objects", 0, "filecontent", "expression", to="["), "scribedoc.objects[0].filecontent.expression: regular"),
        (changed("objects", 2, "package", to={"name": "b", "collectmatch": "["}), "scribedoc.objects[2].package.collectmatch"),
        (changed("objects", 0, "filecontent", "path", to="${rot}"), "filecontent.path: there is no variable 'rot'"),
        (changed("objects", 0, "filecontent", "import-chain", to=["x"]), "import-chain[0]: there is no object 'x'"),
        (changed("objects", 0, "filecontent", "import-chain", to=["release"]), "import-chain: 'release' imports itself"),
        (changed("objects", 0, "filecontent", "import_chain", to=["raw"]), "did you mean 'import-chain'?"),
        (changed("objects", 2, to={"object": "f", "filename": {"path": "/", "file": "x"}}), "needs a capture group"),
        (changed("variables", 1, to={"key": "root"}), "scribedoc.variables[1].key: 'root' stands at"),
        ([], "scribedoc"),
        ({}, "scribedoc.tests: a policy needs at least one test"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_place(document: Any, text: str) -> None:
    with pytest.raises((BadParameters, BadRegex)) as caught:
        load(document)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_relative_path_is_for_this_machine_alone() -> None:
    document = changed("objects", 0, "filecontent", "path", to="etc")
    with pytest.raises(BadParameters, match=r"^scribedoc.objects\[0\].filecontent.path: 'etc' is relative"):
        load(document)
    assert load_parameters(MODULE, {"scribedoc": document}, local=True)
    relative = changed("variables", 0, "value", to="etc")
    with pytest.raises(BadParameters, match="'etc' is relative"):
        load(relative)


def test_variables_that_multiply_without_end_are_refused() -> None:
    document = changed("objects", 2, "package", "name", to="${v0}")
    document["variables"] += [{"key": f"v{n}", "value": f"${{v{n + 1}}}" * 10} for n in range(20)] + [{"key": "v20"}]
    with pytest.raises(
        BadParameters, match=r"^scribedoc.objects\[2\].package.name: variables make a text of more than"
    ):
        load(document)


def test_two_objects_that_import_each_other_are_a_cycle() -> None:
    document = copy.deepcopy(GOOD)
    for name, other in (("a", "b"), ("b", "a")):
        source = {"path": "/etc", "file": "x", "expression": "x", "import-chain": [other]}
        document["objects"].append({"object": name, "filecontent": source})
    with pytest.raises(BadParameters, match=r"import-chain: 'a' imports itself in the end"):
        load(document)


def test_long_chains_of_dependencies_come_in_order() -> None:
    count = 20_000
    tests = [{"test": str(n), "object": "raw", "if": [str(n + 1)] if n + 1 < count else []} for n in range(count)]
    order = in_order(load({**GOOD, "tests": tests}))
    assert [int(one.test) for one in order] == list(range(count))[::-1]


def test_null_counts_as_absent_and_every_mig_default_is_taken() -> None:
    document = changed("tests", 0, "tags", to=None)
    document["objects"][1]["raw"]["identifiers"].append({"identifier": "two", "value": ""})
    assert load(document).tests[0].tags == []


YAML = """\
# a comment
objects:
- object: versions
  raw:
    identifiers:
    - {identifier: a, value: 1.10}
    - {identifier: b, value: yes}
    - {identifier: c, value: "null"}
    - {identifier: d, value: ~}
- object: p
  package: {name: openssl, onlynewest: true}
tests:
- &first
  test: one
  object: versions
  evr: {operation: =, value: 0x1F}
  expectedresult: false
- test: two
  object: p
  if: [one]
  tags: []
"""


def test_yaml_scalars_stay_as_they_are_written() -> None:
    policy = load(parse_policy(YAML.encode(), what="p.yaml"))
    values = [one.value for one in policy.objects[0].raw.identifiers]
    assert values == ["1.10", "yes", "null", ""]
    assert policy.objects[1].package.onlynewest is True
    assert policy.tests[0].evr.value == "0x1F"
    assert policy.tests[0].expectedresult is False


def test_yaml_and_json_make_the_same_policy() -> None:
    text = import_module("yaml").safe_dump(GOOD)
    assert load(parse_policy(text.encode(), what="p")) == load(GOOD)
    assert load(parse_policy(msgspec.json.encode(GOOD), what="p")) == load(GOOD)
    assert load(parse_policy(b"\n  \t" + msgspec.json.encode(GOOD), what="p")) == load(GOOD)


def test_yaml_is_the_same_without_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    by_c = parse_policy(YAML.encode(), what="p")
    monkeypatch.delattr("yaml.CSafeLoader", raising=False)
    assert parse_policy(YAML.encode(), what="p") == by_c
    with pytest.raises(BadParameters, match="line 1, column 4: a text with half of a surrogate pair"):
        parse_policy(b'a: "\\ud800"\n', what="p")


def test_without_any_yaml_reader_it_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BadParameters, match="PyYAML reads; there is none here, but JSON works"):
        parse_policy(YAML.encode(), what="p")


def test_aliases_stand_for_what_they_name() -> None:
    assert parse_yaml(b"a: &x [1, 2]\nb: *x\nc: {d: *x}\n", what="p") == {
        "a": ["1", "2"],
        "b": ["1", "2"],
        "c": {"d": ["1", "2"]},
    }


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", "line 2, column 1: the key 'a' stands twice in one mapping"),
        ("a: [1\n", "no YAML: line"),
        ("[1]: 2\n", "a key that is no text"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
        ("a: &x [*x]\n", "*x stands for nothing that is complete"),
        ("a: *x\n", "*x stands for nothing that is complete"),
        ("[" * 100 + "]" * 100, "nested deeper than 50"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1500)), "nested deeper than 50"),
        (BOMB, "more than 2,000,000 values"),
        ("a: \x01\n", "no YAML"),
        ('a: "\\ud800"\n', "line 1, column "),
        ("- a\n- b\n", "this is a list"),
        ("just text\n", "this is a single value"),
        ("", "this is a single value"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": 1', "no JSON"),
    ],
)
def test_a_document_that_is_none_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(BadParameters) as caught:
        parse_policy(text.encode(), what="p.yaml")
    assert str(caught.value).startswith("path: p.yaml: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&x ", "*x", "'", '"', "!!t ", "|", "~", ",", "?", "\t", "é"]), max_size=25))  # fmt: skip
def test_no_text_breaks_the_reader(pieces: list[str]) -> None:
    with contextlib.suppress(BadInput):
        parse_yaml("".join(pieces).encode(), what="p")


def test_the_command_line_reads_the_policy_and_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(YAML)
    parameters = MODULE.from_flags({"path": str(path), "onlytrue": True, "human": True})
    assert (parameters["onlytrue"], parameters["humanoutput"], "jsonoutput" in parameters) == (True, True, False)
    assert load_parameters(MODULE, parameters).humanoutput


@pytest.mark.parametrize(
    ("path", "text"),
    [("", "a policy is required"), ("/nonexistent/p", "no such file or directory"), ("/", "is a directory"), ("a\0b", "null byte")],
)  # fmt: skip
def test_a_policy_that_cannot_be_read_is_refused(path: str, text: str) -> None:
    with pytest.raises(BadParameters, match=f"^path: .*{text}"):
        MODULE.from_flags({"path": path})


def test_the_example_in_the_documentation_loads() -> None:
    text = (ROOT / "docs/modules/example-policy.yaml").read_bytes()
    assert len(load(parse_policy(text, what="example")).tests) == 3
