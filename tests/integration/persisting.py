"""A persistent module that does whatever a test wants, well behaved or not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from investigator.modules.interface import Spec
from investigator.modules.persistent import Host, NotAvailable, PersistentModule
from investigator.protocol.alert import Alert
from investigator.protocol.result import Result


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    sleep_s: float = 0.0
    raises: bool = False
    echo: str = ""


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    how: str = "stay"
    count: int = 1
    size: int = 10
    file: str = ""


class Persisting(PersistentModule):
    spec = Spec(name="persisting", summary="misbehaves, for tests", parameters=Parameters, flags=None)
    settings = Settings

    def check_settings(self, settings: Settings) -> None:
        pass

    def watch(self, settings: Settings, host: Host) -> None:
        (host.folder / "starts").open("a").write(f"{os.getpid()}\n")
        self.host = host
        getattr(self, settings.how)(settings, host)
        while settings.how != "end":
            time.sleep(0.05)
            host.beat()

    def stay(self, settings: Settings, host: Host) -> None:
        pass

    def end(self, settings: Settings, host: Host) -> None:
        pass

    def tell(self, settings: Settings, host: Host) -> None:
        for number in range(settings.count):
            host.alert(alert(f"{number} " + "x" * settings.size))
            (host.folder / "told").write_text(str(number + 1))

    def fail(self, settings: Settings, host: Host) -> None:
        raise ValueError("no\nway")

    def leave(self, settings: Settings, host: Host) -> None:
        os._exit(7)

    def unavailable(self, settings: Settings, host: Host) -> None:
        raise NotAvailable("not on this host")

    def hang(self, settings: Settings, host: Host) -> None:
        time.sleep(3600)

    def mute(self, settings: Settings, host: Any) -> None:
        with host._sending:
            time.sleep(3600)

    def rave(self, settings: Settings, host: Any) -> None:
        host._connection.sendall(b"\0\0\0\5[1,2]")

    def boast(self, settings: Settings, host: Any) -> None:
        host._connection.sendall(b"\xff\xff\xff\xff")

    def press(self, settings: Settings, host: Any) -> None:
        from investigator.agent.persistent_channel import Raised

        for number in range(50):
            host.say(Raised(number=number, alerts=[alert(str(number))]))

    def store(self, settings: Settings, host: Host) -> None:
        with (host.folder / "large").open("wb") as file:
            file.truncate(settings.size)
        host.alert(alert("stored"))

    def hog(self, settings: Settings, host: Host) -> None:
        self.kept = bytearray(settings.size)

    def fork(self, settings: Settings, host: Host) -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            Path(settings.file).write_text(f"{os.getpid()}\n")
            time.sleep(3600)

    def answer(self, parameters: Parameters) -> Result:
        time.sleep(parameters.sleep_s)
        if parameters.raises:
            raise KeyError(parameters.echo)
        return Result(
            success=True,
            foundanything=True,
            elements={"ok": True},
            statistics={"echo": parameters.echo, "pid": os.getpid()},
        )


def alert(text: str) -> Alert:
    return Alert(severity="low", alert=text, time_s=time.time())


MODULE = Persisting()
