"""The zipapp's archive: each file once, in a folder for the set of CPython versions that have it.

site-packages/…                 what all versions have: pure Python, wheels for the stable ABI, programs
site-packages-311/…             what 3.11 alone has: its compiled extensions
site-packages-313-314/…         what these two have
_bootstrap/<folder>.list        the files of a folder: mode, size, path
_bootstrap/built.py             per version: the hash that names all it gets, and the folders to get
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Contents = dict[str, tuple[bytes, int]]
"""Files by their path below site-packages: bytes, and mode."""

PACKAGES: Final = "site-packages"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the archive, and the cache tags of the versions that have what is in it."""

    name: str
    tags: tuple[str, ...]
    files: Contents

    def listing(self) -> str:
        """A line for each file: mode, size, path."""
        return "".join(f"{mode:o} {len(data)} {path}\n" for path, (data, mode) in self.files.items())

    def digests(self) -> str:
        """What the hash is made of that names a version: it covers all that is unpacked."""
        return "".join(
            f"{sha256(data).hexdigest()} {len(data)} {mode:o} {PACKAGES}/{path}\n"
            for path, (data, mode) in self.files.items()
        )


def divide(installed: dict[str, Contents]) -> list[Folder]:
    """Folders out of what each cache tag's `site-packages` holds; the same path may have other contents elsewhere."""
    have: dict[tuple[str, bytes, int], list[str]] = {}
    for tag, files in installed.items():
        for path, (data, mode) in files.items():
            have.setdefault((path, data, mode), []).append(tag)
    folders: dict[tuple[str, ...], Contents] = {tuple(installed): {}}
    for (path, data, mode), tags in sorted(have.items(), key=lambda item: item[0][0]):
        folders.setdefault(tuple(tags), {})[path] = (data, mode)
    return [
        Folder(PACKAGES if len(tags) == len(installed) else "-".join([PACKAGES, *map(_digits, tags)]), tags, files)
        for tags, files in sorted(folders.items(), key=lambda item: (-len(item[0]), item[0]))
    ]


def _digits(tag: str) -> str:
    return tag.removeprefix("cpython-")


def run_shiv(folders: Sequence[Folder], tree: Path, packed: Path, options: dict[str, Any]) -> None:
    """Have shiv pack the folders, with shiv.toml's options; uncompressed, since they are packed once more."""
    for folder in folders:
        for path, (data, _) in folder.files.items():
            place = tree / folder.name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    command = [sys.executable, "-m", "shiv", "--site-packages", str(tree), "--output-file", str(packed)]
    for name, value in options.items():
        if value is not False:
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    subprocess.run([*command, "--uncompressed"], check=True)


def exchange_bootstrap(packed: Path, finished: Path, folders: Sequence[Folder], bootstrap: dict[str, str]) -> None:
    """Copy shiv's archive, compressed, with our bootstrap and the lists of the files that it is to unpack."""
    with packed.open("rb") as raw, zipfile.ZipFile(packed) as old, finished.open("wb") as out:
        out.write(raw.readline())
        environment = old.getinfo("environment.json")
        date = environment.date_time
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for folder in folders:
                for path, (_, mode) in folder.files.items():
                    put(new, f"{folder.name}/{path}", old.read(f"{PACKAGES}/{folder.name}/{path}"), date, mode)
            put(new, environment.filename, old.read(environment), date)
            for path, text in bootstrap.items():
                put(new, path, text.encode(), date)


def bootstrap_files(
    sources: Path, folders: Sequence[Folder], entry_point: str, built_for: tuple[tuple[str, ...], str]
) -> dict[str, str]:
    """The bootstrap's files by their path in the archive, those included that say what was built."""
    files = {f"_bootstrap/{path.name}": path.read_text() for path in sorted(sources.glob("*.py"))}
    files["__main__.py"] = files.pop("_bootstrap/zipapp_main.py")
    files["_bootstrap/built_for.py"] = f"BUILT_FOR = {built_for!r}\n"
    versions = "".join(f"    {tag!r}: {_version(tag, folders)!r},\n" for tag in built_for[0])
    files["_bootstrap/built.py"] = f"ENTRY_POINT = {entry_point!r}\nVERSIONS = {{\n{versions}}}\n"
    return files | {f"_bootstrap/{folder.name}.list": folder.listing() for folder in folders}


def _version(tag: str, folders: Sequence[Folder]) -> tuple[str, tuple[str, ...]]:
    own = [folder for folder in folders if tag in folder.tags]
    name = sha256("".join(folder.digests() for folder in own).encode()).hexdigest()[:32]
    return name, tuple(folder.name for folder in own)


def put(
    archive: zipfile.ZipFile, path: str, data: bytes, date: tuple[int, int, int, int, int, int], mode: int = 0o644
) -> None:
    """Add a file whose entry depends on nothing but the arguments."""
    entry = zipfile.ZipInfo(path, date)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix: the mode counts
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data)
