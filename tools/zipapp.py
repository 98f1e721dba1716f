"""Build the zipapp: pip gathers the wheels, shiv packs them, and our bootstrap takes the place of shiv's.

    .venv/bin/python tools/zipapp.py [--platform NAME] [--pythons "3.11 3.12"] [--agent-only] [--output FILE]

It is `make zipapp`; the settings are in shiv.toml. The Python that runs it need not be one that the file is for, and the
bytes do not depend on it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zipapp_pack import Contents, bootstrap_files, divide, exchange_bootstrap, run_shiv
from zipapp_target import PLATFORMS, VERSIONS, Target
from zipapp_wheels import Wheelhouse, files_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from investigator._bootstrap.zipapp_main import running_python  # noqa: E402 - from this tree, installed or not

PROJECT = ("pyproject.toml", "README.md", "LICENSE", "requirements/runtime.in", "src/investigator")
"""What the project's wheel is made of: copied first, so that building leaves nothing in the tree."""


def main() -> None:
    """Build, and say what came out."""
    settings = tomllib.loads((ROOT / "shiv.toml").read_text())
    options: dict[str, Any] = settings["shiv"]
    contents: dict[str, Any] = settings["contents"]
    arguments = _arguments()
    if arguments.agent_only:
        options["entry-point"] = settings["agent-only"]["entry-point"]
        contents["without"] += settings["agent-only"]["without"]
        contents["leave-out"] += settings["agent-only"]["leave-out"]
        contents["keep"] = settings["agent-only"]["keep"]
    targets = [Target(version, PLATFORMS[arguments.platform]) for version in arguments.pythons]
    output: Path = arguments.output or ROOT / "dist" / _file_name(arguments.platform, agent_only=arguments.agent_only)
    with tempfile.TemporaryDirectory(prefix="investigator-zipapp-") as scratch:
        folders = divide(gather(targets, contents, Path(scratch)))
        packed, finished = Path(scratch, "shiv.pyz"), Path(scratch, "finished.pyz")
        run_shiv(folders, Path(scratch, "tree"), packed, options)
        built_for = (tuple(target.cache_tag for target in targets), arguments.platform)
        bootstrap = bootstrap_files(ROOT / contents["bootstrap"], folders, options["entry-point"], built_for)
        exchange_bootstrap(packed, finished, folders, bootstrap)
        place(finished, output.absolute())
    print(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, for CPython {', '.join(arguments.pythons)} on {arguments.platform}"
    )


def _arguments() -> argparse.Namespace:
    own = running_python()[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--platform", choices=sorted(PLATFORMS), default=own if own in PLATFORMS else None)
    parser.add_argument("--pythons", metavar="VERSIONS", default=" ".join(VERSIONS), help="such as '3.11 3.12'")
    parser.add_argument("--agent-only", action="store_true", help="no broker, no console")
    parser.add_argument("--output", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.platform is None:
        parser.error(f"there are no wheels for this platform ({own}); --platform names another")
    arguments.pythons = sorted(
        {*arguments.pythons.split()}, key=lambda version: [int(part) for part in version.split(".")]
    )
    unknown = {*arguments.pythons} - {*VERSIONS}
    if unknown or not arguments.pythons:
        parser.error(f"--pythons: {', '.join(sorted(unknown)) or 'none'}: choose from {', '.join(VERSIONS)}")
    return arguments


def _file_name(platform: str, *, agent_only: bool) -> str:
    """`investigator.pyz` is for the platform that it was built on; the others carry theirs in their names."""
    elsewhere = platform != running_python()[2]
    return "-".join(["investigator", *["agent"] * agent_only, *[platform] * elsewhere]) + ".pyz"


def gather(targets: Sequence[Target], settings: dict[str, Any], scratch: Path) -> dict[str, Contents]:
    """What each target's `site-packages` holds, by cache tag: the pinned requirements and the project, less what is left out."""
    pins = (ROOT / settings["requirements"]).read_text()
    house = Wheelhouse(scratch / "wheels", pins, build=settings["build"], without=settings["without"])
    project = house.add_project(copy_of_project(scratch / "source"))
    read: dict[Path, Contents] = {}
    gathered = {}
    for target in targets:
        installed: Contents = {}
        for wheel in (project, *house.wheels(target)):
            if wheel not in read:
                read[wheel] = {path: (data, mode) for path, data, mode in files_of(wheel)}
            if twice := [path for path in read[wheel] if path in installed]:
                sys.exit(f"{wheel.name}: {twice[0]} is another package's too")
            installed |= read[wheel]
        if hooks := [path for path in installed if path.endswith(".pth")]:
            sys.exit(f"{', '.join(hooks)}: our bootstrap runs no .pth files")
        gathered[target.cache_tag] = {path: file for path, file in installed.items() if not _left_out(path, settings)}
    return gathered


def _left_out(path: str, settings: dict[str, Any]) -> bool:
    return path not in settings.get("keep", ()) and any(fnmatchcase(path, each) for each in settings["leave-out"])


def copy_of_project(source: Path) -> Path:
    """The project without what building and running left in it."""
    for name in PROJECT:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    return source


def place(finished: Path, output: Path) -> None:
    """Put it where it belongs in one step, so that nobody starts half a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f".{output.name}.new")
    shutil.copyfile(finished, beside)
    beside.chmod(0o755)
    beside.replace(output)


if __name__ == "__main__":
    main()
