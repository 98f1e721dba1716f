"""pkg and scribe in real workers, and from the command line."""

import asyncio
import json
import shutil
import subprocess
import sys
import time

import msgspec
import pytest

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.protocol.action import Operation, compressed

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-query"), reason="there is no dpkg here")


def run(module, parameters, *, seconds=60.0, **limits):
    """What a worker answers."""

    async def story():
        async with Runner(Limits(**limits)) as runner:
            return await runner.run(module, parameters, deadline_s=time.monotonic() + seconds)

    return asyncio.run(story())


def a_package():
    form = "${binary:Package}\t${Version}\t${db:Status-Status}\n"
    rows = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    return next(row.split("\t")[:2] for row in rows.splitlines() if row.endswith("\tinstalled"))


@needs_dpkg
def test_a_worker_lists_packages():
    name, version = a_package()
    ran = run("pkg", {"pkgmatch": {"matches": [f"^{name}$"]}})
    assert ran.state == "done", ran
    result = ran.result.read()
    assert result.foundanything
    assert [(one["name"], one["version"]) for one in result.elements["packages"]] == [(name, version)]


@needs_dpkg
def test_a_worker_evaluates_thousands_of_tests_in_little_memory():
    name, version = a_package()
    tests = [
        {"test": str(number), "object": "it", "evr": {"operation": operation, "value": version}}
        for number, operation in enumerate("<=>" * 1000)
    ]
    document = {"objects": [{"object": "it", "package": {"name": name}}], "tests": tests}
    ran = run("scribe", {"scribedoc": document, "onlytrue": True}, memory_bytes=100 << 20)
    assert ran.state == "done", ran
    results = ran.result.read().elements["results"]
    assert [int(one["testid"]) for one in results] == list(range(1, 3000, 3))


def test_a_policy_with_a_mistake_is_refused_by_the_worker_too():
    document = {"objects": [], "tests": [{"test": "t", "object": "x"}]}
    ran = run("scribe", {"scribedoc": document})
    assert (ran.state, ran.code) == ("failed", "bad-parameters")
    assert ran.result.errors == ["scribedoc.tests[0].object: there is no object 'x'"]


def test_a_policy_that_searches_the_whole_of_proc_ends_by_itself_before_its_deadline():
    source = {"path": "/proc", "file": ".", "expression": "(x)"}
    document = {"objects": [{"object": "o", "filecontent": source}], "tests": [{"test": "t", "object": "o"}]}
    ran = run("scribe", {"scribedoc": document}, seconds=10.0, niceness=0)  # a busy machine's, too
    assert ran.state == "done", ran
    assert ran.result.read().success


def test_a_policy_in_an_action_file_runs_compressed_as_mig_packs_it(tmp_path):
    document = {
        "objects": [{"object": "it", "raw": {"identifiers": [{"identifier": "here", "value": "1.10"}]}}],
        "tests": [{"test": "ten", "object": "it", "evr": {"operation": ">", "value": "1.9"}}],
    }
    operation = compressed(Operation(module="scribe", parameters={"scribedoc": document, "onlytrue": True}))
    assert operation.is_compressed
    action = {
        "name": "a policy",
        "target": "all",
        "operations": [msgspec.structs.asdict(operation)],
        "syntaxversion": 2,
    }
    path = tmp_path / "action.json"
    path.write_text(json.dumps(action))
    command = [sys.executable, "-m", "investigator", "run", "-t", "local", "-i", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert 'sub [true] name:"ten" id:"ten" identifier:"here"' in done.stdout
