"""Wheels for a zipapp: pip downloads the pinned ones by hash, whatever Python runs here, and builds what has none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name, parse_wheel_filename
from zipapp_target import pins_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from zipapp_target import Pin, Target

PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


class Wheelhouse:
    """The wheels in one folder; each is got once, for all targets that it fits."""

    def __init__(self, folder: Path, pins: str, *, build: Collection[str], without: Collection[str]) -> None:
        self._folder = folder
        self._pins = pins
        self._build = build
        self._without = without
        folder.mkdir()

    def wheels(self, target: Target) -> list[Path]:
        """All that the target takes, by name.

        Exits: there is no wheel for it, or none with a pinned hash.
        """
        pins = pins_of(self._pins, target, self._without)
        missing = [pin for pin in pins if self._found(pin, target) is None]
        for pins_to_get, get in (
            ([pin for pin in missing if pin.name in self._build], self._build_wheels),
            ([pin for pin in missing if pin.name not in self._build], self._download),
        ):
            if pins_to_get:
                get(pins_to_get, target)
        found = {pin: self._found(pin, target) for pin in pins}
        if absent := [pin.name for pin, wheel in found.items() if wheel is None]:
            sys.exit(f"{', '.join(absent)}: what pip got is not for CPython {target.version} on {target.platform.name}")
        return sorted(wheel for wheel in found.values() if wheel is not None)

    def add_project(self, source: Path) -> Path:
        """Build the project's own wheel."""
        folder = self._folder / "project"
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source, failure="the project")
        return next(folder.glob("*.whl"))

    def _found(self, pin: Pin, target: Target) -> Path | None:
        for path in sorted(self._folder.glob("*.whl")):
            if canonicalize_name(parse_wheel_filename(path.name)[0]) == pin.name and target.takes(path.name):
                return path
        return None

    def _download(self, pins: Sequence[Pin], target: Target) -> None:
        words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.version]
        for tag in target.platform.tags:
            words += ["--platform", tag]
        failure = f"no wheel for CPython {target.version} on {target.platform.name}"
        with _requirements(pins) as file:
            _pip("download", *words, "--no-deps", "--require-hashes", "-d", self._folder, "-r", file, failure=failure)

    def _build_wheels(self, pins: Sequence[Pin], target: Target) -> None:
        """From the pinned sources; with the build tools of this environment, which are pinned as well."""
        words = ["--no-deps", "--no-build-isolation", "--no-binary=:all:", "--require-hashes"]
        failure = f"cannot build {', '.join(pin.name for pin in pins)} for {target.platform.name}"
        with _requirements(pins) as file:
            _pip("wheel", *words, "--wheel-dir", self._folder, "-r", file, failure=failure)


@contextmanager
def _requirements(pins: Sequence[Pin]) -> Iterator[Path]:
    """A requirements file of those pins, while it is needed."""
    with tempfile.TemporaryDirectory(prefix="investigator-zipapp-") as folder:
        path = Path(folder, "requirements.txt")
        path.write_text("\n".join(pin.line for pin in pins))
        yield path


def _pip(*words: str | Path, failure: str) -> None:
    """Run it; if it fails, exit with its errors, else be silent."""
    done = subprocess.run([*PIP, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        sys.exit(f"{failure}: {errors[-1].removeprefix('ERROR: ') if errors else done.stdout + done.stderr}")


def files_of(wheel: Path) -> Iterator[tuple[str, bytes, int]]:
    """What a wheel installs, as (path below site-packages, bytes, mode); programs are in `bin`, where pip's --target puts them.

    Scripts that begin with `#!python` are left out: they would name the builder's Python.
    """
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            parts = PurePosixPath(entry.filename).parts
            if entry.filename.startswith("/") or ".." in parts:
                sys.exit(f"{wheel.name}: {entry.filename!r} leads out of it")
            program = False
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib", "scripts"):
                    continue
                program = parts[1] == "scripts"
                parts = ("bin", *parts[2:]) if program else parts[2:]
            data = archive.read(entry)
            if program and data[:2] == b"#!":
                continue
            yield "/".join(parts), data, 0o755 if program or entry.external_attr >> 16 & 0o100 else 0o644
