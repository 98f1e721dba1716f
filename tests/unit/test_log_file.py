"""A log file is turned at its size by whoever shares it, and loses no line by that."""

from __future__ import annotations

import logging
import multiprocessing
import resource
from pathlib import Path

import pytest

from investigator.log_file import LogFile


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, text, (), None)


def texts(folder: Path) -> list[str]:
    """The oldest first."""
    paths = sorted(folder.glob("log.*"), key=lambda path: -int(path.suffix[1:]))
    return [line for path in (*paths, folder / "log") for line in path.read_text().splitlines()]


def test_it_is_turned_at_its_size_and_keeps_so_many(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", max_bytes=100, keep=2)
    for number in range(100):
        log.emit(record(f"line {number:04d}"))
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert texts(tmp_path) == [f"line {number:04d}" for number in range(100 - len(texts(tmp_path)), 100)]
    assert log.lost == 0


def test_without_any_to_keep_it_begins_anew(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", max_bytes=20, keep=0)
    for number in range(5):
        log.emit(record(f"line {number:04d}"))
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert texts(tmp_path) == ["line 0004"]


def test_what_somebody_else_has_moved_away_is_opened_anew(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", max_bytes=1000, keep=2)
    log.emit(record("before"))
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.emit(record("after"))
    log.close()
    assert texts(tmp_path) == ["before", "after"]


def _write(path: Path, name: str, count: int) -> None:
    log = LogFile(path, max_bytes=2000, keep=50)
    for number in range(count):
        log.emit(record(f"{name} {number:04d}"))
    log.close()


def test_processes_that_share_it_lose_no_line_and_mix_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path / "log", name, 400)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    for name in ("a", "b"):
        own = [line for line in texts(tmp_path) if line.startswith(f"{name} ")]
        assert sorted(own) == [f"{name} {number:04d}" for number in range(400)]
    assert len(texts(tmp_path)) == 800


def _fill(path: Path) -> None:
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
    log = LogFile(path, max_bytes=1 << 20, keep=1)
    for number in range(20):
        log.emit(record(f"line {number:04d}"))
    assert log.lost >= 13
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def test_a_disk_that_is_full_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    filler = multiprocessing.get_context("spawn").Process(target=_fill, args=(tmp_path / "log",))
    filler.start()
    filler.join(60)
    assert filler.exitcode == 0
    assert (tmp_path / "log").read_text().splitlines()[:6] == [f"line {number:04d}" for number in range(6)]


def test_a_record_that_is_none_ends_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFile(tmp_path / "log", max_bytes=1000, keep=1)
    log.emit(logging.LogRecord("x", logging.INFO, "x.py", 1, "%d", ("no number",), None))
    log.emit(record("after"))
    log.close()
    assert texts(tmp_path) == ["after"]
    assert "Logging error" in capsys.readouterr().err
