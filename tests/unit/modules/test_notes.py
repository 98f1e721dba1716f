"""What a module could not do: said once each, capped with a count, notes never cut."""

from investigator.modules.notes import MAX_ERRORS, Notes, note_lines


def test_errors_are_said_once_and_beyond_the_cap_counted() -> None:
    notes = Notes()
    assert notes.texts() is None
    for number in range(MAX_ERRORS + 3):
        notes.error(f"{number}")
        notes.error("0")
    assert notes.texts() == [*(f"{number}" for number in range(MAX_ERRORS)), "3 more errors were not returned"]


def test_notes_come_last_and_are_never_cut() -> None:
    notes = Notes(max_errors=1)
    notes.note("cut")
    notes.error("a")
    notes.error("b")
    for number in range(100):
        notes.note(f"{number}")
    told = notes.texts() or []
    assert told[:3] == ["a", "1 more errors were not returned", "warning: cut"]
    assert len(told) == 103


def test_notes_are_printed_always_and_errors_when_everything_is_wanted() -> None:
    result = {"errors": ["/a: permission denied", "warning: cut"]}
    assert list(note_lines(result, everything=False)) == ["warning: cut"]
    assert list(note_lines(result, everything=True)) == ["/a: permission denied", "warning: cut"]
    assert list(note_lines(result, everything=True, prefix="error: ")) == [
        "error: /a: permission denied",
        "warning: cut",
    ]
    assert not list(note_lines({"errors": None}, everything=True))
