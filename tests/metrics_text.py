"""Prometheus' text format, read strictly: for tests of what exports it. The format is documented at prometheus.io (0.0.4)."""

from __future__ import annotations

import re
from typing import Final

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_HEAD: Final = re.compile(r"# (HELP|TYPE) (\S+) (.+)")


def read_metrics(text: str) -> Samples:
    """Every sample by name and labels; raises AssertionError for whatever a scraper might refuse, or lint complains of."""
    samples: Samples = {}
    kinds: dict[str, str] = {}
    helped: list[str] = []
    assert not text or text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            head = _HEAD.fullmatch(line)
            assert head, line
            if head[1] == "HELP":
                assert head[2] not in helped, f"{head[2]}: a family that stands in two places"
                helped.append(head[2])
            else:
                assert helped[-1] == head[2]
                assert head[3] in {"counter", "gauge"}
                kinds[head[2]] = head[3]
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, line
        name = found[1]
        assert helped[-1] == name, f"{name}: not below its family's head"
        assert (kinds[name] == "counter") == name.endswith("_total"), name
        labels = _labels(found[2] or "")
        assert (name, labels) not in samples, line
        samples[name, labels] = float(found[3])
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """The one sample of this name whose labels include these."""
    (found,) = [number for (one, has), number in samples.items() if one == name and labels.items() <= dict(has).items()]
    return found


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    at, labels = 0, []
    while at < len(text):
        found = _LABEL.match(text, at)
        assert found, text
        labels.append((found[1], re.sub(r"\\(.)", lambda one: {"n": "\n"}.get(one[1], one[1]), found[2])))
        at = found.end()
    assert len({name for name, _ in labels}) == len(labels)
    return tuple(labels)
