"""A gpg of a test's own: its keys, its agent and its settings are in a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

DATA = b'{"type": "action", "name": "\xc3\xa9"}\r\n'


class Gpg:
    """A gpg with a home and an agent of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        (home / "gpg-agent.conf").write_text("s2k-count 65536\n")  # else protecting a key takes seconds

    def __call__(self, *arguments: str, data: bytes = b"", passphrase: str = "", code: int = 0) -> bytes:
        how = ["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", passphrase]
        command = ["gpg", "--homedir", str(self.home), *how, *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout

    def fingerprints(self, name: str) -> list[str]:
        listing = self("--with-colons", "--list-keys", name).decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]

    def make(self, algorithm: str, usage: str = "cert,sign", expire: str = "never", passphrase: str = "") -> str:
        name = f"Ada {algorithm} <{algorithm}@example.org>"
        self("--quick-generate-key", name, algorithm, usage, expire, passphrase=passphrase)
        return self.fingerprints(name)[0]

    def sign(self, user: str, *arguments: str, data: bytes = DATA) -> bytes:
        return self("--digest-algo", "SHA512", "--local-user", user, *arguments, "--detach-sign", data=data)

    def public(self, fingerprint: str, *arguments: str) -> bytes:
        return self("--export", *arguments, fingerprint)

    def stop(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True)
