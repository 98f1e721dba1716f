"""Where a passphrase comes from, and that it comes from nowhere else when that fails."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import pytest

from investigator.console.passphrase import FD_VARIABLE, MIG_VARIABLE, Passphrase, new_passphrase
from investigator.errors import BadInput, DeploymentError


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FD_VARIABLE, raising=False)
    monkeypatch.delenv(MIG_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A descriptor that gives these bytes."""
    opened: list[int] = []

    def give(content: bytes) -> None:
        read_end, write_end = os.pipe()
        os.write(write_end, content)
        os.close(write_end)
        opened.append(read_end)
        monkeypatch.setenv(FD_VARIABLE, str(read_end))

    yield give
    for descriptor in opened:
        os.close(descriptor)


def prints(text: str, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})"]


@pytest.mark.parametrize("content", [b"correct horse\nmore", b"correct horse\r\n", b"correct horse"])
def test_a_descriptor_gives_one_line(given: object, content: bytes) -> None:
    given(content)  # type: ignore[operator]
    assert Passphrase("it")() == "correct horse"


def test_a_command_gives_its_first_line_and_is_run_once(tmp_path: object) -> None:
    count = f"{tmp_path}/count"
    command = [sys.executable, "-c", f"open({count!r}, 'a').write('x'); print('correct horse'); print('url: x')"]
    asked = Passphrase("it", command)
    assert (asked(), asked()) == ("correct horse", "correct horse")
    with open(count) as file:
        assert file.read() == "x"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["/nonexistent/pass"], "/nonexistent/pass: No such file or directory"),
        (prints("secret", 3), "it ended with exit code 3"),
        (prints(""), "it printed no passphrase"),
        (prints("\nsecond"), "it printed no passphrase"),
        (prints("x" * 5000), "it printed no passphrase"),
        ([sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'\\xff')"], "its first line is no text"),
    ],
)
def test_a_command_that_fails_is_one_line_and_nobody_else_is_asked(
    command: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIG_VARIABLE, "something else")
    with pytest.raises(DeploymentError) as caught:
        Passphrase("it", command)()
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_descriptor_goes_before_a_command_and_a_command_before_migs_variable(
    given: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIG_VARIABLE, "variable")
    assert Passphrase("it")() == "variable"
    assert Passphrase("it", prints("command"))() == "command"
    given(b"descriptor\n")  # type: ignore[operator]
    assert Passphrase("it", prints("command"))() == "descriptor"


def test_without_anybody_to_ask_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeploymentError, match="no terminal") as caught:
        Passphrase("the key")()
    assert FD_VARIABLE in caught.value.hint
    monkeypatch.setenv(FD_VARIABLE, "99999")
    with pytest.raises(BadInput, match="99999"):
        Passphrase("the key")()


def test_a_new_passphrase_is_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="empty"):
        new_passphrase("it")
    monkeypatch.setattr(sys, "stdin", io.StringIO("new one\nrest\n"))
    assert new_passphrase("it") == "new one"
    assert new_passphrase("it", prints("by command")) == "by command"
