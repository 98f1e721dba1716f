"""What modules find goes ahead in pieces: with the rest it is what one result would have been, for every module alike."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent.privacy import masked
from investigator.modules import findings as gathering
from investigator.modules import get_module, pkg, scribe
from investigator.modules.findings import Findings
from investigator.modules.interface import Context, load_parameters
from investigator.modules.packages import Inventory, Package
from investigator.modules.user import UserModule
from investigator.protocol.piece import joined
from investigator.protocol.result import MAX_PIECE_BYTES, PIECE_BYTES, Result

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
SMALL_BYTES = 700
PACKAGES = [Package(f"{name}{number:02}", "1.0", "dpkg", "all") for name in ("bash", "lib") for number in range(15)]


class Taker:
    """Takes what is handed over, as JSON, at once: the module goes on with its lists."""

    def __init__(self, *, at_most: int = MAX_PIECE_BYTES, grows: int = 1) -> None:
        self.pieces: list[Any] = []
        self.sizes: list[int] = []
        self._at_most = at_most
        self._grows = grows

    def __call__(self, elements: Any) -> bool:
        text = orjson.dumps(elements, default=msgspec.structs.asdict)
        if len(text) * self._grows > self._at_most:
            return False
        self.pieces.append(orjson.loads(text))
        self.sizes.append(len(text))
        return True


def whole_of(parts: list[Any]) -> Any:
    elements = None
    for part in orjson.loads(orjson.dumps(parts)):
        elements = joined(elements, part)
    return elements


def plain(result: Result) -> dict[str, Any]:
    shown: dict[str, Any] = orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))
    return shown


@contextlib.contextmanager
def some_packages(_folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    patch.setattr(pkg, "installed", lambda **_: Inventory(PACKAGES, [], complete=True))
    yield get_module("pkg"), {"pkgmatch": {"matches": ["."]}}


@contextlib.contextmanager
def a_policy(_folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    patch.setattr(scribe, "installed", lambda **_: Inventory(PACKAGES, [], complete=True))
    objects = [{"object": "all", "package": {"collectmatch": "^bash"}}, {"object": "no", "package": {"name": "no"}}]
    tests = [{"test": f"t{number}", "object": ("all", "no")[number % 2]} for number in range(12)]
    yield get_module("scribe"), {"scribedoc": {"objects": objects, "tests": tests}, "jsonoutput": True}


@contextlib.contextmanager
def people(folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    etc = folder / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("".join(f"u{number}:x:{90 - number}:1::/home/u:/bin/sh\n" for number in range(20)))
    (etc / "group").write_text("".join(f"g{number}:x:{90 - number}:u1,u2\n" for number in range(20)))
    yield UserModule(str(folder)), {"groups": ["^g"], "names": ["."], "options": {"matchall": False}}


@contextlib.contextmanager
def keys(folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "Ab" * 21
    for number in range(5):
        (folder / str(number)).mkdir()
        lines = "".join(f"ssh-ed25519 {key}{letter}\n" for letter in "AEIM")
        (folder / str(number) / "authorized_keys").write_text(lines)
    yield get_module("sshkey"), {"paths": [str(folder)]}


@contextlib.contextmanager
def marked_files(folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("yara_x")
    for number in range(20):
        (folder / f"f{number}").write_text("marked")
    rule = 'rule marked { strings: $a = "marked" condition: $a }'
    yield get_module("yara"), {"yara": rule, "filesearch": f"-path {folder} -name ."}


@contextlib.contextmanager
def sockets(_folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    address = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    with contextlib.ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server((address, 0))) for _ in range(8)]
        for server in servers:
            opened.enter_context(socket.create_connection(server.getsockname(), source_address=(address, 0)))
        ports = [str(server.getsockname()[1]) for server in servers]
        yield get_module("netstat"), {"connectedip": ["198.51.100.7", f"{address}/32"], "listeningport": ["1", *ports]}


@contextlib.contextmanager
def victims(folder: Path) -> Iterator[str]:
    program = folder / "victim"
    shutil.copy(shutil.which("sleep") or "", program)
    with contextlib.ExitStack() as started:
        for _ in range(6):
            victim = started.enter_context(subprocess.Popen([program, "1000"]))
            started.callback(victim.kill)
        yield f"^{program}$"


@contextlib.contextmanager
def processes(folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    with victims(folder) as name:
        search = {"exes": [name, "^no$"]}
        yield (
            get_module("process"),
            {"searches": {"all": {"exes": [name], "options": {"matchall": True}}, "any": search}},
        )


@contextlib.contextmanager
def mapped(folder: Path, _patch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    with victims(folder) as name:
        search = {"names": [name, "^no$"]}
        yield (
            get_module("memory"),
            {"searches": {"all": {"names": [name], "options": {"matchall": True}}, "any": search}},
        )


SORTED = [some_packages, a_policy, people, sockets, processes, mapped]
IN_ORDER_OF_WALK = [keys, marked_files]


@linux
@pytest.mark.parametrize("scene", [*SORTED, *IN_ORDER_OF_WALK], ids=lambda scene: str(scene.__name__))
def test_pieces_and_the_rest_are_the_whole(
    scene: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = Taker()
    with scene(tmp_path, monkeypatch) as (module, asked):
        parameters = load_parameters(module, asked)
        whole = plain(module.run(parameters, Context()))
        monkeypatch.setattr(gathering, "PIECE_BYTES", SMALL_BYTES)
        rest = plain(module.run(parameters, Context(hand_over=taker)))
    assert len(taker.pieces) > 1
    assert all(size <= SMALL_BYTES * 1.5 for size in taker.sizes[1:])  # the first names every list
    assert rest["foundanything"] == whole["foundanything"] is True
    assert rest["errors"] == whole["errors"]
    told = [*taker.pieces, rest["elements"]]

    def lines(elements: Any) -> list[str]:
        return list(module.lines({**whole, "elements": elements, "errors": None}, everything=False))

    assert sorted(line for part in told for line in lines(part)) == sorted(lines(whole["elements"]))
    together = whole_of(told)
    if scene in SORTED:
        assert orjson.dumps(together) == orjson.dumps(whole["elements"])  # the order of lists and of keys too
    hidden = [
        masked(module, Result(foundanything=True, success=True, elements=part), parameters).elements for part in told
    ]
    all_hidden = plain(masked(module, Result(elements=whole["elements"]), parameters))["elements"]
    assert sorted(map(repr, flat(whole_of(hidden)))) == sorted(map(repr, flat(all_hidden)))


def flat(value: Any) -> Iterator[Any]:
    """The items of all lists."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from flat(inner)
    elif isinstance(value, list):
        yield from value


@linux
@pytest.mark.parametrize("scene", [*SORTED, *IN_ORDER_OF_WALK], ids=lambda scene: str(scene.__name__))
def test_what_was_handed_over_counts_for_the_limit_and_what_does_not_fit_is_told(
    scene: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = Taker()
    monkeypatch.setattr(gathering, "PIECE_BYTES", SMALL_BYTES)
    with scene(tmp_path, monkeypatch) as (module, asked):
        parameters = load_parameters(module, asked)
        whole = plain(module.run(parameters, Context()))
        for name in ("_ROOM_BYTES", "_ERROR_ROOM_BYTES"):
            for place in [one for one in sys.modules if one.startswith("investigator.modules.")]:
                if hasattr(sys.modules[place], name):
                    monkeypatch.setattr(sys.modules[place], name, 0)
        room = len(orjson.dumps(whole["elements"])) * 2 // 3
        rest = plain(module.run(parameters, Context(hand_over=taker, result_bytes=room)))
    assert taker.pieces
    assert sum(taker.sizes) <= room + SMALL_BYTES
    assert 0 < len(list(flat(whole_of([*taker.pieces, rest["elements"]])))) < len(list(flat(whole["elements"])))
    assert any(text.startswith("warning: ") and "more" in text for text in rest["errors"])
    assert rest["foundanything"]


def test_a_result_that_can_hold_none_of_it_still_says_that_something_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scene in (some_packages, keys):
        with scene(tmp_path, monkeypatch) as (module, asked):
            result = plain(module.run(load_parameters(module, asked), Context(result_bytes=0)))
        assert result["foundanything"]
        assert not list(flat(result["elements"]))
        assert result["errors"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 900)), max_size=60), st.booleans(), st.integers(1, 3))
def test_whatever_is_found_is_told_once_and_in_order(found: list[tuple[int, int]], any_taken: bool, grows: int) -> None:
    taker = Taker(at_most=SMALL_BYTES * 2 if any_taken else 0, grows=grows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "PIECE_BYTES", SMALL_BYTES)
        findings = Findings(Context(hand_over=taker), room_bytes=0, beside={"form": True})
        slots = [findings.slot("a"), findings.slot("b", "x"), findings.slot("b", "y", nothing="none")]
        for number, (at, size) in enumerate(found):
            assert findings.add(slots[at], [number, "x" * size])
        rest = findings.rest()
    elements = whole_of([*taker.pieces, rest])
    lists = [elements["a"], elements["b"]["x"], elements["b"]["y"]]
    for at, items in enumerate(lists):
        wanted: list[Any] = [[number, "x" * size] for number, (where, size) in enumerate(found) if where == at]
        assert items == (wanted or (["none"] if at == 2 else None))
    assert list(elements) == ["a", "b", "form"]
    assert all(size <= SMALL_BYTES * 2 for size in taker.sizes)


def test_what_masking_makes_too_large_is_handed_over_in_halves() -> None:
    taker = Taker(grows=2)
    findings = Findings(Context(hand_over=taker), room_bytes=0)
    slot = findings.slot("found")
    for number in range(3 * PIECE_BYTES // 1000):
        findings.add(slot, f"{number:0990}")
    assert len(taker.pieces) == 6
    assert whole_of([*taker.pieces, findings.rest()])["found"] == [
        f"{number:0990}" for number in range(3 * PIECE_BYTES // 1000)
    ]


def test_many_lists_are_no_reason_to_keep_everything() -> None:
    taker = Taker()
    findings = Findings(Context(hand_over=taker), room_bytes=0)
    slots = [findings.slot("a-kind", f"{number:0100}") for number in range(5000)]
    for slot in slots[-3000:]:
        assert findings.add(slot, "x" * 100)
    assert len(taker.pieces) >= 2
    together = whole_of([*taker.pieces, findings.rest()])["a-kind"]
    assert len(together) == 5000
    assert [name for name, found in together.items() if found] == [f"{number:0100}" for number in range(2000, 5000)]
