"""What the file module takes, from JSON and from flags, and what it refuses: one line, with the parameter's name."""

from typing import Any

import msgspec
import pytest

from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules import get_module
from investigator.modules.file import MODULE
from investigator.modules.interface import load_parameters


def load(search: Any, *, local: Any = False, label: Any = "s1") -> Any:
    return load_parameters(MODULE, {"searches": {label: search}}, local=local)


def test_the_catalogue_has_it() -> None:
    assert get_module("file") is MODULE


def test_no_search_at_all_is_valid() -> None:
    assert load_parameters(MODULE, {"searches": {}}).searches == {}


def test_only_paths_are_required_and_absent_options_are_false_and_without_limit() -> None:
    options = load({"paths": ["/srv"]}).searches["s1"].options
    assert (options.matchall, options.macroal, options.maxdepth, options.matchlimit, options.maxerrors) == (
        False,
        False,
        0,
        0,
        0,
    )


def test_null_counts_as_absent_as_mig_writes_it() -> None:
    lists = ["contents", "names", "sizes", "modes", "mtimes", "md5", "sha1", "sha2", "sha3", "regexes"]
    search = load(
        {"paths": ["/srv"], **dict.fromkeys(lists), "options": {"mismatch": None, "matchlimit": None}}
    ).searches["s1"]
    assert all(getattr(search, name) == [] for name in lists)
    assert load({"paths": ["/srv"], "options": None}).searches["s1"].options.mismatch == []


def test_whole_floats_are_numbers_as_in_json() -> None:
    assert load({"paths": ["/srv"], "options": {"maxdepth": 3.0}}).searches["s1"].options.maxdepth == 3


REFUSED = [
    ({}, "searches.s1.paths: a search needs at least one path"),
    ({"paths": None}, "searches.s1.paths: a search needs at least one path"),
    ({"paths": []}, "searches.s1.paths: a search needs at least one path"),
    ({"paths": [""]}, "searches.s1.paths: '' is no path"),
    ({"paths": ["/a\0b"]}, "is no path"),
    ({"paths": ["srv"]}, "searches.s1.paths: 'srv' is relative"),
    ({"paths": "/srv"}, "Expected `array`".replace("`", "'")),
    ({"paths": ["/srv"], "names": [""]}, "searches.s1.names: an empty value"),
    ({"paths": ["/srv"], "nmaes": ["x"]}, "did you mean 'names'"),
    ({"paths": ["/srv"], "options": {"matchal": True}}, "did you mean 'matchall'"),
    ({"paths": ["/srv"], "options": {"matchall": "yes"}}, "searches[...].options.matchall"),
    ({"paths": ["/srv"], "options": {"matchlimit": -1}}, "matchlimit"),
    ({"paths": ["/srv"], "options": {"maxdepth": 1.5}}, "maxdepth"),
    ({"paths": ["/srv"], "options": {"mismatch": ["contents"]}}, "mismatch"),
    ({"paths": ["/srv"], "names": ["("]}, "searches.s1.names: regular expression '(' does not compile: missing )"),
    ({"paths": ["/srv"], "names": ["!("]}, "searches.s1.names: regular expression '(' does not compile"),
    ({"paths": ["/srv"], "contents": ["a(?=b)"]}, "searches.s1.contents: regular expression"),
    ({"paths": ["/srv"], "modes": ["["]}, "searches.s1.modes: regular expression"),
    *(({"paths": ["/srv"], "sizes": [bad]}, f"searches.s1.sizes: {bad!r} is no size") for bad in ("<k", "1x", "=1", ">", "-1", "1.5k", "9223372036854775808", "8388608t", "1 k", "!1")),
    *(({"paths": ["/srv"], "mtimes": [bad]}, f"searches.s1.mtimes: {bad!r} is no period") for bad in ("<d", "2d", "<2s", "<2", "=2d", "<106752d", "!<2d", "<-2d")),
    *(({"paths": ["/srv"], kind: ["ab" * size]}, f"searches.s1.{kind}: ") for kind, size in (("md5", 20), ("sha1", 16), ("sha2", 20), ("sha2", 28), ("sha3", 20))),
    ({"paths": ["/srv"], "md5": ["g" * 32]}, "is no md5 in hex"),
]  # fmt: skip


@pytest.mark.parametrize(("search", "says"), REFUSED)
def test_what_cannot_run_is_refused_in_one_line_that_names_the_parameter(search: Any, says: Any) -> None:
    with pytest.raises(BadInput) as caught:
        load(search)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["", "x" * 65, "a\nb"])
def test_a_label_has_up_to_64_characters_and_no_newline(label: Any) -> None:
    with pytest.raises(BadParameters, match="label"):
        load({"paths": ["/srv"]}, label=label)
    assert load({"paths": ["/srv"]}, label="any thing: éß " * 4)


@pytest.mark.parametrize("path", ["/srv", r"C:\Windows\System32", "C:/Windows", r"\\host\share\x"])
def test_a_path_that_is_absolute_on_some_platform_may_be_sent(path: Any) -> None:
    assert load({"paths": [path]})


def test_a_relative_path_is_for_this_machine_only() -> None:
    assert load({"paths": ["srv", "."]}, local=True)


@pytest.mark.parametrize(
    ("kind", "digits"),
    [("md5", 32), ("sha1", 40), *(("sha2", n) for n in (64, 96, 128)), *(("sha3", n) for n in (56, 64, 96, 128))],
)
def test_hashes_are_hex_in_any_case_of_the_lengths_that_exist(kind: Any, digits: Any) -> None:
    assert load({"paths": ["/srv"], kind: ["aB" * (digits // 2)]})


@pytest.mark.parametrize("value", ["<106751d", ">2562047h", "<1m", ">0d"])
def test_periods_up_to_gos_longest_are_taken(value: Any) -> None:
    assert load({"paths": ["/srv"], "mtimes": [value]})


def test_a_regular_expression_says_where_it_breaks() -> None:
    with pytest.raises(BadRegex) as caught:
        load({"paths": ["/srv"], "names": ["ab)"]})
    assert caught.value.pattern == "ab)"


def test_flags_become_one_search_called_s1() -> None:
    made = MODULE.from_flags({"paths": ["/etc"], "names": ["^a"], "options": {"matchall": True, "maxdepth": 1000}})
    assert made == {
        "searches": {"s1": {"paths": ["/etc"], "names": ["^a"], "options": {"matchall": True, "maxdepth": 1000}}}
    }
    assert load_parameters(MODULE, made)


@pytest.mark.parametrize("matchall", [True, False])
def test_matchany_wins_over_matchall(matchall: Any) -> None:
    made = MODULE.from_flags({"paths": ["/etc"], "options": {"matchall": matchall, "matchany": True}})
    assert made["searches"]["s1"]["options"] == {"matchall": False}


def test_verbose_asks_the_worker_to_talk() -> None:
    made = MODULE.from_flags({"paths": ["/etc"], "options": {"verbose": True, "matchany": False}})
    assert made["searches"]["s1"]["options"] == {"debug": "print"}


def test_every_flag_of_mig_is_declared_with_the_command_lines_default() -> None:
    declared = {}

    def walk(info: Any) -> None:
        for item in info.fields:
            kind = item.type
            while isinstance(kind, msgspec.inspect.Metadata):
                if kind.extra and "flag" in kind.extra:
                    declared[kind.extra["flag"]] = kind.extra["default"]
                kind = kind.type
            if isinstance(kind, msgspec.inspect.StructType):
                walk(kind)

    walk(msgspec.inspect.type_info(MODULE.spec.flags))
    set_by_default = {"matchall": True, "maxdepth": 1000, "matchlimit": 1000, "maxerrors": 30}
    others = (
        "path name content size mode mtime md5 sha1 sha2 sha3 mismatch matchany macroal returnsha256 decompress verbose"
    )
    assert declared == set_by_default | dict.fromkeys(others.split())
