"""What a page says a scraper reads again, whatever is in its labels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.metrics import MAX_LABEL_CHARACTERS, Page
from investigator.printable import printable
from metrics_text import read_metrics


@given(st.dictionaries(st.text(max_size=50), st.integers(0, 1 << 60), max_size=8), st.floats(allow_nan=False))
def test_what_is_put_on_a_page_is_what_a_scraper_reads(counts: dict[str, int], level: float) -> None:
    page = Page()
    expected: dict[str, float] = {}
    for text, count in counts.items():
        page.counter("one_total", "How\nmany \\ there are.", count, kind=text)
        expected[printable(text)] = expected.get(printable(text), 0) + count
    page.gauge("level", "Up and down.", level)
    samples = read_metrics(str(page))
    assert samples.pop(("level", ())) == level
    assert {dict(labels)["kind"]: number for (_, labels), number in samples.items()} == pytest.approx(expected)


def test_families_stay_together_in_whatever_order_samples_come() -> None:
    page = Page()
    for module in ("file", "process"):
        page.counter("runs_total", "Runs.", 2, module=module)
        page.counter("seconds_total", "Time.", 0.25, module=module)
    page.counter("runs_total", "Runs.", 3, module="file")
    assert str(page) == (
        "# HELP runs_total Runs.\n# TYPE runs_total counter\n"
        'runs_total{module="file"} 5\nruns_total{module="process"} 2\n'
        "# HELP seconds_total Time.\n# TYPE seconds_total counter\n"
        'seconds_total{module="file"} 0.25\nseconds_total{module="process"} 0.25\n'
    )


def test_a_label_is_cut_and_drives_no_terminal() -> None:
    page = Page()
    page.gauge("up", "Up.", 1, server="\x1b]0;x\x07" + "a" * 1000)
    (labels,) = [dict(labels) for _, labels in read_metrics(str(page))]
    assert labels["server"].startswith(r"\x1b]0;x\x07a")
    assert len(labels["server"]) == MAX_LABEL_CHARACTERS


@pytest.mark.parametrize(
    ("number", "text"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e300, "1e+300"), (3.0, "3")]
)
def test_numbers_that_are_none_are_written_as_the_format_has_them(number: float, text: str) -> None:
    page = Page()
    page.gauge("level", "Up and down.", number)
    assert str(page).endswith(f"level {text}\n")


def test_names_that_a_scraper_refuses_are_defects_here() -> None:
    with pytest.raises(ValueError, match="ends in _total"):
        Page().counter("runs", "Runs.", 1)
    with pytest.raises(ValueError, match="does not take"):
        Page().gauge("a-b", "No.", 1)


def test_a_page_without_samples_is_empty() -> None:
    assert str(Page()) == ""
