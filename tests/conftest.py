"""What all tests share: fixtures of whole clusters, and the logs of their processes when a test fails."""

import signal
from collections.abc import Generator

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the programs that are started here are interrupted

pytest.register_assert_rewrite("tests.clusters", "tests.sites")

from tests.clusters import RUNNING, cluster, fake_fleet, fleet, real_cluster, shared_real_cluster  # noqa: E402
from tests.dockerd import private_engine  # noqa: E402
from tests.sites import shared_site, site  # noqa: E402

__all__ = [
    "cluster",
    "fake_fleet",
    "fleet",
    "private_engine",
    "real_cluster",
    "shared_real_cluster",
    "shared_site",
    "site",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Servers still run when a test's report is made; what they said last is the other half of the failure."""
    report = yield
    if report.failed:
        report.sections += [(f"end of the log of {server.name}", server.tail()) for server in RUNNING]
    return report
