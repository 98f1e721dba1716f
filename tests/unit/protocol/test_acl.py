"""Weights: counted once a certificate, summed, by the module's own entry or the default, never both; and ACLs that are
refused with the line that is wrong.
"""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.modules import MODULES
from investigator.protocol.acl import CANCEL, DEFAULT, MAX_SIGNATURE_AGE, Acl, Format, acl_format, parse_acl
from signed import ALICE, BOB, CAROL, MALLORY, entry, fingerprint, rules

PEOPLE = ("alice", "bob", "carol")
HERE: dict[str, Any] = {"modules": ("agentdestroy", "file", "netstat"), "keys": (ALICE, BOB, CAROL)}
TOML = f"""\
# who may ask what
maxsignatureage_s = 3600

[default]
minimumweight = 2

[default.investigators.Bob]
fingerprint = "{BOB}"
weight = 2

[default.investigators.Alice]
fingerprint = "{ALICE.lower()}"
weight = 1

[cancel]
minimumweight = 1
investigators = {{ Carol = {{ fingerprint = "{CAROL}", weight = 1 }} }}

[file]
minimumweight = 1
[file.investigators]
Alice = {{ fingerprint = "{ALICE}", weight = 1 }}
"""
JSON = f"""{{
  "maxsignatureage_s": 3600,
  "default": {{
    "minimumweight": 2,
    "investigators": {{
      "Bob": {{
        "fingerprint": "{BOB}",
        "weight": 2
      }},
      "Alice": {{"fingerprint": "{ALICE.lower()}",
                 "weight": 1}}
    }}
  }},
  "cancel": {{"minimumweight": 1, "investigators": {{
    "Carol": {{"fingerprint": "{CAROL}", "weight": 1}}}}}},
  "file": {{
    "minimumweight": 1,
    "investigators": {{"Alice": {{"fingerprint": "{ALICE}", "weight": 1}}}}
  }}
}}
"""


def read(text: str, form: Format) -> Acl:
    return parse_acl(text.encode(), form=form, what=f"acl.{form}", **HERE)


def complaint(text: str, form: Format) -> str:
    with pytest.raises(BadInput) as caught:
        read(text, form)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(st.binary(), st.sampled_from(["json", "toml"]))
def test_any_bytes_are_an_acl_or_bad_input(text: bytes, form: Format) -> None:
    with pytest.raises(BadInput):
        parse_acl(text, form=form, **HERE)


@given(
    st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 5), min_size=1),
    st.integers(1, 8),
    st.lists(st.sampled_from((ALICE, BOB, CAROL, MALLORY))),
)
def test_an_operation_may_run_when_the_distinct_signers_reach_the_minimum(
    weights: dict[str, int], minimum: int, signers: list[str]
) -> None:
    if sum(weights.values()) < minimum:
        with pytest.raises(BadInput, match="cannot be reached"):
            rules(default=entry(minimum, **weights))
        return
    reached = sum(weight for name, weight in weights.items() if fingerprint(name) in signers)
    acl = rules(default=entry(minimum, **weights))
    shortages = acl.shortages(["file"], signers)
    assert (not shortages) == (reached >= minimum)
    assert all((one.need, one.got, one.missing) == (minimum, reached, minimum - reached) for one in shortages)
    assert acl.weigh("file", signers) == acl.weigh("file", [*signers, *reversed(signers)])


@given(
    st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 5), min_size=1),
    st.integers(1, 5),
    st.sets(st.sampled_from((ALICE, BOB, CAROL, MALLORY))),
    st.sampled_from((ALICE, BOB, CAROL, MALLORY)),
)
def test_one_more_signer_never_takes_a_right_away(
    weights: dict[str, int], minimum: int, signers: set[str], more: str
) -> None:
    acl = rules(default=entry(min(minimum, max(sum(weights.values()), 1)), **{**weights, "alice": 5}))
    if not acl.shortages(["file"], signers):
        assert not acl.shortages(["file"], signers | {more})


def test_a_modules_entry_replaces_the_default_and_nothing_is_merged() -> None:
    acl = rules(default=entry(1, alice=1), agentdestroy=entry(2, bob=1, carol=1))
    assert not acl.shortages(["file"], [ALICE])
    assert acl.shortages(["agentdestroy"], [ALICE, BOB])
    assert not acl.shortages(["agentdestroy"], [BOB, CAROL])
    assert [one.module for one in acl.shortages(["file", "agentdestroy"], [ALICE])] == ["agentdestroy"]


def test_ending_agents_needs_everybody_of_the_default_together_or_an_entry_of_its_own() -> None:
    acl = rules(default=entry(1, alice=1, bob=2, carol=0))
    assert not acl.shortages(["file"], [ALICE])
    (shortage,) = acl.shortages(["file", "agentdestroy"], [BOB])
    assert str(shortage).startswith(
        "permission denied for operation agentdestroy, insufficient signatures weight (need 3, got 2)"
    )
    assert str(shortage).endswith("1 missing, since it has no entry of its own")
    assert not acl.shortages(["agentdestroy"], [ALICE, BOB])
    assert not rules(default=entry(2, alice=1, bob=1), agentdestroy=entry(1, bob=1)).shortages(["agentdestroy"], [BOB])
    assert rules(file=entry(1, alice=1)).shortages(["agentdestroy"], [ALICE])


def test_cancelling_has_an_entry_of_its_own_or_the_default() -> None:
    assert rules(default=entry(2, alice=1, bob=1)).shortages([CANCEL], [ALICE])
    assert not rules(default=entry(2, alice=1, bob=1), cancel=entry(1, alice=1)).shortages([CANCEL], [ALICE])


def test_without_a_default_an_unlisted_module_runs_for_nobody() -> None:
    acl = rules(file=entry(1, alice=1))
    (shortage,) = acl.shortages(["netstat"], [ALICE, BOB, CAROL])
    assert str(shortage).endswith("; the ACL has no entry for it and no default")
    assert not acl.shortages(["file"], [ALICE])


BOB_ALONE = "permission denied for operation file, insufficient signatures weight (need 3, got 2): "


@pytest.mark.parametrize(
    ("signers", "told"),
    [
        ([BOB], BOB_ALONE + "signed by bob (2); 1 missing"),
        ([BOB, MALLORY], BOB_ALONE + f"signed by bob (2), and by {MALLORY}, who has no weight here; 1 missing"),
        ([BOB, CAROL], BOB_ALONE + "signed by bob (2), and by carol, who has no weight here; 1 missing"),
        (
            [CAROL, MALLORY],
            BOB_ALONE.replace("got 2", "got 0")
            + f"signed by {', '.join(n for _, n in sorted([(CAROL, 'carol'), (MALLORY, MALLORY)]))}, "
            + "who have no weight here; 3 missing",
        ),
        ([], BOB_ALONE.replace("got 2", "got 0") + "nobody signed; 3 missing"),
    ],
)
def test_a_shortage_is_told_in_migs_words_then_who_signed_and_what_is_missing(signers: list[str], told: str) -> None:
    acl = rules(default=entry(3, alice=1, bob=2), netstat=entry(1, carol=1))
    assert str(acl.weigh("file", signers)) == told


def test_a_fingerprint_counts_in_either_case() -> None:
    assert not read(JSON, "json").shortages(["file"], [ALICE])
    assert not read(TOML, "toml").shortages(["netstat"], [ALICE, BOB])


def test_toml_says_the_same_as_json() -> None:
    json, toml = read(JSON, "json"), read(TOML, "toml")
    assert json.entries == toml.entries
    assert json.max_signature_age_s == toml.max_signature_age_s == 3600
    assert rules(default=entry(1, alice=1)).max_signature_age_s is None
    assert [acl_format(name) for name in ("acl.json", "acl.cfg", "acl.toml", "ACL.TOML")] == [
        "json",
        "json",
        "toml",
        "toml",
    ]


def test_no_module_is_called_like_a_setting_or_an_entry_that_is_none() -> None:
    assert not {DEFAULT, CANCEL, MAX_SIGNATURE_AGE} & set(MODULES)


def line_of(text: str, part: str, nth: int = 1) -> int:
    """The line of the nth occurrence of a part of the text."""
    at = -1
    for _ in range(nth):
        at = text.index(part, at + 1)
    return text.count("\n", 0, at) + 1


WRONG: list[tuple[str, tuple[str, str, str, int], tuple[str, str, str, int], str]] = [
    # what is wrong, then for each form: (old, new, where the complaint points, which occurrence); the complaint
    ("minimum 0", ('"minimumweight": 2', '"minimumweight": 0', '"minimumweight"', 1), ("minimumweight = 2", "minimumweight = 0", "minimumweight", 1), "default: minimumweight: Expected `int` >= 1"),
    ("minimum below 0", ('"minimumweight": 2', '"minimumweight": -2', '"minimumweight"', 1), ("minimumweight = 2", "minimumweight = -2", "minimumweight", 1), "default: minimumweight: Expected `int` >= 1"),
    ("minimum a text", ('"minimumweight": 2', '"minimumweight": "2"', '"minimumweight"', 1), ("minimumweight = 2", "minimumweight = '2'", "minimumweight", 1), "default: minimumweight: Expected `int`, got `str`"),
    ("unreachable", ('"minimumweight": 2', '"minimumweight": 4', '"minimumweight"', 1), ("minimumweight = 2", "minimumweight = 4", "minimumweight", 1), "default: minimumweight: 4 cannot be reached: all together have 3"),
    ("weight below 0", ('"weight": 2', '"weight": -1', '"weight"', 1), ("\nweight = 2", "\nweight = -1", "weight = -1", 1), "default: investigators: Bob: weight: Expected `int` >= 0"),
    ("weight with a fraction", ('"weight": 2', '"weight": 1.5', '"weight"', 1), ("\nweight = 2", "\nweight = 1.5", "weight = 1.5", 1), "default: investigators: Bob: weight: Expected `int`, got `float`"),
    ("weight out of bounds", ('"weight": 2', '"weight": 1e300', '"weight"', 1), ("\nweight = 2", "\nweight = 1e300", "weight = 1e300", 1), "default: investigators: Bob: weight: Expected `int`, got `float`"),
    ("no weight", (',\n        "weight": 2', "", '"Bob"', 1), ("\nweight = 2\n", "\n", "[default.investigators.Bob]", 1), "default: investigators: Bob: Object missing required field `weight`"),
    ("key id", (BOB, BOB[-16:], '"fingerprint"', 1), (BOB, BOB[-16:], "fingerprint", 1), "default: investigators: Bob: fingerprint: not 40 hexadecimal digits"),
    ("unknown key", (BOB, MALLORY, '"fingerprint"', 1), (BOB, MALLORY, "fingerprint", 1), f"default: investigators: Bob: fingerprint: no certificate of the keyring is {MALLORY}"),
    ("key twice", (BOB, ALICE, '"Alice"', 1), (BOB, ALICE, "fingerprint", 2), "default: investigators: Alice: fingerprint: Bob has the same fingerprint; its weight would count twice"),
    ("more", ('"minimumweight": 2', '"more": 1, "minimumweight": 2', '"more"', 1), ("minimumweight = 2", "minimumweight = 2\nmore = 1", "more", 1), "default: more: Object contains unknown field `more`"),
    ("unknown module", ('"file": {', '"flie": {', '"flie"', 1), ("[file]\nminimumweight = 1\n[file.investigators]", "[flie]\nminimumweight = 1\n[flie.investigators]", "[flie]", 1), "flie: there is no module of this name; did you mean 'file'?"),
    ("MIG's capitals", ('"file": {', '"File": {', '"File"', 1), ("[file]\nminimumweight = 1\n[file.investigators]", "[File]\nminimumweight = 1\n[File.investigators]", "[File]", 1), "File: there is no module of this name; did you mean 'file'?"),
    ("no people", ('"investigators": {{\n    "Carol"'.replace("{{", "{"), '"people": {\n    "Carol"', '"people"', 1), ("investigators = { Carol", "people = { Carol", "people", 1), "cancel: people: Object contains unknown field `people`"),
    ("an entry that is none", ('"maxsignatureage_s": 3600', '"netstat": 3600', '"netstat"', 1), ("maxsignatureage_s = 3600", "netstat = 3600", "netstat", 1), "netstat: Expected `object`, got `int`"),
    ("age too short", ("3600", "59", '"max', 1), ("3600", "59", "maxsig", 1), "maxsignatureage_s: Expected `int` >= 60"),
    ("age a text", ("3600", '"7d"', '"max', 1), ("3600", '"7d"', "maxsig", 1), "maxsignatureage_s: Expected `int`, got `str`"),
]  # fmt: skip


@pytest.mark.parametrize(("json", "toml", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_refused_with_its_line(
    json: tuple[str, str, str, int], toml: tuple[str, str, str, int], told: str
) -> None:
    for whole, form, (old, new, place, nth) in ((JSON, "json", json), (TOML, "toml", toml)):
        assert old in whole
        text = whole.replace(old, new, 1)
        said = complaint(text, "json" if form == "json" else "toml")
        assert said == f"acl.{form}, line {line_of(text, place, nth)}: {told.replace('`', chr(39))}"


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"maxsignatureage_s": 3600}'])
def test_an_acl_without_an_entry_is_refused(text: str) -> None:
    assert "line 1: " in complaint(text, "json")


def test_what_is_no_json_or_toml_at_all_is_refused_with_its_line() -> None:
    assert "line 5" in complaint(JSON.replace('    "investigators": {\n', '    "investigators" {\n', 1), "json")
    assert "line 8" in complaint(TOML.replace(f'fingerprint = "{BOB}"', "fingerprint =", 1), "toml")
    assert f"line {line_of(TOML, '[file]')}" in complaint(TOML.replace("[file]", "[default]", 1), "toml")


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    text = JSON.replace('"Alice": {', '"Bob": {', 1)
    line = line_of(text, '"Bob"', 2)
    assert complaint(text, "json") == f"acl.json, line {line}: 'Bob' stands twice in one object"
    text = TOML.replace("[default.investigators.Alice]", "[default.investigators.Bob]")
    assert f"line {line_of(text, '[default.investigators.Bob]', 2)}" in complaint(text, "toml")


def test_a_complaint_quotes_nothing_that_drives_a_terminal() -> None:
    text = orjson.dumps({"default": {"minimumweight": 1, "investigators": {"\x1b[2J": {"weight": 1}}}}).decode()
    assert complaint(text, "json").isprintable()


def test_a_large_acl_is_refused_before_it_is_read() -> None:
    assert "at most" in complaint(JSON + " " * (1 << 20), "json")
    assert "at most" in complaint(TOML + "\n" * (1 << 20), "toml")


def test_a_certificate_counts_once_however_often_it_signed() -> None:
    assert rules(default=entry(2, alice=1, bob=1)).shortages(["file"], [ALICE, ALICE, ALICE])
