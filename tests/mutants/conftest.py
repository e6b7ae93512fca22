"""The story is a world's log: what servers say of themselves would only be more of the same, and slow."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
