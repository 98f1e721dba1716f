"""Flags as Go reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.modules.flags import Flags, Values, module_flags, split_flag, take_value, unknown_flag
from investigator.modules.interface import flag


class Options(msgspec.Struct):
    matchall: Annotated[bool, flag("matchall", "all of them", default=True)] = False
    limit: Annotated[Annotated[int, msgspec.Meta(ge=0)], flag("limit", "how many", value="N", default=7)] = 0
    ratio: Annotated[float | None, flag("ratio", "how much of it")] = None


class Search(msgspec.Struct):
    paths: Annotated[list[str], flag("path", "where", value="PATH", aliases=("p2",))] = []
    kind: Annotated[Literal["tcp", "udp"], flag("kind", "which")] = "tcp"
    numbers: Annotated[list[int], flag("number", "several")] = []
    unflagged: str = ""
    options: Options = msgspec.field(default_factory=Options)


FLAGS = module_flags(Search)


def read(*words: str) -> dict[str, object]:
    values, rest = Values(), list(words)
    while rest:
        named = split_flag(rest.pop(0))
        assert named is not None
        name, inline = named
        value, used = take_value(FLAGS[name], name, inline, rest)
        values.set(FLAGS[name], value)
        del rest[:used]
    return values.nested(FLAGS)


def test_every_annotated_field_is_a_flag_nested_ones_too() -> None:
    assert FLAGS.names() == ["kind", "limit", "matchall", "number", "p2", "path", "ratio"]
    assert FLAGS["limit"].path == ("options", "limit")
    assert FLAGS["limit"].kind == "integer"
    assert FLAGS["ratio"].kind == "number"
    assert FLAGS["number"].many
    assert FLAGS["kind"].choices == ("tcp", "udp")
    assert FLAGS["path"].help == "where"


@pytest.mark.parametrize(
    "words", [("-path", "/etc"), ("--path", "/etc"), ("-path=/etc",), ("--path=/etc",), ("-p2", "/etc")]
)
def test_a_value_is_written_behind_a_space_or_an_equals_sign_with_one_dash_or_two(words: Any) -> None:
    assert read(*words)["paths"] == ["/etc"]


def test_lists_append_and_scalars_keep_the_last() -> None:
    got = read("-path", "/a", "-limit", "1", "-path", "/b", "-limit", "2")
    assert got == {"paths": ["/a", "/b"], "options": {"matchall": True, "limit": 2}}


def test_absent_flags_have_the_command_lines_defaults_and_those_without_set_nothing() -> None:
    assert read() == {"options": {"matchall": True, "limit": 7}}


@pytest.mark.parametrize(("written", "value"), [("1", True), ("t", True), ("TRUE", True), ("0", False), ("f", False)])
def test_a_switch_takes_a_value_only_behind_an_equals_sign(written: Any, value: Any) -> None:
    assert read(f"-matchall={written}")["options"] == {"matchall": value, "limit": 7}
    assert read("-matchall")["options"] == {"matchall": True, "limit": 7}


def test_a_value_may_start_with_a_dash_or_hold_equals_signs() -> None:
    assert read("-path", "-x", "-path", "--", "-path=a=b")["paths"] == ["-x", "--", "a=b"]


def test_an_empty_value_is_a_value() -> None:
    assert read("-path=", "-path", "")["paths"] == ["", ""]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-path",), "flag -path needs a value"),
        (("-limit", "many"), "flag -limit: 'many' is no whole number"),
        (("-limit=1.5",), "flag -limit: '1.5' is no whole number"),
        (("-ratio", "x"), "flag -ratio: 'x' is no number"),
        (("-matchall=maybe",), "flag -matchall: 'maybe' is neither true nor false"),
        (("-kind", "sctp"), "flag -kind: 'sctp' is none of tcp, udp"),
        (("-=x",), "bad flag syntax: '-=x'"),
        (("---path",), "bad flag syntax: '---path'"),
    ],
)
def test_what_cannot_be_taken_is_one_clear_line(words: Any, message: Any) -> None:
    with pytest.raises(BadInput) as caught:
        read(*words)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["etc", "", "-", "a-b"])
def test_words_without_a_dash_and_a_lone_dash_are_no_flags(word: Any) -> None:
    assert split_flag(word) is None


def test_an_unknown_flag_names_the_nearest() -> None:
    assert str(unknown_flag("pth", FLAGS, of="module x")) == "unknown flag -pth of module x; did you mean -path?"
    assert "did you mean" not in str(unknown_flag("zzzz", FLAGS, of="module x"))


def test_two_flags_of_one_name_are_a_mistake_of_the_declaration() -> None:
    with pytest.raises(ValueError, match="two flags are called -path"):
        Flags((FLAGS["path"], FLAGS["p2"], *module_flags(Search).all))


@given(st.text(max_size=30))
def test_any_word_is_a_flag_no_flag_or_a_refusal(word: Any) -> None:
    try:
        named = split_flag(word)
    except BadInput:
        assert word.startswith("-")
    else:
        assert (named is None) == (len(word) < 2 or not word.startswith("-"))
        if named is not None:
            name, inline = named
            assert name
            assert "=" not in name
            assert word.lstrip("-") == name + ("" if inline is None else f"={inline}")
