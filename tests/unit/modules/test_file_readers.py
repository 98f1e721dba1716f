"""Many files at once: lanes for threads, and small files that are ruled out together."""

import gc
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.modules.file import readers, screening
from investigator.modules.file.checks import make_plan
from investigator.modules.file.parameters import Options, Search
from investigator.modules.file.readers import Job, Readers, tuned_interpreter
from investigator.modules.file.reading import BUFFER_BYTES, Facts, Reading
from investigator.modules.file.screening import Screen
from pattern_texts import FILLERS, PATTERNS, TEXTS

ALL = Options(matchall=True)


def job(path: Path, *plans: Any) -> Job:
    return Job(os.fsencode(path), path.stat(), False, Facts(), {plan: [] for plan in plans})  # noqa: FBT003 - positional in the dataclass


def plan(*contents: str, options: Options = ALL, **more: Any) -> Any:
    return make_plan("s1", Search(paths=["/"], contents=list(contents), options=options, **more))


def screen(*plans: Any, deadline_s: float = float("inf")) -> Screen:
    return Screen(plans, bytearray(BUFFER_BYTES), deadline_s)


def written(folder: Path, *contents: bytes) -> list[Path]:
    for number, content in enumerate(contents):
        (folder / f"f{number}").write_bytes(content)
    return [folder / f"f{number}" for number in range(len(contents))]


def left_of(jobs: list[Job], screening: Screen) -> list[str]:
    return sorted(os.fsdecode(one.path).rpartition("/")[2] for one in screening.left(jobs))


def test_files_without_a_candidate_need_no_reading_of_their_own(tmp_path: Path) -> None:
    asked = plan("needle")
    files = written(tmp_path, b"hay", b"a needle", b"hay\n", b"nee", b"dle\n", b"hay\n" * 9)
    jobs = [job(path, asked) for path in files]
    assert left_of(jobs, screen(asked)) == ["f1"]
    assert not any(one.hits or one.errors for one in jobs)


def test_what_is_ruled_out_is_known_for_other_links(tmp_path: Path) -> None:
    asked = plan("needle")
    first, *_ = jobs = [job(path, asked) for path in written(tmp_path, b"hay", b"hay too")]
    assert left_of(jobs, screen(asked)) == []
    assert first.facts.answers == {(False, "needle", False): False}
    Path(os.fsdecode(first.path)).unlink()
    assert left_of([first], screen(asked)) == []


def test_the_plans_of_a_file_are_all_asked(tmp_path: Path) -> None:
    one, other = plan("needle"), plan("hay")
    files = written(tmp_path, b"hay", b"needle", b"nothing", b"grass", b"seed", b"corn")
    jobs = [job(path, one, other) for path in files[:4]] + [job(path, one) for path in files[4:]]
    assert left_of(jobs, screen(one, other)) == ["f0", "f1"]


@pytest.mark.parametrize(
    "asked",
    [
        plan("!needle"),
        plan("needle", options=Options(matchall=False)),
        plan("needle", options=Options(matchall=True, macroal=True)),
        plan("needle", options=Options(matchall=True, decompress=True)),
        plan("needle", options=Options(matchall=True, mismatch=["content"])),
        plan(md5=["0" * 32]),
        plan(r"a\Cb"),
    ],
)
def test_plans_that_no_line_rules_out_are_left_alone(tmp_path: Path, asked: Any) -> None:
    jobs = [job(path, asked) for path in written(tmp_path, b"hay", b"hay")]
    assert left_of(jobs, screen(asked)) == ["f0", "f1"]


def test_one_pattern_that_is_missing_rules_out_what_asks_for_more(tmp_path: Path) -> None:
    asked = plan("!x", "needle", md5=["0" * 32])
    assert left_of([job(path, asked) for path in written(tmp_path, b"hay")], screen(asked)) == []


def test_files_that_are_no_small_plain_ones_are_left_to_be_read(tmp_path: Path) -> None:
    asked = plan("needle")
    empty, large, grown, gone, locked = written(
        tmp_path, b"", b"x" * (screening.SMALL_BYTES + 1), b"hay", b"hay", b"hay"
    )
    jobs = [job(path, asked) for path in (empty, large, grown, gone, locked)]
    grown.write_bytes(b"hay and more")
    gone.unlink()
    locked.unlink()
    locked.mkdir()
    assert left_of(jobs, screen(asked)) == ["f0", "f1", "f2", "f3", "f4"]


def test_after_the_deadline_nothing_is_ruled_out(tmp_path: Path) -> None:
    asked = plan("needle")
    assert left_of([job(path, asked) for path in written(tmp_path, b"hay")], screen(asked, deadline_s=0.0)) == ["f0"]


def test_where_most_files_are_candidates_they_are_read_once_from_then_on(tmp_path: Path) -> None:
    asked = plan("needle")
    jobs = [job(path, asked) for path in written(tmp_path, *[b"needle"] * 10, b"hay")]
    chosen = screen(asked)
    assert len(chosen.left(jobs)) == 10
    assert chosen.left(jobs) is jobs


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.lists(st.lists(TEXTS | FILLERS, max_size=3).map(b"\n".join), min_size=1, max_size=8))
def test_no_file_is_ruled_out_that_has_a_matching_line(tmp_path_factory: Any, pattern: Any, contents: Any) -> None:
    if pattern in ("", "!") or pattern.startswith("!"):
        return
    try:
        asked = plan(pattern)
    except BadRegex:
        return
    folder = tmp_path_factory.getbasetemp() / "screened"
    folder.mkdir(exist_ok=True)
    files = written(folder, *contents)
    left = left_of([job(path, asked) for path in files], screen(asked))
    judge = asked.patterns[pattern]
    for path, content in zip(files, contents, strict=True):
        whole = content if content.endswith(b"\n") or not content else content + b"\n"
        assert path.name in left or not judge.in_any(whole, 0, len(whole))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_all_jobs_come_back_whatever_their_size(tmp_path: Path, threads: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(readers, "LARGE_BYTES", 1000)
    asked = plan("needle")
    files = written(tmp_path, *[(b"hay\n" * (n * 7 % 600)) + (b"needle" if n % 5 == 0 else b"") for n in range(200)])
    working = Readers(plans=[asked], endless=lambda _: False, deadline_s=float("inf"), threads=threads)
    done = [one for path in files for one in working.submit(job(path, asked))]
    done += working.finish()
    working.close()
    assert len(done) == 200
    assert {one.path for one in done if one.hits} == {os.fsencode(path) for n, path in enumerate(files) if n % 5 == 0}


def test_threads_share_small_and_large_files() -> None:
    lanes = readers._Lanes(2)
    small, large = (_sized(10) for _ in range(2)), [_sized(readers.LARGE_BYTES + n) for n in range(3)]
    for one in large:
        lanes.put([one], large=True)
    for one in small:
        lanes.put([one], large=False)
    walking = lanes.take(None)
    assert walking == [large[2]], "while the caller walks, the one reader leaves small files"
    lanes.put(walking, large=True)
    lanes.caller_waits(2)
    first = lanes.take(walking)
    assert first is not None
    assert first[0].found.st_size == 10
    second = lanes.take(None)
    assert second == [large[2]], "one thread on small files is enough; the largest goes first"
    assert lanes.take(second) == [large[1]]
    lanes.close()
    taken = [lanes.take(first) for _ in range(3)]
    assert [batch and batch[0].found.st_size for batch in taken] == [10, readers.LARGE_BYTES, None]


def _sized(size: int) -> Job:
    return Job(b"/x", os.stat_result((0, 0, 0, 0, 0, 0, size, 0, 0, 0)), False, Facts(), {})  # noqa: FBT003 - see above


def test_the_interpreter_is_left_as_it_was() -> None:
    before = (sys.getswitchinterval(), gc.get_threshold())
    with tuned_interpreter():
        assert sys.getswitchinterval() < before[0]
    assert (sys.getswitchinterval(), gc.get_threshold()) == before


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_links_to_a_file_wait_for_the_one_that_is_read(tmp_path: Path, threads: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(readers, "LARGE_BYTES", 1000)
    monkeypatch.setattr(readers, "_WAITING_JOBS", 20)
    asked = plan("needle")
    files = written(tmp_path, b"hay\n" * 600 + b"needle", b"hay\n" * 600, b"needle", b"hay", b"")
    facts = {path: Facts() for path in files}
    working = Readers(plans=[asked], endless=lambda _: False, deadline_s=float("inf"), threads=threads)
    jobs = [replace(job(path, asked), facts=facts[path]) for _ in range(50) for path in files]
    read: list[bytes] = []
    original = Reading._open

    def counting(reading: Reading) -> bool:
        read.append(reading.path)
        return original(reading)

    monkeypatch.setattr(Reading, "_open", counting)
    done = [one for each in jobs for one in working.submit(each)]
    done += working.finish()
    working.close()
    assert sorted(map(id, done)) == sorted(map(id, jobs))
    hits = Counter(one.path for one in done if one.hits)
    assert hits == {os.fsencode(files[0]): 50, os.fsencode(files[2]): 50}
    assert max(Counter(read).values()) == 1
    assert all(each.followers is None for each in facts.values())
