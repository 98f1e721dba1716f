"""The evaluator: three-valued logic, the caps on a hostile tree, errors at a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadTarget
from investigator.protocol.target import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_PATTERNS,
    Condition,
    NoVerdict,
    both,
    judge,
    parse_condition,
)

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
OS = ["column", "os"]
PID = ["column", "pid"]
TRUTHS = {True: ["bool", True], False: ["bool", False], None: ["null", "bool"]}


def verdict(tree: Any, **row: Any) -> bool | None:
    return judge(parse_condition(tree), row, NOW)


def texts() -> st.SearchStrategy[Any]:
    leaf = st.sampled_from(
        [OS, ["column", "name"], ["null", "text"], ["->>", ["column", "tags"], ["text", "k"]], ["cast", "text", PID]]
    ) | st.sampled_from(["", "a", "b", "linux"]).map(lambda text: ["text", text])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["lower", "upper"]), inner).map(list),
            st.tuples(st.sampled_from(["||", "nullif", "coalesce"]), inner, inner).map(list),
        ),
        max_leaves=4,
    )


def numbers() -> st.SearchStrategy[Any]:
    leaf = st.sampled_from([PID, ["null", "int4"]]) | st.integers(-(1 << 31), 1 << 31).map(lambda n: ["int", n])
    return st.recursive(
        leaf, lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "/", "%"]), inner, inner).map(list), max_leaves=3
    )


def conditions() -> st.SearchStrategy[Any]:
    comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "is distinct"])
    leaf = st.one_of(
        st.sampled_from(list(TRUTHS.values())),
        *(st.tuples(comparisons, kind(), kind()).map(list) for kind in (texts, numbers)),
        *(
            st.tuples(st.sampled_from(["between", "between symmetric", "in"]), kind(), kind(), kind()).map(list)
            for kind in (texts, numbers)
        ),
        st.tuples(st.just("like"), texts(), st.sampled_from(["%", "a%", "_", "%i_u%"]).map(lambda p: ["text", p])).map(
            list
        ),
        st.tuples(st.just("~"), texts(), st.sampled_from(["a", "^l", "x$"])).map(list),
        st.tuples(st.just("is null"), texts() | numbers()).map(list),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["and", "or"]), inner, inner).map(list),
            st.tuples(st.sampled_from(["not", "is null", "is true", "is false"]), inner).map(list),
        ),
        max_leaves=6,
    )


def rows() -> st.SearchStrategy[dict[str, Any]]:
    text = st.sampled_from(["", "a", "b", "linux", "Linux"])
    return st.fixed_dictionaries(
        {},
        optional={
            "os": text,
            "name": text,
            "pid": st.integers(-5, 5),
            "tags": st.just({}) | text.map(lambda t: {"k": t}),
        },
    )


def said(tree: Any, row: dict[str, Any]) -> bool | str | None:
    try:
        return judge(parse_condition(tree), row, NOW)
    except NoVerdict:
        return "error"


@pytest.mark.parametrize("one", TRUTHS)
@pytest.mark.parametrize("other", TRUTHS)
def test_and_or_follow_sqls_table(one: bool | None, other: bool | None) -> None:
    both_true = False if False in (one, other) else None if None in (one, other) else True
    either = True if True in (one, other) else None if None in (one, other) else False
    assert verdict(["and", TRUTHS[one], TRUTHS[other]]) is both_true
    assert verdict(["or", TRUTHS[one], TRUTHS[other]]) is either


@given(conditions(), rows())
def test_not_turns_true_and_false_and_leaves_unknown(tree: Any, row: dict[str, Any]) -> None:
    turned = {True: False, False: True, None: None, "error": "error"}
    assert said(["not", tree], row) == turned[said(tree, row)]


@given(conditions(), conditions(), rows())
def test_de_morgan_holds_where_no_row_ends_in_an_error(one: Any, other: Any, row: dict[str, Any]) -> None:
    if "error" not in (said(one, row), said(other, row)):
        assert said(["not", ["and", one, other]], row) is said(["or", ["not", one], ["not", other]], row)


@given(conditions(), rows())
def test_a_tree_means_the_same_after_json(tree: Any, row: dict[str, Any]) -> None:
    assert said(orjson.loads(orjson.dumps(tree)), row) == said(tree, row)


@given(conditions(), rows())
def test_between_is_what_its_two_comparisons_say(tree: Any, row: dict[str, Any]) -> None:
    value, low, high = ["cast", "int4", tree], ["int", 0], ["cast", "int4", ["is null", tree]]
    assert said(["between", value, low, high], row) == said(["and", [">=", value, low], ["<=", value, high]], row)
    turned = ["or", ["between", value, low, high], ["between", value, high, low]]
    assert said(["between symmetric", value, low, high], row) == said(turned, row)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
        | st.sampled_from(["and", "or", "not", "=", "column", "os", "text", "cast", "int4", "~", "in", "like", "->>", "#>>", "interval", "now"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=12,
    )
)  # fmt: skip
def test_rubbish_is_a_bad_target_and_nothing_else(tree: Any) -> None:
    try:
        parse_condition(tree)
    except BadTarget as error:
        if "\n" in str(error):
            pytest.fail(f"more than one line: {error}")


@pytest.mark.parametrize(
    "tree",
    [
        ["and"],
        ["and", ["bool", True]],
        ["text", "a"],
        ["=", OS],
        ["=", OS, ["int", 5]],
        ["=", OS, ["text", "a"], ["text", "b"]],
        ["=", ["column", "tags"], ["column", "tags"]],
        ["column", "password"],
        ["column", ["os"]],
        ["is true", OS],
        ["like", OS, ["int", 5]],
        ["~", OS, "a("],
        ["~", OS, ["text", "a"]],
        ["~", OS, "a\0"],
        ["=", OS, ["text", "\ud800"]],
        ["in", OS],
        ["=", PID, ["int", True]],
        ["=", PID, ["int", 1 << 63]],
        ["=", ["now"], ["timestamptz", "tomorrow"]],
        ["=", ["cast", "interval", ["text", "1 day"]], ["interval", 1 << 31, 0, 0]],
        ["is null", ["cast", "jsonb", OS]],
        ["is null", ["cast", "interval", PID]],
        ["is null", ["#>>", ["column", "tags"], "a"]],
        ["is null", ["coalesce", OS, PID]],
        ["no such kind", OS],
        {"and": []},
        "os = 'linux'",
        None,
    ],
)
def test_a_tree_that_says_nothing_sensible_is_refused(tree: Any) -> None:
    with pytest.raises(BadTarget):
        parse_condition(tree)


def test_trees_that_would_cost_too_much_are_refused() -> None:
    deep: Any = ["bool", True]
    for _ in range(MAX_DEPTH):
        deep = ["not", deep]
    for tree in (
        deep,
        ["or", *[["bool", True]] * MAX_NODES],
        ["=", OS, ["text", "x" * 40_000]],
        ["or", *[["~", OS, "a"]] * (MAX_PATTERNS + 1)],
        ["~", OS, "((a{1000}){1000}){1000}"],
    ):
        with pytest.raises(BadTarget):
            parse_condition(tree)


def test_a_deep_json_bomb_is_refused_without_recursing_into_it() -> None:
    bomb: Any = []
    for _ in range(100_000):
        bomb = ["not", bomb]
    with pytest.raises(BadTarget):
        parse_condition(bomb)


@pytest.mark.parametrize("kind", ["between", "between symmetric"])
def test_nested_betweens_work_their_value_out_once(kind: str) -> None:
    tree: Any = ["is null", OS]
    for _ in range(MAX_DEPTH - 3):  # twice each would be 2 ** 61
        tree = [kind, tree, ["bool", False], ["bool", True]]
    assert verdict(tree, os="linux") is True


def test_nested_nullif_and_in_work_their_value_out_once() -> None:
    tree: Any = OS
    for _ in range(MAX_DEPTH - 3):
        tree = ["nullif", tree, ["text", "x"]]
    assert verdict(["is null", tree], os="linux") is False
    tree = ["is null", OS]
    for _ in range(MAX_DEPTH - 3):
        tree = ["in", tree, ["is null", OS], ["bool", True]]
    assert verdict(tree, os="linux") is not None


def test_a_cast_that_fails_at_a_row_is_an_error_and_not_an_answer() -> None:
    condition = parse_condition(["=", ["cast", "int4", ["->>", ["column", "tags"], ["text", "n"]]], ["int", 5]])
    assert judge(condition, {"tags": {"n": "5"}}, NOW) is True
    assert judge(condition, {"tags": {}}, NOW) is None
    with pytest.raises(NoVerdict, match="invalid input syntax for type integer: 'abc'"):
        judge(condition, {"tags": {"n": "abc"}}, NOW)


def test_and_stops_before_the_cast_that_would_fail() -> None:
    number = ["->>", ["column", "tags"], ["text", "n"]]
    condition = parse_condition(["and", ["~", number, "^[0-9]+$"], [">", ["cast", "int4", number], ["int", 4]]])
    assert judge(condition, {"tags": {"n": "abc"}}, NOW) is False
    assert judge(condition, {"tags": {"n": "5"}}, NOW) is True


@pytest.mark.parametrize(
    "row",
    [
        {"pid": "5"},
        {"pid": True},
        {"pid": 1 << 31},
        {"os": 5},
        {"os": b"linux"},
        {"starttime": 5},
        {"starttime": "soon"},
        {"starttime": datetime(2026, 1, 1)},  # noqa: DTZ001  # that it has no zone is the point
        {"tags": "k=v"},
        {"environment": 5},
        {"os": "\ud800"},
    ],
)
def test_a_row_with_a_wrong_type_is_one_clear_error(row: dict[str, Any]) -> None:
    tree = [
        "or",
        ["=", PID, ["int", 5]],
        ["~", OS, "nothing"],
        ["=", ["column", "starttime"], ["now"]],
        ["=", ["->>", ["column", "tags"], ["text", "k"]], ["text", "v"]],
        ["=", ["->>", ["column", "environment"], ["text", "k"]], ["text", "v"]],
    ]
    with pytest.raises(NoVerdict) as error:
        judge(parse_condition(tree), row, NOW)
    assert "\n" not in str(error.value)


def test_times_may_be_texts_or_datetimes_of_any_zone() -> None:
    condition = parse_condition(["=", ["column", "starttime"], ["timestamptz", "2026-01-01T00:00:00Z"]])
    zoned = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    for value in ("2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", zoned, zoned.astimezone(UTC)):
        assert judge(condition, {"starttime": value}, NOW) is True


def test_now_is_the_judges_clock_each_time() -> None:
    condition = parse_condition([">", ["column", "heartbeattime"], ["-", ["now"], ["interval", 0, 0, 60_000_000]]])
    row = {"heartbeattime": NOW - timedelta(seconds=59)}
    assert judge(condition, row, NOW) is True
    assert judge(condition, row, NOW + timedelta(seconds=1)) is False
    assert judge(condition, row, NOW) is True


def test_found_asks_the_ledger_and_nothing_is_found_without_one() -> None:
    condition = parse_condition(["and", ["found", "12"], ["not", ["notfound", "12"]]])
    outcomes = {("12", True)}
    assert judge(condition, {}, NOW) is False
    assert judge(condition, {}, NOW, lambda action, found: (action, found) in outcomes) is True
    outcomes.clear()
    assert judge(condition, {}, NOW, lambda action, found: (action, found) in outcomes) is False


def test_json_null_is_no_sql_null_until_it_is_a_text() -> None:
    row = {"environment": {"a": None, "b": [None, {"c": 1.5}]}}
    environment = ["column", "environment"]
    assert verdict(["is null", ["->", environment, ["text", "a"]]], **row) is False
    assert verdict(["is null", ["->>", environment, ["text", "a"]]], **row) is True
    assert verdict(["is null", ["->", environment, ["text", "missing"]]], **row) is True
    assert verdict(["=", ["cast", "text", ["->", environment, ["text", "a"]]], ["text", "null"]], **row) is True
    assert verdict(["=", ["->>", environment, ["text", "b"]], ["text", '[null,{"c":1.5}]']], **row) is True
    assert verdict(["=", ["#>>", environment, ["b", "-1", "c"]], ["text", "1.5"]], **row) is True


def test_only_the_parser_makes_conditions() -> None:
    with pytest.raises(TypeError):
        Condition(["bool", True], _root=None, _by=None)  # type: ignore[arg-type]


def test_both_keeps_an_or_within_its_own_parentheses() -> None:
    either = ["or", ["=", OS, ["text", "a"]], ["=", OS, ["text", "b"]]]
    tree = both(["found", "12"], either)
    assert tree == ["and", ["found", "12"], either]
    assert both(["bool", True], either) == either
    assert verdict(tree, os="b") is False
