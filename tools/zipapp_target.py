"""What a zipapp can be built for: CPython versions, platforms, and which of the pinned requirements each one takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from packaging.tags import Tag

VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
GLIBC_MINOR: Final = 28
"""The oldest C library that all wheels of ours run on: 2.28, of 2018."""
MACOS: Final = (14, 0)
"""The oldest macOS, likewise."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform by our name, as wheels name it, and as it answers environment markers."""

    name: str
    tags: tuple[str, ...]
    markers: dict[str, str]


def _linux(machine: str) -> Platform:
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    tags += [f"{alias}_{machine}" for alias in ("manylinux2014", "manylinux2010", "manylinux1")]
    markers = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine, "os_name": "posix"}
    return Platform(f"linux-{machine}", tuple(tags), markers)


def _macos(machine: str) -> Platform:
    markers = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": machine, "os_name": "posix"}
    return Platform(f"macos-{machine}", tuple(mac_platforms(MACOS, machine)), markers)


_WINDOWS: Final = Platform(
    "windows-x86_64",
    ("win_amd64",),
    {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
)
PLATFORMS: Final = {
    platform.name: platform
    for platform in (_linux("x86_64"), _linux("aarch64"), _macos("arm64"), _macos("x86_64"), _WINDOWS)
}


@dataclass(frozen=True, slots=True)
class Target:
    """One CPython version on one platform."""

    version: str
    platform: Platform

    @property
    def abi(self) -> str:
        """Such as `cp311`."""
        return "cp" + self.version.replace(".", "")

    @property
    def cache_tag(self) -> str:
        """Such as `cpython-311`: what names the version's byte code, and what its interpreter knows itself by."""
        return "cpython-" + self.version.replace(".", "")

    def takes(self, wheel: str) -> bool:
        """Whether the wheel of that file name runs there."""
        return not self.tags().isdisjoint(parse_wheel_filename(wheel)[3])

    def tags(self) -> set[Tag]:
        """What a wheel may be tagged with to run there."""
        major, minor = (int(part) for part in self.version.split("."))
        platforms = self.platform.tags
        return {
            *cpython_tags((major, minor), [self.abi], platforms),
            *compatible_tags((major, minor), self.abi, platforms),
        }

    def environment(self) -> dict[str, str]:
        """How it answers environment markers."""
        return {
            **{key: str(value) for key, value in default_environment().items()},
            **self.platform.markers,
            "python_version": self.version,
            "python_full_version": f"{self.version}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }


@dataclass(frozen=True, slots=True)
class Pin:
    """A requirement as it is pinned: the name, and the whole line with its hashes but without its marker."""

    name: str
    line: str


def pins_of(text: str, target: Target, without: Collection[str]) -> list[Pin]:
    """What the pinned requirements in `text` ask for on that target, but those named in `without`."""
    environment, found = target.environment(), []
    for line in _logical_lines(text):
        requirement = Requirement(line.partition(" --hash=")[0])
        name = canonicalize_name(requirement.name)
        if name not in without and (requirement.marker is None or requirement.marker.evaluate(environment)):
            hashes = [word for word in line.split() if word.startswith("--hash=")]
            found.append(Pin(name, " ".join([f"{requirement.name}{requirement.specifier}", *hashes])))
    return found


def _logical_lines(text: str) -> Iterator[str]:
    """The lines without comments, those that end with a backslash joined with the next."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            yield " ".join(line.split())
