"""The zipapp's `__main__`: says in one line which Python it needs, in words that every Python understands.

Read by whatever `python3` is on the host, 2.7 included, so nothing newer than that may stand here. The other files are
read only once the version is known to fit.
"""
# Annotations and format strings would be syntax errors where this must still be read:
# ruff: noqa: ANN001, ANN202, UP031

import os
import sys


def misfit(built_for, running):
    # type: (tuple[tuple[str, ...], str], tuple[str, str, str]) -> str
    """Why the interpreter cannot run this archive, or "" when it can.

    `built_for` is (cache tags, platform), such as (("cpython-311", "cpython-312"), "linux-x86_64"); `running` is
    (cache tag, ABI flags, platform).
    """
    tags, platform = built_for
    if running[0] not in tags or running[1]:
        found = readable(running[0]) + running[1]
        start = "python" + version(tags[0])
        if len(tags) > 1:
            start += " (or %s)" % ", ".join(version(tag) for tag in tags[1:])
        return "needs %s (this is %s, %s); start it with %s FILE" % (wanted(tags), found, sys.executable, start)
    if running[2] != platform:
        return "was built for %s (this is %s)" % (platform, running[2])
    return ""


def wanted(tags):
    # type: (tuple[str, ...]) -> str
    """Such as "CPython 3.11, 3.12 or 3.13"."""
    names = [readable(tags[0])] + [version(tag) for tag in tags[1:]]
    return " or ".join([text for text in (", ".join(names[:-1]), names[-1]) if text])


def readable(tag):
    # type: (str) -> str
    """Such as "CPython 3.11" for the cache tag "cpython-311", in which the version lacks its dot."""
    name = tag.rstrip("0123456789")
    return "%s %s" % ({"cpython-": "CPython", "pypy": "PyPy"}.get(name, name), version(tag))


def version(tag):
    # type: (str) -> str
    """Such as "3.11" for "cpython-311"."""
    digits = tag[len(tag.rstrip("0123456789")) :]
    return "%s.%s" % (digits[:1], digits[1:])


def running_python():
    # type: () -> tuple[str, str, str]
    """The interpreter's own (cache tag, ABI flags, platform)."""
    implementation = getattr(sys, "implementation", None)  # Python 2 has none
    tag = getattr(implementation, "cache_tag", None) or "cpython-%d%d" % sys.version_info[:2]
    flags = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return (tag, flags, platform_of(sys.platform, getattr(implementation, "_multiarch", "")))


def platform_of(system, multiarch):
    # type: (str, str) -> str
    """The platform by the names that `make zipapp PLATFORM=` takes, the interpreter's own architecture in it.

    `multiarch` tells of Linux what `uname` does not: a 32-bit interpreter on a 64-bit kernel, and another C library.
    """
    if system == "win32":
        compiler = sys.version.lower()  # "[MSC v.1938 64 bit (AMD64)]": the environment could be the caller's
        return "windows-" + ("x86_64" if "amd64" in compiler else "arm64" if "arm64" in compiler else "x86")
    if system == "darwin":
        return "macos-" + os.uname()[4]
    if system.startswith("linux"):
        architecture, _, libc = (multiarch or os.uname()[4] + "-linux-gnu").partition("-linux-")
        return "linux-" + architecture + ("" if libc == "gnu" else "-" + libc)
    return system


def main():
    # type: () -> None
    """Refuse another Python with exit code 5, else go on in `start`."""
    from _bootstrap import built_for  # type: ignore[import-not-found]  # stands in the archive only

    reason = misfit(built_for.BUILT_FOR, running_python())
    if reason:
        sys.stderr.write("investigator: this file %s\n" % reason)
        sys.exit(5)

    from _bootstrap import start

    start.main()


if __name__ == "__main__":
    main()
