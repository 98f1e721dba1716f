"""Parameters as rows: every key that a module takes, and what may stand there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from investigator.cli.parameters import Row, parameter_rows, schema_of
from investigator.modules import MODULES, get_module
from investigator.modules.interface import Spec, flag


class Inner(msgspec.Struct):
    depth: Annotated[int, msgspec.Meta(ge=1, le=9, description="how\ndeep")] = 3
    kind: Literal["", "a", "b"] = "a"
    again: list[Inner] = []


class Outer(msgspec.Struct):
    paths: Annotated[list[str], flag("path", "where")]
    searches: dict[str, Inner] = {}
    maybe: Inner | None = None
    either: int | str | None = None
    anything: Any = None
    ratio: float = 0.5


SPEC = Spec(name="probe", summary="probe it", parameters=Outer, flags=None)


def row(path: str) -> Row:
    return next(one for one in parameter_rows(SPEC) if one.path == path)


def test_each_key_is_a_row_with_its_type_default_and_text() -> None:
    assert row("paths") == Row(path="paths", kind="list of texts", default="", required=True, text="where")
    assert row("searches").kind == "object of objects"
    depth = row("searches.LABEL.depth")
    assert (depth.kind, depth.default, depth.text) == ("whole number, 1 to 9", "3", "how deep")
    assert row("searches.LABEL.kind").kind == "one of empty, `a`, `b`"
    assert row("maybe.depth").kind == depth.kind
    assert row("either").kind == "whole number or text or null"
    assert (row("anything").kind, row("ratio").default) == ("any JSON", "0.5")


def test_a_struct_that_holds_itself_ends() -> None:
    assert row("searches.LABEL.again").kind == "list of objects"
    assert not [one for one in parameter_rows(SPEC) if "again[]" in one.path]


@pytest.mark.parametrize("name", MODULES)
def test_every_modules_parameters_can_be_told(name: str) -> None:
    spec = get_module(name).spec
    schema = schema_of(spec)
    rows = parameter_rows(spec)
    assert {one.path.partition(".")[0].partition("[")[0] for one in rows} == set(
        schema["$defs"][spec.parameters.__name__]["properties"]
    )
