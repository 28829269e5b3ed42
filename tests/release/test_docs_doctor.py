"""The page of the doctor says all that the command finds, takes and answers."""

import re
from argparse import ArgumentParser

from tests.release.workflow_support import ROOT
from tta_agent_coordination.doctor import command
from tta_agent_coordination.doctor.findings import KINDS

PAGE = (ROOT / "docs/how-to/mend-what-v0-left.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first cells of the tables below a heading."""
    below = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [cell for cell in re.findall(r"^\| (.+?) \|", below, re.MULTILINE) if cell[:1] in "`012"]


def test_every_kind_of_debris_stands_there_in_the_order_of_a_report() -> None:
    """Somebody who reads a report finds there what each word means."""
    assert first_cells("What it finds") == [f"`{name}`" for name in KINDS]


def test_what_a_person_has_to_look_at_is_not_promised_to_be_mended() -> None:
    """The page promises a repair exactly where there is one."""
    for kind in KINDS.values():
        [row] = re.findall(rf"^\| `{kind.name}` \|.*$", PAGE, re.MULTILINE)
        assert row.endswith(("| a person |", "| run it again |")) is not bool(kind.mending), kind.name


def test_every_option_and_exit_code_stands_there() -> None:
    """An option that nobody wrote down is used by nobody."""
    parser = ArgumentParser(add_help=False)
    command.add_arguments(parser)
    cells = first_cells("Options and exit codes")
    named = {word for cell in cells for word in re.findall(r"--[\w-]+", cell)}
    assert named == set(parser._option_string_actions)
    assert [int(cell) for cell in cells if cell.isdigit()] == [command.CLEAN, command.FOUND, command.BLIND]
