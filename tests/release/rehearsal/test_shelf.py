"""What an index remembers of a project."""

import datetime as dt

from packaging.version import Version

from release.rehearsal.shelf import Project
from tests.release.rehearsal.test_serving import NOW, stored


def test_a_file_lies_where_its_own_digest_says() -> None:
    """As on the real files host: an address never gets other bytes."""
    assert stored("a.whl", blake2_256="abcdef0123").path == "/packages/ab/cd/ef0123/a.whl"


def test_the_files_of_a_version_are_those_of_that_version_alone() -> None:
    """1.0 and 1.0.0 are one version."""
    files = [stored("a.whl", "1.0"), stored("b.whl", "1.0.1"), stored("c.whl", "1.0.0")]
    project = Project(name="demo", files={file.name: file for file in files})
    assert [file.name for file in project.of(Version("1"))] == ["a.whl", "c.whl"]
    assert list(project.of(Version("2"))) == []


def test_files_are_shown_by_name_once_the_lag_is_over() -> None:
    """At the very moment already; a file that came later stays hidden."""
    lag = dt.timedelta(seconds=60)
    second = dt.timedelta(seconds=1)
    files = [
        stored("b.whl", uploaded=NOW - lag),
        stored("c.whl", uploaded=NOW - lag + second),
        stored("a.whl", uploaded=NOW - lag - second),
    ]
    project = Project(name="demo", files={file.name: file for file in files})
    assert [file.name for file in project.shown(NOW, lag)] == ["a.whl", "b.whl"]
    assert [file.name for file in project.shown(NOW, dt.timedelta())] == ["a.whl", "b.whl", "c.whl"]


def test_projects_do_not_share_what_they_remember() -> None:
    """A file of one must not show up at another."""
    one, other = Project(name="one"), Project(name="other")
    one.files["a.whl"] = stored("a.whl")
    assert (other.files, other.used, other.released, other.status) == ({}, {}, {}, "active")
