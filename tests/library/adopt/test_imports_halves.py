"""Halves of classes: what TTA's subclass keeps of a copy's class, and what its constructor still makes."""

from __future__ import annotations

import libcst as cst
import pytest

from tests.library.adopt.test_imports_shim import shim
from tta_agent_coordination.adopt.imports.classes import used


def half(module: str, text: str) -> str:
    """Turn a module of one class into re-exports; return what stays of the class."""
    return shim(module, text).partition("\n\n\n")[2]


def of_retries(body: str) -> str:
    """Return what stays of a `RetryConfig` with this body."""
    return half("adapters", f"class RetryConfig:\n{body}").partition("\n")[2]


@pytest.mark.parametrize(
    "text",
    [
        "class MessageResult(BaseModel): message_id: str; trace_id: str = ''\n",
        "class MessageResult(BaseModel):\n    trace_id: str = ''; message_id: str\n",
        "class MessageResult(BaseModel):\n    message_id: str; trace_id: str = ''; _hidden = 1\n",
    ],
)
def test_field_that_shares_its_line_is_kept(text: str) -> None:
    """Broken: a field that only one copy has is lost, for the one that stands before it."""
    assert half("messaging", text) == "class MessageResult(BaseMessageResult):\n    trace_id: str = ''\n"


def test_comment_above_what_stays_is_written_once() -> None:
    """Broken: a comment is lost with the field above it, or said of two fields."""
    fields = "    # of the span\n    start: int; end: int\n\n    # of both\n    # of them\n    ends: int\n"
    assert half("messaging", f"class MessageResult(A):\n    error: str\n\n{fields}") == (
        f"class MessageResult(BaseMessageResult):\n{fields.replace('; ', '\n    ')}"
    )


def test_narrowed_type_stands_beside_fields_of_its_own() -> None:
    """Broken: an agent id has its type twice, or loses what only TTA's has."""
    text = (
        "class AgentId(BaseModel):\n    '''Who.'''\n\n    type: AgentType = Field(...)\n"
        "    instance: str | None = None\n    zone: str = ''\n"
    )
    assert half("models", text) == (
        "class AgentId(BaseAgentId, frozen=True):\n    '''Who.'''\n    type: AgentType\n    zone: str = ''\n"
    )


@pytest.mark.parametrize("own", ["", "    '''Who.'''\n\n"])
def test_class_that_only_narrows_has_two_lines(own: str) -> None:
    """Broken: TTA's text hides the package's, though nothing else is TTA's."""
    text = f"class AgentId(BaseModel):\n{own}    type: AgentType\n    instance: str | None = None\n"
    assert half("models", text) == "class AgentId(BaseAgentId, frozen=True):\n    type: AgentType\n"


def test_first_field_is_not_taken_for_the_text_of_the_class() -> None:
    """Broken: the first field of a class without a text comes back."""
    text = "class MessageResult(BaseModel):\n    message_id: str\n    trace_id: str = ''\n"
    assert half("messaging", text) == "class MessageResult(BaseMessageResult):\n    trace_id: str = ''\n"


@pytest.mark.parametrize("base", ["int, Enum", "enum.IntEnum", "lib.kinds.Flag"])
def test_enumeration_is_known_by_the_last_name_of_its_base(base: str) -> None:
    """Broken: a subclass of an enumeration with members is made, which Python refuses."""
    text = f"class MessagePriority({base}):\n    LOW = 1\n    TOP = 10\n"
    assert shim("models", text) == text


@pytest.mark.parametrize("owner", ["self", "cls", "RetryConfig"])
def test_private_members_stay_with_what_calls_them(owner: str) -> None:
    """Broken: the half fails at its first call."""
    twice = f"    def twice(cls, self):\n        return {owner}._times(2)\n"
    assert of_retries(f"    max_retries = 1\n    _times = int\n    _other = 1\n{twice}") == (
        f"    _times = int\n{twice}"
    )


def test_what_the_package_has_is_not_kept_for_a_caller() -> None:
    """Broken: v0's method hides the package's."""
    twice = "    def twice(self):\n        return self.process() * 2\n"
    assert half("interfaces", f"class AgentProxy:\n    def process(self): ...\n{twice}") == (
        f"class AgentProxy(BaseAgentProxy):\n{twice}"
    )


def test_half_that_begins_anew_needs_no_constructor_for_it() -> None:
    """Broken: state that nothing reads is made, since `__init__` is called by name."""
    again = "    def again(self):\n        self.__init__()\n"
    assert of_retries(f"    def __init__(self):\n        self._own = 1\n{again}") == again


@pytest.mark.parametrize("owner", ["self", "RetryConfig"])
def test_constructor_makes_all_that_its_members_read(owner: str) -> None:
    """Broken: one of two attributes is missing, or one from which another is made."""
    made = f"        {owner}._b = 1\n        {owner}._c = {owner}._b\n        {owner}._d = 1\n"
    read = f"    def read(self):\n        return {owner}._c, {owner}._d\n"
    init = "    def __init__(self, max_retries):\n"
    assert of_retries(f"{init}        {owner}._a = 1\n{made}        self.max_retries = 3\n{read}") == (
        f"{init}        super().__init__(max_retries=max_retries)\n{made}{read}"
    )


def test_constructor_leaves_the_packages_state_to_the_package() -> None:
    """Broken: the half overwrites what the package's constructor made."""
    init = "    def __init__(self, redis):\n"
    more = "        self._more = self._redis, self._key\n"
    read = "    def read(self):\n        return self._more\n"
    text = (
        f"class RedisAgentRegistry:\n{init}        self._redis = redis\n        self._key = 1\n{more}{read}"
    )
    assert half("registries.redis_agent_registry", text) == (
        f"class RedisAgentRegistry(BaseRedisAgentRegistry):\n{init}"
        f"        super().__init__(redis=redis)\n{more}{read}"
    )


def test_constructor_gives_declared_fields_their_values() -> None:
    """Broken: a field that stays is declared and never set."""
    body = "    limit: int\n    def __init__(self):\n        {}self.limit = 3\n"
    assert of_retries(body.format("")) == body.format("super().__init__()\n        ")


def test_comments_behind_a_head_stay() -> None:
    """Broken: a pragma of a definition is lost with half of its body."""
    init = "  def __init__(self):  # noqa: D107\n{}    self._a = 1\n  def read(self): return self._a\n"
    assert half("adapters", f"class RetryConfig:  # ours\n  jitter = 1\n{init.format('')}") == (
        f"class RetryConfig(BaseRetryConfig):  # ours\n{init.format('    super().__init__()\n')}"
    )


def test_constructor_on_one_line_is_read_too() -> None:
    """Broken: the half lacks its state, for a constructor that is written short."""
    read = "    def read(self): return self._b\n"
    assert of_retries(f"    def __init__(self): self._a = 1; self._b = 2\n{read}") == (
        f"    def __init__(self):\n        super().__init__()\n        self._b = 2\n{read}"
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("list[Own] | None", "list Own"),
        ("o" * 199, "o" * 199),
        ("o" * 200, ""),
        ("Own = 1", ""),
        ("of Own", ""),
        ("\0", ""),
    ],
)
def test_texts_are_read_as_annotations_only(text: str, names: str) -> None:
    """Broken: a helper stays for a word in a sentence, or goes although an annotation names it."""
    assert used(cst.parse_statement(f"x: {text!r} = y\n")) == {"x", "y", *names.split()}
