"""Targets: against what a real PostgreSQL said, and what is refused, with its place."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.condition import compile_target, show_caret, with_outcome
from investigator.errors import BadTarget
from investigator.protocol.target import NoVerdict, judge, parse_condition, row_from_json

CORPUS = Path(__file__).parents[2] / "corpus" / "target"
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
LETTERS = {True: "t", False: "f", None: "n"}


def lines(name: str) -> list[Any]:
    return [orjson.loads(line) for line in (CORPUS / name).read_bytes().splitlines()]


def verdicts(target: str, rows: list[dict[str, Any]]) -> str:
    """A letter per row as in the recording, or nothing where the target is refused."""
    try:
        tree, _ = compile_target(target)
    except BadTarget:
        return ""
    condition = parse_condition(orjson.loads(orjson.dumps(tree)))
    said = ""
    for row in rows:
        try:
            said += LETTERS[judge(condition, row, NOW)]
        except NoVerdict:
            said += "e"
    return said


def test_every_condition_means_what_postgresql_said_or_is_refused() -> None:
    rows = [row_from_json(row) for row in lines("rows.ndjson")]
    count: Counter[str] = Counter()
    wrong = []
    for target, recorded in lines("postgres.ndjson"):
        ours = verdicts(target, rows)
        if recorded[0].isdigit():  # an SQLSTATE: refused, or an error at every row
            outcome = "wrong" if ours.strip("e") else "refused as well"
        elif not ours:
            outcome = "refused by us"
        elif ours == recorded:
            outcome = "same"
        else:  # at a row where one side has an error, the order of evaluation may differ
            clash = any(one != other and "e" not in (one, other) for one, other in zip(ours, recorded, strict=True))
            outcome = "wrong" if clash else "other errors"
        count[outcome] += 1
        if outcome == "wrong":
            wrong.append((target, recorded, ours))
    assert not wrong
    assert count["same"] > 1_600
    assert count["refused by us"] < 150
    assert count["other errors"] < 10


def test_what_migs_users_write_is_all_taken() -> None:
    text = (CORPUS / "conditions.txt").read_text(encoding="utf-8")
    first_part = text.split("# NULL and three-valued logic")[0].splitlines()
    targets = [line for line in first_part if line and not line.startswith("#")]
    assert len(targets) > 20
    for target in targets:
        compile_target(target)


SUBSELECT = (
    "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r "
    "WHERE commands.actionid = 12345 AND r#>>'{foundanything}' = '%s')"
)


def test_migs_subselect_becomes_a_question_to_the_agents_own_ledger() -> None:
    assert compile_target(SUBSELECT % "true")[0] == ["found", "12345"]
    assert compile_target(SUBSELECT % "false")[0] == ["notfound", "12345"]
    loose = "id in (select agentid from commands, json_array_elements(results) x where x->>'foundanything'='true' and actionid='ab12') or os='a'"
    assert compile_target(loose)[0] == ["or", ["found", "ab12"], ["=", ["column", "os"], ["text", "a"]]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("agentid", "id"), ("id IN", "name IN"), ("12345", "12345 OR true"), ("12345", "(SELECT 1)"), ("'true'", "true"), ("'true'", "'yes'"),
        ("= 12345", "> 12345"), ("commands,", "agents,"), ("'true')", "'true' LIMIT 1)"), ("AND r#>>'{foundanything}' = 'true'", ""),
        ("r#>>'{foundanything}' = 'true'", "actionid = 5"), ("12345", "'../x'"), ("12345", "1.5"),
    ],
)  # fmt: skip
def test_no_other_subselect_is_taken(old: str, new: str) -> None:
    with pytest.raises(BadTarget):
        compile_target((SUBSELECT % "true").replace(old, new))


def test_the_outcome_of_an_earlier_action_is_anded_to_the_whole_target() -> None:
    tree, _ = compile_target("os='a' OR os='b'")
    assert with_outcome(tree, "12", found=True) == ["and", ["found", "12"], tree]
    assert with_outcome(compile_target("all")[0], "12", found=False) == ["notfound", "12"]
    parse_condition(with_outcome(tree, "12", found=True))
    for name in ("", "a b", "x" * 65, "é"):
        with pytest.raises(BadTarget):
            with_outcome(tree, name, found=True)


def test_a_macro_stands_alone_and_holds_a_condition() -> None:
    macros = {"web": "name LIKE 'web%' OR tags->>'role'='web'", "every": "all", "web2": "web", "bad": "os ="}
    assert compile_target(" web ", macros)[0] == compile_target(macros["web"])[0]
    assert compile_target("every", macros)[0] == ["bool", True]
    assert compile_target("ALL")[0] == ["bool", True]
    for target in ("web2", "web AND true", "WEB"):
        with pytest.raises(BadTarget):
            compile_target(target, macros)
    with pytest.raises(BadTarget, match="macro 'bad'") as error:
        compile_target("bad", macros)
    assert show_caret(error.value) == "os =\n    ^"


@pytest.mark.parametrize(
    ("target", "said", "place"),
    [
        ("", "empty", 0),
        ("local", "this machine", 0),
        ("osx='a'", "did you mean os", 0),
        ("os='a' AND pid = 'x'", "invalid input syntax for type integer", 17),
        ("name = 5", "operator does not exist: text = integer", 5),
        ("environment = 'x'", "->> and #>> give texts", 12),
        ("os='a' AND", "the end", 10),
        ("os='a'; DROP TABLE agents", "one condition only", 6),
        ("os='a' -- x", "comments", 7),
        ("os=/*x*/'a'", "comments", 3),
        ("os='a", "not closed", 3),
        ("os=E'a'", "strings are written", 3),
        ("os=$1", "is not taken", 3),
        ("name ~ 'a''b('", "parentheses", 12),
        ("name LIKE 'a\\'", "escape", 10),
        ("os='a' AND 1/0 = 1", "division by zero", 12),
        ("pg_sleep(100) IS NULL", "pg_sleep", 0),
        ("os='\0'", "U+0000", 4),
        ("os='\ud800'", "surrogate", 4),
        ("os\u00a0='a'", "no SQL", 2),
        ("os='a' AND '5' = 5abc", "trailing junk", 18),
        ("a = b = c", "did not", 0),
        ("os = 'a' = true = false", "does not chain", 9),
    ],
)
def test_a_bad_target_says_what_and_where(target: str, said: str, place: int) -> None:
    if target == "a = b = c":  # the grammar comes before the columns
        said, place = "does not chain", 6
    with pytest.raises(BadTarget) as error:
        compile_target(target)
    assert said in str(error.value)
    assert error.value.position == place
    assert "\n" not in str(error.value)


def test_the_caret_stands_under_the_place_in_its_line() -> None:
    with pytest.raises(BadTarget) as error:
        compile_target("os = 'linux'\n\tAND nam = 'x'")
    assert show_caret(error.value) == " AND nam = 'x'\n     ^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    with pytest.raises(BadTarget) as error:
        compile_target("os = 'a' OR " * 100 + "nam = 'x'" + " OR os = 'b'" * 50)
    line, caret = show_caret(error.value).split("\n")
    assert len(line) == 100
    assert line[caret.index("^") :].startswith("nam = 'x'")


@pytest.mark.parametrize(
    "target",
    [
        "(" * 100_000, "(" * 1_000 + "os" + ")" * 1_000, "NOT " * 500 + "true", "x" * 10_000_000, "os" + "||os" * 500, "- " * 1_000 + "1",
        "os" + "::text" * 300, "os IN (" * 250, "lower(" * 300, "pid" + " BETWEEN 1 AND 2" * 100, "CAST(" * 300,
    ],
)  # fmt: skip
def test_a_target_that_is_huge_or_deep_is_refused_without_recursing(target: str) -> None:
    with pytest.raises(BadTarget):
        compile_target(target)


WORDS = [
    *(
        "os",
        "name",
        "pid",
        "tags",
        "environment",
        "starttime",
        "'linux'",
        "'5'",
        "5",
        "1.5",
        "(",
        ")",
        ",",
        "AND",
        "OR",
        "NOT",
        "=",
        "<>",
        "<",
    ),
    *(
        "IS",
        "NULL",
        "TRUE",
        "IN",
        "LIKE",
        "ILIKE",
        "BETWEEN",
        "~",
        "!~*",
        "->",
        "->>",
        "#>>",
        "||",
        "+",
        "-",
        "*",
        "::",
        "text",
        "int",
    ),
    *(
        "interval '1 day'",
        "now()",
        "lower(",
        ";",
        "--",
        "/*",
        "$1",
        "?",
        "SELECT",
        "CAST(",
        "AS",
        "DISTINCT",
        "FROM",
        "ESCAPE",
        '"',
        "'",
        "\\",
    ),
    *(".", "[", "]", "é", "\0", "\t", "\n"),
]


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=30))
def test_any_text_is_a_target_or_a_bad_target(text: str) -> None:
    try:
        tree, condition = compile_target(text)
    except BadTarget as error:
        line, caret = (show_caret(error) or "\n^").split("\n")
        if "\n" in str(error) or len(caret) > len(line) + 1:
            pytest.fail(f"{error!r}: {line!r} {caret!r}")
        return
    assert parse_condition(orjson.loads(orjson.dumps(tree))).tree == condition.tree
