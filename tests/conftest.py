"""What all tests have: `async def test_…` runs in an event loop of its own."""

import asyncio
import inspect
import os

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a test that measures time fails on a busy machine
settings.load_profile("untimed")

pytest_plugins = ["real_broker"]

TEST_WITHIN_S = 60.0


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two a processor: the longest tests wait for processes most of their time."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function as a test; fixtures are plain ones, so that nothing outlives its loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def within_bounds() -> None:
        async with asyncio.timeout(TEST_WITHIN_S):
            await pyfuncitem.obj(**arguments)

    asyncio.run(within_bounds())
    return True
