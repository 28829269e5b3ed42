"""What an index says of a file's name, metadata and form: each rule's words, and what it lets through."""

from collections.abc import Mapping

import pytest

from release.model import Problem
from release.rehearsal import rules
from tests.release.rehearsal.support import METADATA, WHEEL, WHEEL_NAME, fields

PYPROJECT = "mend the field in pyproject.toml and build anew"


def wheel(name: str = WHEEL_NAME) -> rules.Filename:
    file = rules.filename(name)
    assert isinstance(file, rules.Filename)
    return file


def said(metadata: str) -> list[tuple[str, str]]:
    """Rule and words about METADATA of the right wheel."""
    found = list(rules.metadata_problems("METADATA", metadata.encode(), wheel()))
    assert {problem.where for problem in found} <= {"METADATA"}
    return [(problem.rule, problem.what) for problem in found]


def without(*names: str) -> str:
    """METADATA without these fields."""
    head, _, body = METADATA.partition("\n\n")
    kept = [line for line in head.splitlines() if line.partition(":")[0] not in names]
    return "\n".join([*kept, "", body])


def described(text: str, kind: str | None) -> list[tuple[str, str]]:
    """Of METADATA with this description."""
    head = without("Description-Content-Type").partition("\n\n")[0]
    return said("\n".join([head, *([f"Description-Content-Type: {kind}"] if kind else []), "", text]))


def test_the_digest_that_files_are_stored_by_is_blake2b_of_256_bits() -> None:
    """The value is that of any other program."""
    assert rules.blake2_256(b"abc") == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"


def test_a_field_of_the_form_has_its_first_value_or_an_empty_one() -> None:
    """A client may send one more than once."""
    form = rules.Form(fields={"name": ["a", "b"], "none": []}, filename="", content=b"")
    assert (form.one("name"), form.one("none"), form.one("absent")) == ("a", "", "")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../a-1.tar.gz", "'../a-1.tar.gz' is not a plain file name"),
        ("a-1.zip", "is neither .tar.gz nor .whl"),
        ("a.tar.gz", "Invalid sdist filename: 'a.tar.gz'"),
        ("a-1.whl", "Invalid wheel filename (wrong number of parts): 'a-1'"),
    ],
)
def test_a_name_that_says_nothing_is_quoted(name: str, what: str) -> None:
    """With the reason that the library which reads it gives."""
    found = rules.filename(name)
    assert isinstance(found, Problem)
    assert (found.rule, found.where, found.what) == ("filename.form", name, what)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Demo_Project-1.0-py3-none-any.whl", ("filename.wheel", "does not begin with demo_project-1.0-")),
        ("demo-project-1.0.tar.gz", ("filename.sdist", "is not demo_project-1.0.tar.gz")),
        (
            "demo_project-1.0-py3-none-linux_x86_64.whl",
            ("filename.platform", "the index serves no wheel for platform 'linux_x86_64'"),
        ),
        (WHEEL_NAME, None),
        ("demo_project-1.0.tar.gz", None),
    ],
)
def test_a_name_is_the_normal_one(name: str, found: tuple[str, str] | None) -> None:
    """What it should be is said."""
    problems = [(each.rule, each.what) for each in rules.filename_problems(wheel(name))]
    assert problems == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("version", "found"),
    [("2.5", False), ("2.6", True), ("3.0", True), ("2.10", True), ("1.9", False)],
)
def test_metadata_is_of_no_newer_version_than_the_index_knows(version: str, *, found: bool) -> None:
    """Both are named; the rest of it is not looked at then."""
    problems = said(METADATA.replace("2.4", version).replace("Summary: A", f"Summary: {'x' * 600}"))
    newer = [("metadata.version", f"metadata version {version} is newer than 2.5")]
    assert (problems == newer) is found
    assert ("metadata.version" in dict(problems)) is found


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (METADATA, []),
        (METADATA.replace("Name: demo-project", "Name: Demo.Project"), []),
        (METADATA.replace("Version: 1.0\n", "Version: 1.0.0\n"), []),
        (
            METADATA.replace("Name: demo-project", "Name: other"),
            [("filename.project", "name 'other' is not the file name's demo-project")],
        ),
        (
            METADATA.replace("\nVersion: 1.0\n", "\nVersion: 1.1\n"),
            [("filename.version", "version 1.1 is not the file name's 1.0")],
        ),
        (
            METADATA.replace("\nVersion: 1.0\n", "\nVersion: 1.0+a\n"),
            [
                ("metadata.local-version", "version 1.0+a has a local part"),
                ("filename.version", "version 1.0+a is not the file name's 1.0"),
            ],
        ),
        (
            METADATA.replace("Classifier", "Clasifier"),
            [("metadata.valid", "unknown or malformed field 'clasifier'")],
        ),
        (
            METADATA.replace(">=3.8", "new"),
            [("metadata.valid", "'new' is invalid for 'requires-python'")],
        ),
        (
            METADATA.replace("Summary: A demonstration", f"Summary: {'x' * 513}"),
            [("metadata.summary", "513 characters or several lines")],
        ),
        (METADATA.replace("Summary: A demonstration", f"Summary: {'x' * 512}"), []),
        (without("Summary", "Classifier", "License-File", "Requires-Python"), []),
        (
            without("Name"),
            [
                ("metadata.valid", "'name' is a required field"),
                ("filename.project", "name '' is not the file name's demo-project"),
            ],
        ),
        (without("Version"), [("metadata.valid", "'version' is a required field")]),
    ],
)
def test_what_is_said_of_metadata(metadata: str, found: list[tuple[str, str]]) -> None:
    """Each thing once, in the words of the rule or of the library that reads it."""
    assert said(metadata) == found


def test_metadata_without_a_version_of_its_own_is_not_valid() -> None:
    """It is not newer than anything."""
    assert {rule for rule, _ in said(without("Metadata-Version"))} == {"metadata.valid"}


def test_a_number_beyond_all_bounds_is_quoted() -> None:
    """The library's own refusal says it."""
    ((rule, what),) = said(METADATA.replace("\nVersion: 1.0\n", f"\nVersion: {'1' * 5000}\n"))
    assert rule == "metadata.valid"
    assert what.startswith("Exceeds the limit")


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("Classifier: Private :: No", "classifier 'Private :: No' is not known"),
        (
            "Classifier: Topic :: Communications :: Chat :: AOL Instant Messenger",
            "classifier 'Topic :: Communications :: Chat :: AOL Instant Messenger' is deprecated",
        ),
        ("Requires-Dist: x @ https://x.invalid/", "dependency 'x @ https://x.invalid/' is a direct URL"),
    ],
)
def test_a_value_that_the_index_does_not_take_is_named(field: str, found: str) -> None:
    """There may be many, and all that come behind it are looked at, too."""
    metadata = METADATA.replace("Classifier:", f"Requires-Dist: !\n{field}\nClassifier: Odd\nClassifier:")
    texts = [what for rule, what in said(metadata) if rule != "metadata.valid"]
    assert sorted(texts) == sorted([found, "classifier 'Odd' is not known"])


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        (".. image::\n", "text/x-rst", 'does not render: <string>:1: (ERROR/3) Error in "image" directive:'),
        (".. image::\n", "Text/X-RST", 'does not render: <string>:1: (ERROR/3) Error in "image" directive:'),
        (
            ".. image::\n",
            "text/x-rst ; charset=UTF-8",
            'does not render: <string>:1: (ERROR/3) Error in "image" directive:',
        ),
        (".. image::\n", None, 'does not render: <string>:1: (ERROR/3) Error in "image" directive:'),
        (".. nothing\n", "text/x-rst", "does not render: No content rendered from RST source."),
        (".. image::\n", "text/markdown", None),
        (".. image::\n", "text/plain", None),
        ("demo\n====\n", "text/x-rst", None),
        ("", None, None),
    ],
)
def test_a_description_in_restructured_text_renders(
    capsys: pytest.CaptureFixture[str], text: str, kind: str | None, what: str | None
) -> None:
    """What has no type is taken for it; the first thing that is wrong is said, and said nowhere else."""
    found = [words for rule, words in described(text, kind) if rule == "metadata.description"]
    assert found == ([] if what is None else [what])
    assert capsys.readouterr().err == ""


def form(said: Mapping[str, str], name: str = WHEEL_NAME) -> list[tuple[str, str]]:
    """Of the right form with other fields."""
    made = rules.Form(fields=fields(name, WHEEL, said=said), filename=name, content=WHEEL)
    found = list(rules.form_problems(made, wheel(name), METADATA.encode()))
    assert {problem.where for problem in found} <= {name}
    return [(problem.rule, problem.what) for problem in found]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"name": "Demo.Project"}, []),
        ({"sha256_digest": fields(WHEEL_NAME, WHEEL)["sha256_digest"][0].upper()}, []),
        ({"sha256_digest": "", "blake2_256_digest": rules.blake2_256(WHEEL)}, []),
        ({":action": "submit"}, [("form.action", "unknown action 'submit'")]),
        ({"protocol_version": "2"}, [("form.protocol", "unknown protocol version")]),
        ({"filetype": "sdist"}, [("form.filetype", "file type 'sdist' does not fit the name")]),
        ({"pyversion": "source"}, [("form.pyversion", "python version 'source' does not fit the file")]),
        ({"pyversion": ""}, [("form.pyversion", "python version '' does not fit the file")]),
        ({"sha256_digest": ""}, [("form.digest", "no digest came with the file")]),
        (
            {"blake2_256_digest": "0"},
            [("form.digest", f"blake2_256_digest is 0, that of the bytes is {rules.blake2_256(WHEEL)}")],
        ),
        ({"name": "other"}, [("form.metadata", "name is 'other', in the file 'demo-project'")]),
        ({"version": "1.0.0"}, [("form.metadata", "version is '1.0.0', in the file '1.0'")]),
        ({"version": "V1.0"}, [("form.metadata", "version is 'V1.0', in the file '1.0'")]),
        ({"metadata_version": "2.1"}, [("form.metadata", "metadata_version is '2.1', in the file '2.4'")]),
    ],
)
def test_what_is_said_of_a_form(changed: dict[str, str], found: list[tuple[str, str]]) -> None:
    """What the client sent, and what it should have been."""
    assert form(changed) == found


def test_a_form_says_no_more_than_the_file() -> None:
    """What the metadata leaves out is empty."""
    made = rules.Form(fields=fields(WHEEL_NAME, WHEEL), filename=WHEEL_NAME, content=WHEEL)
    assert [each.what for each in rules.form_problems(made, wheel(), b"Summary: x\n")] == [
        "name is 'demo-project', in the file ''",
        "version is '1.0', in the file ''",
        "metadata_version is '2.4', in the file ''",
    ]
    assert list(rules.form_problems(made, wheel(), None)) == []
