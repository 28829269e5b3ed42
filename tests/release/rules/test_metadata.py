"""Core metadata against pyproject.toml."""

import pytest
from packaging.metadata import Metadata

from release.model import Refused
from release.rules.archives import read_archive
from release.rules.metadata import Declared, metadata_problems
from tests.release.build_support import FILES, PYPROJECT, built, rules

README = FILES["README.md"].encode()


def metadata() -> bytes:
    archive = read_archive("tiny.whl", built().wheel)
    return archive.get("tiny_demo-1.2.0.dist-info/METADATA") or b""


def found(data: bytes, declared: Declared | None = None, readme: bytes = README) -> list[str]:
    return rules(metadata_problems("tiny.whl: METADATA", data, declared or Declared.read(PYPROJECT), readme))


def test_what_the_backend_writes_says_what_pyproject_says() -> None:
    """Markers, extras and names are compared as the backend spells them."""
    assert found(metadata()) == []
    assert b"Requires-Dist: fakeredis[lua]" in metadata()


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("metadata-version", b"Metadata-Version: 2.4", b"Metadata-Version: 2.5"),
        ("name", b"Name: tiny-demo", b"Name: tiny-other"),
        ("version", b"Version: 1.2.0", b"Version: 1.2.0.post1"),
        ("summary", b"Summary: A demo", b"Summary: Another demo"),
        ("requires-python", b">=3.12", b">=3.11"),
        ("license", b"License-Expression: MIT", b"License-Expression: Apache-2.0"),
        ("license-files", b"License-File: LICENSE\n", b""),
        ("keywords", b"Keywords: demo", b"Keywords: demo,more"),
        ("classifiers", b"Classifier: ", b"Classifier: Private :: "),
        ("requires-dist", b"redis>=6.2", b"redis>=6.1"),
        ("provides-extra", b"Provides-Extra: ", b"Provides-Extra: more-"),
        ("project-urls", b"example.org", b"example.net"),
        ("description", b"# tiny-demo", b"# huge-demo"),
        ("dynamic", b"Summary:", b"Dynamic: requires-dist\nSummary:"),
    ],
)
def test_one_field_that_differs_is_named(rule: str, old: bytes, new: bytes) -> None:
    """Every field a user sees is compared."""
    assert old in metadata()
    assert found(metadata().replace(old, new)) == [f"metadata.{rule}"]


def says(data: bytes, readme: bytes = README) -> list[str]:
    declared = Declared.read(PYPROJECT)
    return [each.what for each in metadata_problems("tiny.whl: METADATA", data, declared, readme)]


def test_what_differs_is_quoted_from_both() -> None:
    """A text as it is, anything else as Python writes it, and neither at endless length."""
    assert says(metadata().replace(b"Summary: A demo", b"Summary: Another demo")) == [
        "says Another demonstration, pyproject.toml says A demonstration"
    ]
    assert says(metadata().replace(b"Keywords: demo", b"Keywords: demo,more")) == [
        "says ['demo', 'more'], pyproject.toml says ['demo']"
    ]
    for length, end in ((200, ""), (201, "...")):
        long = b"x" * length
        assert says(metadata().replace(b"Summary: A demonstration", b"Summary: " + long)) == [
            f"says {'x' * 200}{end}, pyproject.toml says A demonstration"
        ]

    (said,) = says(metadata().replace(b"Classifier: ", b"Classifier: Private :: " + b"x" * 200, 1))
    assert said.startswith("says ['Private :: xxx")
    assert said.partition(", pyproject.toml says ")[0].endswith("x...")


def test_a_description_that_is_no_text_is_another_one() -> None:
    """A README that is not UTF-8 is a difference and no crash; none at all is the same as an empty one."""
    assert says(metadata(), b"\xff") == ["is not the text of README.md"]
    bare = metadata().partition(b"\n\n")[0].replace(b"Description-Content-Type: text/markdown\n", b"") + b"\n"
    assert says(bare, b"") == []
    assert says(bare, b"XXXX") == ["is not the text of README.md"]


def test_a_finding_of_the_parser_that_names_no_field_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another version of the parser may find what this one does not know."""

    def odd(*_: object, **__: object) -> None:
        raise ExceptionGroup("metadata", [ValueError("odd")])

    monkeypatch.setattr(Metadata, "from_email", odd)
    assert says(b"") == ["odd"]


def test_all_that_the_artefacts_are_compared_with_is_read() -> None:
    """What is promised beside the metadata's own fields."""
    declared = Declared.read(PYPROJECT)
    assert (declared.readme, declared.scripts) == ("README.md", {"tiny-demo": "tiny_demo:main"})
    assert declared.packages == ("src/tiny_demo",)
    assert declared.only_include == (
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "examples",
        "pyproject.toml",
        "src",
        "tests",
    )


def test_metadata_that_breaks_its_specification_names_each_field() -> None:
    """All findings at once, each with its field."""
    broken = (
        metadata()
        .replace(b"Version: 1.2.0", b"Version: one")
        .replace(b"Requires-Python: >=3.12", b"Requires-Python: new")
    )
    declared = Declared.read(PYPROJECT)
    problems = metadata_problems("tiny.whl: METADATA", broken, declared, README)
    assert rules(problems) == ["metadata.valid", "metadata.valid"]
    assert {problem.what.partition(":")[0] for problem in problems} == {"version", "requires-python"}


def test_what_no_index_takes_is_refused_before_any_upload() -> None:
    """A local version and a dependency on an address would be refused at the upload, when it is too late."""
    text = PYPROJECT.replace("1.2.0", "1.2.0+mine").replace(
        "Redis >= 6.2", "redis @ https://example.org/redis.whl"
    )
    data = metadata().replace(b"Version: 1.2.0\n", b"Version: 1.2.0+mine\n")
    data = data.replace(b"Requires-Dist: redis>=6.2", b"Requires-Dist: redis @ https://example.org/redis.whl")
    assert found(data, Declared.read(text)) == ["metadata.local-version", "metadata.direct-url"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml at all", "is not TOML"),
        (PYPROJECT.replace('name = "tiny-demo"\n', ""), "project.name"),
        (PYPROJECT.replace('"1.2.0"', "1.2"), "project.version"),
        (PYPROJECT.replace('"1.2.0"', '"one"'), "Invalid version"),
        (PYPROJECT.replace('">=3.12"', '"new"'), "Invalid specifier"),
        (PYPROJECT.replace("Redis >= 6.2", "Redis >>> 6.2"), "Redis >>> 6.2"),
        (PYPROJECT.partition("[tool")[0], "tool"),
    ],
)
def test_a_pyproject_that_cannot_be_checked_against_is_refused(text: str, says: str) -> None:
    """The artefacts are never compared with half an expectation."""
    with pytest.raises(Refused) as refused:
        Declared.read(text)
    assert set(rules(refused.value.problems)) == {"metadata.pyproject"}
    assert says in refused.value.problems[0].what


def test_requirements_are_spelled_as_the_metadata_spells_them() -> None:
    """Names normalised; an extra's condition beside the requirement's own, or alone."""
    more = 'Fake_Server = ["Odd_Name", "Far @ https://example.org/far.whl ; os_name == \'nt\'", '
    declared = Declared.read(PYPROJECT.replace("Fake_Server = [", more, 1))
    assert declared.requires == {
        "redis>=6.2",
        'pydantic>=2.10; python_version < "3.15" or os_name == "nt"',
        'odd-name; extra == "fake-server"',
        'far @ https://example.org/far.whl ; os_name == "nt" and extra == "fake-server"',
        'fakeredis[lua]>=2.31; (python_version < "3.15" or os_name == "nt") and extra == "fake-server"',
    }
    assert declared.extras == {"fake-server"}


def test_file_names_follow_from_name_and_version() -> None:
    """PEP 625 and the wheel specification."""
    declared = Declared.read(PYPROJECT.replace("tiny-demo", "Tiny.Demo", 1).replace("1.2.0", "1.2.0rc1"))
    assert declared.wheel == "tiny_demo-1.2.0rc1-py3-none-any.whl"
    assert declared.sdist == "tiny_demo-1.2.0rc1.tar.gz"
