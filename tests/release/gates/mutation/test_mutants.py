"""What a mutant is, and what mutmut leaves unmutated."""

import pytest

from release.gates.mutation.mutants import (
    Mutant,
    Shard,
    Verdict,
    function_lines,
    interleaved,
    read_mutant,
    skipped,
    spread,
    verdict,
)


def mutant(original: str, mutated: str, *, mangled: str = "x_make") -> Mutant:
    """Read a mutant of a function that is given with `{}` for its name."""
    return read_mutant(
        module="release/a.py",
        name=f"release.a.{mangled}__mutmut_7",
        original=original.format(f"{mangled}__mutmut_orig"),
        mutated=mutated.format(f"{mangled}__mutmut_7"),
    )


def test_mutant_says_what_changed_without_indentation() -> None:
    """A person must see the change, not two copies of a function."""
    found = mutant("def {}(a):\n    b = a\n    return b\n", "def {}(a):\n    b = None\n    return b\n")
    assert (found.function, found.was, found.becomes) == ("make", "b = a", "b = None")
    assert (found.module, found.name) == ("release/a.py", "release.a.x_make__mutmut_7")


def test_mutant_of_a_method_is_named_with_its_class() -> None:
    """Two classes have methods of one name."""
    source = "    def {}(self):\n        return 1\n"
    found = mutant(source, source.replace("1", "2"), mangled="xǁMakerǁ__init__")
    assert found.function == "Maker.__init__"
    assert found.was == "return 1"


def test_changed_default_shows_the_function_as_it_is_called() -> None:
    """The line is what stands in the file, not mutmut's copy of it."""
    source = "    def {}(self, a=True):\n        return a\n"
    found = mutant(source, source.replace("True", "False"), mangled="xǁMakerǁmake")
    assert (found.was, found.becomes) == ("def make(self, a=True):", "def make(self, a=False):")


def test_mutant_of_a_generic_function_is_read() -> None:
    """Type parameters stand between the name and the parenthesis."""
    found = mutant("def {}[T](a: T) -> T:\n    return a + 1\n", "def {}[T](a: T) -> T:\n    return a - 1\n")
    assert (found.was, found.becomes) == ("return a + 1", "return a - 1")


def test_removed_line_becomes_nothing() -> None:
    """An argument on a line of its own is dropped whole."""
    found = mutant(
        "def {}():\n    f(\n        a,\n        b,\n    )\n", "def {}():\n    f(\n        b,\n    )\n"
    )
    assert (found.was, found.becomes) == ("a,", "")


def test_last_line_and_repeated_lines_are_found() -> None:
    """What two texts share at their ends is not counted twice."""
    found = mutant("def {}():\n    g()\n    h()\n", "def {}():\n    g()\n")
    assert (found.was, found.becomes) == ("h()", "")
    found = mutant("def {}():\n    g()\n    g()\n", "def {}():\n    g()\n")
    assert (found.was, found.becomes) == ("g()", "")


def test_change_of_several_lines_keeps_them_apart() -> None:
    """A person reads it as it stands in the file."""
    found = mutant("def {}():\n    f(\n        a\n    )\n", "def {}():\n    g(\n        b\n    )\n")
    assert (found.was, found.becomes) == ("f(\na", "g(\nb")


def test_key_does_not_change_with_the_number() -> None:
    """An explanation stays with its mutant when another line of the function changes."""
    before = mutant("def {}():\n    return 1\n", "def {}():\n    return 2\n")
    after = mutant("def {}():\n    g()\n    return 1\n", "def {}():\n    g()\n    return 2\n")
    assert before.key == after.key


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ('Problem(rule=r, what="is gone")', 'Problem(rule=r, what="IS GONE")'),
        ('Problem(remedy="a" if b else "c")', 'Problem(remedy="a" if b else "XXcXX")'),
        ('Problem(what="a" + str(b))', 'Problem(what="A" + str(b))'),
        ('raise ValueError("is gone")', 'raise ValueError("XXis goneXX")'),
        ('console.print("done")', 'console.print("DONE")'),
        ('print("done")', 'print("DONE")'),
        ('print("boxx")', 'print("XXboxxXX")'),
        ('print("boxx")', 'print("BOXX")'),
        ('a = cast("list[A]", b)', 'a = cast("XXlist[A]XX", b)'),
        ('a = typing.cast("list[A]", b)', 'a = typing.cast("LIST[A]", b)'),
        ('a = cast("list[A]", b)', "a = cast(None, b)"),
        ('wrong("a.b", "is gone", c)', 'wrong("a.b", "IS GONE", c)'),
        ('self._problem("a.b", f"is gone" + c)', 'self._problem("a.b", f"XXis goneXX" + c)'),
        ('Problem(rule=r, where="line 1")', 'Problem(rule=r, where="LINE 1")'),
        ('what = "is gone"', 'what = "IS GONE"'),
        ('a = b.encode("ascii", c)', 'a = b.encode("ASCII", c)'),
        ('a = open(b, encoding="utf-8")', 'a = open(b, encoding="UTF-8")'),
    ],
)
def test_words_for_a_person_are_inert(line: str, changed: str) -> None:
    """No sensible test fails when a sentence is written in capitals."""
    assert mutant(f"def {{}}():\n    {line}\n", f"def {{}}():\n    {changed}\n").inert is True


def test_bound_of_a_type_variable_is_inert() -> None:
    """Only a checker reads it."""
    body = "(data: T) -> T:\n    return data\n"
    for word in ("def", "async def"):
        before, after = (f"{word} {{}}[T: A {sign} B]{body}" for sign in "|&")
        assert mutant(before, after).inert is True
    assert mutant("def {}(a=1):\n    return a\n", "def {}(a=2):\n    return a\n").inert is False


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ('Problem(rule="a.b", what=w)', 'Problem(rule="A.B", what=w)'),
        ('raise Refused(Problem(rule="a.b"))', 'raise Refused(Problem(rule="A.B"))'),
        ('Problem(what="is gone")', "Problem(what=None)"),
        ('Problem(what="is gone")', "Problem()"),
        ('Problem(what="a" if b == "c" else d)', 'Problem(what="a" if b == "C" else d)'),
        ('Problem(what=a["b c"])', 'Problem(what=a["B C"])'),
        ('Problem(what=a.get("b"))', 'Problem(what=a.get("B"))'),
        ('return "is gone"', 'return "IS GONE"'),
        ("return a + 1", "return a - 1"),
        ('print("a", end="")', 'print("a", end="XXXX")'),
        ('print("a" if b else c)', 'print("a" if not b else c)'),
        ('run(["git", "print"])', 'run(["git", "PRINT"])'),
        ('Problem(what="a" if b + "c" else d)', 'Problem(what="a" if b + "C" else d)'),
        ('handlers["a"]("b")', 'handlers["a"]("B")'),
        ("return A", "return a"),
        ("return a.B", "return a.b"),
        ('a = cast("list[A]", "b")', 'a = cast("list[A]", "B")'),
        ('a = cast("A", f(b, c))', 'a = cast("A", f(c))'),
        ('a = cast("A", b)', "a = None"),
        ('a = cast("A", b) + 1', 'a = cast("A", b) - 1'),
        ('print(1, "a")', 'print(2, "a")'),
        ('wrong("a.b", "is gone", c)', 'wrong("A.B", "is gone", c)'),
        ('wrong("is gone", c)', "wrong(None, c)"),
        ('send("is gone")', 'send("IS GONE")'),
        ('key = "is gone"', 'key = "IS GONE"'),
        ('a = b.encode("ascii", c)', 'a = b.encode("XXasciiXX", c)'),
        ('a = b.encode("ascii", c)', "a = b.encode(None, c)"),
        ('a = b.encode("utf-8", "replace")', 'a = b.encode("utf-8", "REPLACE")'),
        ('what = "gone"', 'what = "GONE"'),
        ('self.what = "is gone"', 'self.what = "IS GONE"'),
        ('what = a["is gone"]', 'what = a["IS GONE"]'),
        ('Problem(rule=r, where="pyproject.toml")', 'Problem(rule=r, where="PYPROJECT.TOML")'),
        ('f(rule="line 1")', 'f(rule="LINE 1")'),
    ],
)
def test_what_a_program_reads_is_not_inert(line: str, changed: str) -> None:
    """Only text that nothing but a person reads may go untested."""
    assert mutant(f"def {{}}():\n    {line}\n", f"def {{}}():\n    {changed}\n").inert is False


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (0, Verdict.SURVIVED),
        (1, Verdict.KILLED),
        (2, Verdict.KILLED),
        (3, Verdict.KILLED),
        (5, Verdict.NO_TEST),
        (33, Verdict.NO_TEST),
        (-24, Verdict.TIMEOUT),
        (24, Verdict.TIMEOUT),
        (152, Verdict.TIMEOUT),
        (255, Verdict.KILLED),
        (4, Verdict.BROKEN),
        (254, Verdict.BROKEN),
        (-9, Verdict.BROKEN),
        (-11, Verdict.BROKEN),
    ],
)
def test_exit_codes_are_read(code: int, meaning: Verdict) -> None:
    """A test process that died says nothing, and must never count as a kill; one that raised did not die."""
    assert verdict(code) is meaning


SOURCE = '''"""A module."""
import enum
from typing import TYPE_CHECKING

__all__ = ["make"]
if TYPE_CHECKING:
    import json
if typing.TYPE_CHECKING:
    import csv
LIMIT = "a text that is longer than what is shown of it in a list of such"
size: int
def make():
    return 1
@cached
def kept():
    return 2
@register("a")
async def later():
    return 3
@dataclass
class Maker:
    """A class."""
    name: str
    kind: str = "a"
    @staticmethod
    def still():
        return 4
    @classmethod
    def made(cls):
        return 4
    @staticmethod
    @cached
    def twice():
        return 4
    @property
    def shown(self):
        return 5
    async def run(self):
        return 6
    def __new__(cls):
        return 7
    class Inner:
        def deep(self):
            return 8
class Colour(enum.StrEnum):
    RED = "r"
    def __init__(self):
        pass
    def mixed(self):
        return 9
class Shape(Enum):
    def __init__(self):
        pass
class Listed(list[int], Other):
    def __init__(self):
        pass
def __init__():
    pass
try:
    def odd():
        return 10
except ImportError:
    pass
'''


def test_everything_that_is_not_mutated_is_listed() -> None:
    """What mutmut passes over in silence must not look tested."""
    found = skipped("release/a.py", SOURCE)
    assert {each.module for each in found} == {"release/a.py"}
    assert [(each.what, each.why) for each in found] == [
        ("LIMIT = 'a text that is longer than what is shown of it in a", "module level"),
        ("kept", "decorated function"),
        ("later", "decorated function"),
        ("Maker: kind: str = 'a'", "class body"),
        ("Maker.twice", "decorated function"),
        ("Maker.shown", "decorated function"),
        ("Maker.__new__", "function left alone by name"),
        ("Maker.Inner", "class inside a class"),
        ("Colour: RED = 'r'", "class body"),
        ("Colour.__init__", "function left alone by name"),
        ("Shape.__init__", "function left alone by name"),
        ("try:", "module level"),
    ]
    lines = SOURCE.splitlines()
    assert lines[found[0].line - 1].startswith("LIMIT")
    assert lines[found[1].line - 1] == "def kept():"


def test_functions_that_are_mutated_are_found_with_their_lines() -> None:
    """A sample makes mutants of some functions only, by their lines."""
    found = dict(function_lines(SOURCE))
    assert list(found) == [
        "make",
        "Maker.still",
        "Maker.made",
        "Maker.run",
        "Colour.__init__",
        "Colour.mixed",
        "Shape.__init__",
        "Listed.__init__",
        "__init__",
    ]
    lines = SOURCE.splitlines()
    assert [lines[number - 1] for number in found["make"]] == ["def make():", "    return 1"]
    assert [lines[number - 1] for number in found["Maker.run"]] == [
        "    async def run(self):",
        "        return 6",
    ]


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "a/b", "1/", "/1", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    """A mistyped shard must not silently be another part."""
    assert Shard.read(text) is None


def test_each_mutant_is_in_exactly_one_shard() -> None:
    """Parallel jobs together judge every mutant, none twice."""
    shards = [Shard.read(f"{number}/4") for number in range(1, 5)]
    names = [f"release.a.x_make__mutmut_{number}" for number in range(200)]
    held = [[shard is not None and shard.holds(name) for shard in shards] for name in names]
    assert all(sum(each) == 1 for each in held)
    assert {each.index(True) for each in held} == {0, 1, 2, 3}
    assert [each.index(True) for each in held[:8]] == [2, 1, 1, 2, 3, 1, 2, 3]


def test_shard_has_the_leg_the_ledger_knows() -> None:
    """The plan of a release names the legs like this."""
    shard = Shard.read("1/4")
    assert shard is not None
    assert shard.leg == "shard-1-of-4"


def test_spread_depends_on_the_seed_alone() -> None:
    """The same tree gives the same sample, another tree another one."""
    names = [str(number) for number in range(50)]
    assert spread(names, "a") == spread(names[::-1], "a") != spread(names, "b")
    assert sorted(spread(names, "a")) == sorted(names)


def test_interleaved_takes_turns() -> None:
    """The library and the release tools both come into a short sample."""
    assert list(interleaved([["a", "b", "c"], ["1"]])) == ["a", "1", "b", "c"]
    assert not list(interleaved([]))
