"""Build the zipapp: pip gathers, shiv packs, and our bootstrap takes the place of shiv's. Settings: shiv.toml.

Run by `make zipapp` with the Python that the file shall be for:

    .venv/bin/python tools/zipapp.py [--output FILE]
"""

from __future__ import annotations

import argparse
import py_compile
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from investigator._bootstrap.zipapp_main import running_python  # noqa: E402 - from this tree, installed or not

PROJECT = ("pyproject.toml", "README.md", "LICENSE", "requirements/runtime.in", "src/investigator")
"""What the project's wheel is made of: copied first, so that building leaves nothing in the tree."""


def main() -> None:
    """Build, and say what came out."""
    settings = tomllib.loads((ROOT / "shiv.toml").read_text())
    options: dict[str, Any] = settings["shiv"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=ROOT / options.pop("output-file"))
    output: Path = parser.parse_args().output.absolute()
    with tempfile.TemporaryDirectory(prefix="investigator-zipapp-") as scratch:
        packages, packed = Path(scratch, "site-packages"), Path(scratch, "shiv.pyz")
        gather(packages, settings["contents"], Path(scratch))
        run_shiv(packages, packed, options)
        finished = Path(scratch, "finished.pyz")
        exchange_bootstrap(packed, finished, ROOT / settings["contents"]["bootstrap"], options)
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = output.with_name(f".{output.name}.new")
        shutil.copyfile(finished, beside)
        beside.chmod(0o755)
        beside.replace(output)
    tag, flags, platform = running_python()
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, for {tag}{flags} on {platform}")


def gather(packages: Path, contents: dict[str, Any], scratch: Path) -> None:
    """Install the pinned requirements and the project, and remove what pip wrote for itself."""
    source = scratch / "source"
    for name in PROJECT:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-compile"]
    pip += ["--no-build-isolation", "--target", str(packages)]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / contents["requirements"])], check=True)
    subprocess.run([*pip, "--no-deps", str(source)], check=True)
    for pattern in contents["leave-out"]:
        for path in packages.glob(pattern):
            path.unlink()
    for script in (packages / "bin").iterdir():  # their first line names the builder's Python; nats-server is no script
        if script.read_bytes()[:2] == b"#!":
            script.unlink()
    if hooks := [path.name for path in packages.glob("*.pth")]:
        sys.exit(f"{', '.join(hooks)}: our bootstrap runs no .pth files")


def run_shiv(packages: Path, packed: Path, options: dict[str, Any]) -> None:
    """Have shiv pack the folder, with shiv.toml's options; uncompressed, since it is packed once more."""
    command = [sys.executable, "-m", "shiv", "--site-packages", str(packages), "--output-file", str(packed)]
    for name, value in options.items():
        if value is not False:
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    subprocess.run([*command, "--uncompressed"], check=True)


def exchange_bootstrap(packed: Path, finished: Path, bootstrap: Path, options: dict[str, Any]) -> None:
    """Copy shiv's archive, compressed, with our bootstrap and the list of the files that it is to unpack."""
    files: list[tuple[str, int, int]] = []
    whole = sha256()
    with packed.open("rb") as raw, zipfile.ZipFile(packed) as old, finished.open("wb") as out:
        out.write(raw.readline())
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in sorted(old.infolist(), key=lambda entry: entry.filename):
                if not entry.filename.startswith("site-packages/"):
                    continue
                data = old.read(entry)
                mode = 0o755 if entry.external_attr >> 16 & 0o100 else 0o644
                whole.update(f"{sha256(data).hexdigest()} {len(data)} {mode:o} {entry.filename}\n".encode())
                files.append((entry.filename, len(data), mode))
                put(new, entry.filename, data, entry.date_time, mode)
            date = old.getinfo("environment.json").date_time
            put(new, "environment.json", old.read("environment.json"), date)
            name = whole.hexdigest()[:32]
            for path, source in bootstrap_sources(bootstrap, name, files, options["entry-point"]).items():
                put(new, path, source.encode(), date)
                if path not in ("__main__.py", "_bootstrap/__init__.py"):  # these two are for every Python
                    put(new, f"{path}c", compiled(source, path), date)


def bootstrap_sources(
    bootstrap: Path, name: str, files: list[tuple[str, int, int]], entry_point: str
) -> dict[str, str]:
    """The bootstrap's sources by their path in the archive, the two written ones included."""
    sources = {f"_bootstrap/{path.name}": path.read_text() for path in sorted(bootstrap.glob("*.py"))}
    sources["__main__.py"] = sources.pop("_bootstrap/zipapp_main.py")
    sources["_bootstrap/built_for.py"] = f"BUILT_FOR = {running_python()!r}\n"
    listed = "".join(f"    {file!r},\n" for file in files)
    sources["_bootstrap/built.py"] = f"NAME = {name!r}\nENTRY_POINT = {entry_point!r}\nFILES = (\n{listed})\n"
    return sources


def compiled(source: str, path: str) -> bytes:
    """The byte code, not checked against the source at the start: both come from this one archive."""
    with tempfile.TemporaryDirectory() as scratch:
        text, code = Path(scratch, "source.py"), Path(scratch, "source.pyc")
        text.write_text(source)
        py_compile.compile(
            str(text), str(code), path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        return code.read_bytes()


def put(
    archive: zipfile.ZipFile, path: str, data: bytes, date: tuple[int, int, int, int, int, int], mode: int = 0o644
) -> None:
    """Add a file whose entry depends on nothing but the arguments."""
    entry = zipfile.ZipInfo(path, date)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix: the mode counts
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data)


if __name__ == "__main__":
    main()
