"""The line that a complaint names is the line where the key stands, however the document is laid out."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.places import Place, json_duplicate_line, json_line, toml_line

KEYS = st.one_of(st.sampled_from(["a", "b", "{", '"', "\\", "x,\n[", "é"]), st.text(max_size=3))
VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.none(), KEYS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)


class Written:
    """A document that is written piece by piece, with its keys' lines noted on the way."""

    def __init__(self, draw: Any) -> None:
        self.text = ""
        self.lines: dict[Place, int] = {}
        self._draw = draw

    def put(self, piece: str) -> None:
        self.text += piece + self._draw(st.sampled_from(["", " ", "\n", " \n\t", "\r\n"]))

    def value(self, value: Any, place: Place) -> None:
        if isinstance(value, dict):
            self.put("{")
            for number, (key, inner) in enumerate(value.items()):
                if number:
                    self.put(",")
                self.lines[*place, key] = self.text.count("\n") + 1
                self.put(json.dumps(key))
                self.put(":")
                self.value(inner, (*place, key))
            self.put("}")
        elif isinstance(value, list):
            self.put("[")
            for number, inner in enumerate(value):
                if number:
                    self.put(",")
                self.value(inner, (*place, number))
            self.put("]")
        else:
            self.put(json.dumps(value))


@given(VALUES, st.data())
def test_every_key_of_a_json_document_is_found_on_its_line(value: Any, data: st.DataObject) -> None:
    written = Written(data.draw)
    written.value(value, ())
    assert json.loads(written.text) == value
    for place, line in written.lines.items():
        assert json_line(written.text, place) == line
        assert json_line(written.text, (*place, "\0 is not there")) == line
    assert json_line(written.text, ()) == 1
    assert json_duplicate_line(written.text) == 1


def test_of_a_key_that_stands_twice_the_second_is_found() -> None:
    text = '{"a": {"b": 1,\n"c": {"b": 2}},\n"b": 3, "d":\n[{"b": 1}, {"b": 1,\n"\\u0062": 2}]}'
    assert json.loads(text)["d"][1] == {"b": 2}
    assert json_duplicate_line(text) == 5
    assert json_line(text, ("d", 1, "b")) == 5
    assert json_line(text, ("d", 0, "b")) == 4


TOML = '''# a comment with [default] in it
top = 1
[default]
"quoted key" = 1
text = """
[file]
minimumweight = 1
"""
list = [
  1, # one
  2,
]
after = 1
dotted.key."x y" = 1
[default.people]
Bob = { fingerprint = "AB", weight = 1 }
Sam.weight = 2
[default.people.Eve]
weight = 3

[[tables]]
a = 1
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((), 1),
        (("top",), 2),
        (("default",), 3),
        (("default", "quoted key"), 4),
        (("default", "text"), 5),
        (("default", "list"), 9),
        (("default", "after"), 13),
        (("default", "dotted"), 14),
        (("default", "dotted", "key", "x y"), 14),
        (("default", "people"), 15),
        (("default", "people", "Bob", "weight"), 16),
        (("default", "people", "Sam", "weight"), 17),
        (("default", "people", "Eve"), 18),
        (("default", "people", "Eve", "weight"), 19),
        (("default", "people", "Eve", "fingerprint"), 18),
        (("default", "people", "Ann"), 15),
        (("tables",), 21),
        (("tables", "a"), 21),
        (("nothing",), 1),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_key_of_a_toml_document_is_found_on_its_line(place: Place, line: int, end: str) -> None:
    text = TOML.replace("\n", end)
    tomllib.loads(text)
    assert toml_line(text, place) == line


def test_a_toml_document_without_a_last_line_feed_has_lines_too() -> None:
    assert toml_line("a = 1\nb = 2", ("b",)) == 2
    assert toml_line("", ("b",)) == 1
