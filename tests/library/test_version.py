"""What the root answers when it is asked for a name that it computes: its version, and nothing else."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

import tta_agent_coordination as package


def test_version_is_that_of_the_installed_distribution() -> None:
    """Broken: a version that the code states and another that pip states cannot both be right."""
    assert package.__version__ == metadata.version("tta-agent-coordination")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", package.__version__)


def test_root_refuses_unknown_names() -> None:
    """Broken: a lazy attribute must not turn a typing error into something else."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]
