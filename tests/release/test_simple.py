"""The client of the JSON simple API, against an index that is right, absent, down, or lies."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from release import simple
from release.model import Kind, Problem, Refused
from release.simple import IndexClient, Listing, compare
from tests.release.build_support import rules
from tests.release.index_support import Answer, Served, artifact, entry, serving

WHEEL = "demo-1.0-py3-none-any.whl"
DATA = b"a wheel"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as index:
        yield index


@pytest.fixture
def client(served: Served) -> Iterator[IndexClient]:
    with IndexClient(served.index) as made:
        yield made


def refusal(client: IndexClient) -> Refused:
    with pytest.raises(Refused) as caught:
        client.listing("demo")
    assert rules(caught.value.problems)
    index = client._index
    assert {problem.where for problem in caught.value.problems} == {f"pypi: {index.project_url('demo')}"}
    return caught.value


def test_a_page_is_read_with_everything_that_is_checked_later(served: Served, client: IndexClient) -> None:
    """Names, absolute addresses, digests, sizes, yanks, metadata and provenance."""
    changes = {"core-metadata": {"sha256": "a" * 64}, "provenance": "../../p"}
    changes["url"] = f"../../files/{WHEEL}#sha256={'a' * 64}"
    served.page("demo", [entry(WHEEL, DATA, **changes), entry("demo-0.9.tar.gz", b"", yanked="broken")])
    wheel, old = client.listing("demo").files
    assert (wheel.name, wheel.url) == (WHEEL, f"{served.root}/files/{WHEEL}")
    assert (wheel.sha256, wheel.size) == (artifact(WHEEL, DATA).sha256, len(DATA))
    assert (wheel.yanked, wheel.metadata_sha256, wheel.provenance) == (
        None,
        "a" * 64,
        f"{served.root}/p",
    )
    assert (old.yanked, old.metadata_sha256, old.provenance) == ("broken", None, None)
    path, headers = served.asked[0]
    assert path == "/simple/demo/"
    assert headers["Accept"] == simple.ACCEPT
    assert headers["Cache-Control"] == "no-cache"
    assert headers["User-Agent"] == "tta-agent-coordination-release"


@pytest.mark.parametrize(("yanked", "seen"), [(False, None), (True, ""), ("why", "why"), ("", "")])
def test_a_yank_is_seen_with_and_without_a_reason(
    served: Served, client: IndexClient, yanked: object, seen: str | None
) -> None:
    """PEP 592: a text, even an empty one, is a yank."""
    served.page("demo", [entry(WHEEL, DATA, yanked=yanked)])
    assert client.listing("demo").files[0].yanked == seen


def test_an_unknown_project_and_an_empty_one_are_both_no_files(served: Served, client: IndexClient) -> None:
    """404 and an empty list mean the same: absent."""
    assert client.listing("demo") == Listing(project="demo", files=())
    served.page("demo", [])
    assert client.listing("demo") == Listing(project="demo", files=())


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_an_index_that_is_down_is_not_yet(served: Served, client: IndexClient, status: int) -> None:
    """The same command again will do."""
    served.answers["/simple/demo/"] = Answer(status=status)
    refused = refusal(client)
    assert refused.kind is Kind.NOT_YET
    assert rules(refused.problems) == ["index.up"]


def test_an_index_that_cannot_be_reached_is_not_yet() -> None:
    """No network is no refusal."""
    with serving() as index:
        closed = index.index
    with IndexClient(closed) as client:
        assert refusal(client).kind is Kind.NOT_YET


def test_an_answer_that_is_cut_off_is_not_yet(served: Served, client: IndexClient) -> None:
    """A broken connection is not a broken index."""
    served.answers["/simple/demo/"] = Answer(body=b"{}", headers={"Content-Length": "100"})
    assert refusal(client).kind is Kind.NOT_YET


@pytest.mark.parametrize("status", [400, 401, 403, 410, 204])
def test_an_index_that_refuses_the_question_is_broken(
    served: Served, client: IndexClient, status: int
) -> None:
    """Waiting will not mend it."""
    served.answers["/simple/demo/"] = Answer(status=status)
    refused = refusal(client)
    assert refused.kind is Kind.REFUSED
    assert rules(refused.problems) == ["index.http"]


GOOD = entry(WHEEL, DATA)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b'{"meta": {"api-version": "1.4"}, "name": "demo"}',
        b'{"meta": {"api-version": "2.0"}, "name": "demo", "files": []}',
        b"\xff\xfe",
        *(
            json.dumps(
                {"meta": {"api-version": "1.4"}, "name": "demo", "files": [{**GOOD, **change}]}
            ).encode()
            for change in (
                {"hashes": {"sha256": "short"}},
                {"hashes": {"sha256": "A" * 64}},
                {"hashes": "none"},
                {"filename": "../evil.whl"},
                {"filename": ""},
                {"filename": "a/b.whl"},
                {"filename": 7},
                {"size": -1},
                {"size": 2**53},
                {"size": "7"},
                {"url": ""},
                {"yanked": 1},
                {"core-metadata": {"sha256": "x"}},
            )
        ),
        json.dumps({"meta": {"api-version": "1.4"}, "name": "demo", "files": [GOOD, GOOD]}).encode(),
    ],
)
def test_garbage_is_refused_with_the_place_that_is_wrong(
    served: Served, client: IndexClient, body: bytes
) -> None:
    """What breaks the API is told apart from a lag, and is no crash."""
    served.answers["/simple/demo/"] = Answer(body=body)
    refused = refusal(client)
    assert refused.kind is Kind.REFUSED
    assert rules(refused.problems) == ["index.simple-api"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no page", "the page: Invalid JSON"),
        (b'{"meta": {"api-version": 1}, "name": "demo", "files": []}', "meta.api-version: Input should be"),
        (
            b'{"meta": {"api-version": "1.4"}, "name": "demo", "files": [{"filename": "a"}]}',
            "files.0.url: Field required",
        ),
    ],
)
def test_what_is_wrong_with_a_page_is_said_with_its_place(
    served: Served, client: IndexClient, body: bytes, said: str
) -> None:
    """A person finds it in a page of megabytes."""
    served.answers["/simple/demo/"] = Answer(body=body)
    [problem] = refusal(client).problems
    assert problem.what.startswith(said)


def test_another_projects_page_is_refused(served: Served, client: IndexClient) -> None:
    """An index that mixes projects up is not believed."""
    served.page("demo", [], name="other")
    assert rules(refusal(client).problems) == ["index.project"]


@pytest.mark.parametrize("where", ["url", "provenance"])
def test_a_file_behind_another_scheme_is_refused(served: Served, client: IndexClient, where: str) -> None:
    """No file of this machine, and nothing unencrypted behind an encrypted page."""
    addresses = {"provenance": "../../p", where: "file:///etc/passwd"}
    served.page("demo", [entry(WHEEL, DATA, **addresses)])
    [problem] = refusal(client).problems
    assert rules([problem]) == ["index.file-address"]
    assert problem.what == f"points to 'file:///etc/passwd' for {WHEEL}: another scheme"


@pytest.mark.parametrize("where", ["url", "provenance"])
def test_an_address_that_cannot_be_taken_apart_is_refused(
    served: Served, client: IndexClient, where: str
) -> None:
    """Garbage in a listing is the index's fault, and no crash."""
    served.page("demo", [entry(WHEEL, DATA, **{where: "http://[::demo.whl"})])
    [problem] = refusal(client).problems
    assert rules([problem]) == ["index.file-address"]
    assert WHEEL in problem.what


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999/demo.whl", "http://\0/demo.whl"])
def test_an_address_that_is_none_is_refused(served: Served, client: IndexClient, address: str) -> None:
    """Waiting does not turn it into one."""
    served.page("demo", [entry(WHEEL, DATA, url=address)])
    with pytest.raises(Refused) as caught:
        client.fetch(client.listing("demo").files[0])
    assert (caught.value.kind, rules(caught.value.problems)) == (Kind.REFUSED, ["index.file-address"])
    assert caught.value.problems[0].where == f"pypi: {address}"


def test_a_certificate_that_is_not_trusted_is_refused(served: Served) -> None:
    """Waiting does not mend who answers."""
    index = replace(served.index, simple_url=served.index.simple_url.replace("http:", "https:"))
    with IndexClient(index) as client:
        assert repr(client) == "IndexClient(pypi)"
        refused = refusal(client)
    assert (refused.kind, rules(refused.problems)) == (Kind.REFUSED, ["index.certificate"])


def test_a_redirect_to_another_host_is_refused(served: Served, client: IndexClient) -> None:
    """The answer comes from the index that was asked."""
    with serving() as other:
        other.page("demo", [])
        there = f"{other.root}/simple/demo/"
        served.answers["/simple/demo/"] = Answer(status=302, headers={"Location": there})
        [problem] = refusal(client).problems
        assert rules([problem]) == ["index.redirect"]
        assert problem.where == f"pypi: {served.root}/simple/demo/"
        assert there in problem.what
        assert other.asked == []


@pytest.mark.parametrize(
    "there", ["https://127.0.0.1:{port}/simple/demo/", "file:///etc/passwd", "http://[::", "/simple/demo/"]
)
def test_a_redirect_that_leads_nowhere_is_refused(served: Served, client: IndexClient, there: str) -> None:
    """Another scheme on the same host is elsewhere, too; and nobody walks in a circle for half an hour."""
    location = there.format(port=served.port)
    served.answers["/simple/demo/"] = Answer(status=302, headers={"Location": location})
    refused = refusal(client)
    assert (refused.kind, rules(refused.problems)) == (Kind.REFUSED, ["index.redirect"])


def test_a_redirect_within_the_index_is_followed(served: Served, client: IndexClient) -> None:
    """An index may keep its pages where it likes."""
    served.page("demo", [entry(WHEEL, DATA)])
    served.answers["/moved/"] = served.answers["/simple/demo/"]
    served.answers["/simple/demo/"] = Answer(status=301, headers={"Location": "/moved/"})
    assert [file.name for file in client.listing("demo").files] == [WHEEL]


def test_a_page_without_end_is_refused(
    served: Served, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index cannot fill this machine's memory."""
    monkeypatch.setattr(simple, "PAGE_LIMIT", 100)
    served.answers["/simple/demo/"] = Answer(body=b" " * 101)
    [problem] = refusal(client).problems
    assert rules([problem]) == ["index.size"]
    assert problem.where == f"pypi: {served.root}/simple/demo/"


def test_a_page_of_just_the_size_that_is_allowed_is_read(
    served: Served, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit itself is within it."""
    served.page("demo", [])
    page = served.answers["/simple/demo/"]
    assert isinstance(page, Answer)
    monkeypatch.setattr(simple, "PAGE_LIMIT", len(page.body))
    assert client.listing("demo").files == ()


def test_a_page_that_is_too_large_is_not_read_to_its_end(
    served: Served, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a page without end no more is kept than what shows that it is too large."""
    monkeypatch.setattr(simple, "PAGE_LIMIT", 100)
    served.answers["/simple/demo/"] = Answer(body=b" " * 131_072, headers={"Content-Length": "1000000"})
    assert rules(refusal(client).problems) == ["index.size"]


def test_an_answer_that_does_not_come_to_its_end_is_not_waited_for(
    served: Served, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that sends a byte now and then holds neither the stage nor the end of its process."""
    monkeypatch.setattr(simple, "ANSWER_S", 0.0)
    ended = threading.Event()

    def never() -> Answer:
        ended.wait()
        return Answer(status=404)

    served.answers["/simple/demo/"] = never
    address = f"{served.root}/simple/demo/"
    try:
        refused = refusal(client)
        [asking] = [each for each in threading.enumerate() if each.name == f"ask {address}"]
    finally:
        ended.set()
    asking.join()
    assert asking.daemon
    assert refused.kind is Kind.NOT_YET
    assert refused.problems == (
        Problem(
            rule="index.up",
            where=f"pypi: {address}",
            what="has not answered in full within 0 seconds",
            remedy="run the same command again later; nothing has to be undone",
        ),
    )


def test_an_index_is_given_so_long_to_answer_and_so_long_between_two_packets(
    served: Served, client: IndexClient
) -> None:
    """One that says nothing at all is given up before one that goes on and on."""
    seen: list[object] = []

    def look(_: object, *__: object, **given: object) -> None:
        seen.append(given["timeout"])

    client._session.hooks["response"].append(look)
    served.page("demo", [])
    client.listing("demo")
    assert seen == [(10.0, 60.0)]
    assert simple.ANSWER_S == 600


def test_files_and_metadata_are_fetched_and_checked(served: Served, client: IndexClient) -> None:
    """What is served is what is listed."""
    served.files("demo", {WHEEL: DATA}, metadata=b"Name: demo\n")
    file = client.listing("demo").files[0]
    assert client.fetch(file) == DATA
    assert client.metadata(file) == b"Name: demo\n"


def test_a_file_is_put_together_from_all_its_pieces(served: Served, client: IndexClient) -> None:
    """What is larger than one piece is whole, and an empty file is a file."""
    large = bytes(range(256)) * 1024
    served.files("demo", {WHEEL: large, "demo-1.0.tar.gz": b""})
    assert [client.fetch(file) for file in client.listing("demo").files] == [large, b""]


def test_who_signed_a_file_is_asked_for_as_such(
    served: Served, client: IndexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEP 740: an answer in JSON, of a size that is bounded as a page's."""
    served.page("demo", [entry(WHEEL, DATA, provenance=f"{served.root}/p")])
    served.answers["/p"] = Answer(body=b"{}")
    address = client.listing("demo").files[0].provenance
    assert address is not None
    assert client.provenance(address) == b"{}"
    path, headers = served.asked[-1]
    assert (path, headers["Accept"]) == ("/p", simple.PROVENANCE_ACCEPT)
    monkeypatch.setattr(simple, "PAGE_LIMIT", 1)
    with pytest.raises(Refused) as caught:
        client.provenance(address)
    assert rules(caught.value.problems) == ["index.size"]


@pytest.mark.parametrize("what", ["", ".metadata"])
def test_other_bytes_than_listed_are_refused(served: Served, client: IndexClient, what: str) -> None:
    """An index that lists one thing and serves another is broken."""
    served.files("demo", {WHEEL: DATA}, metadata=b"Name: demo\n")
    served.answers[f"/files/{WHEEL}{what}"] = Answer(body=b"other")
    file = client.listing("demo").files[0]
    with pytest.raises(Refused) as caught:
        (client.metadata if what else client.fetch)(file)
    [problem] = caught.value.problems
    assert rules([problem]) == ["index.served-bytes"]
    assert problem.where == f"pypi: {served.root}/files/{WHEEL}{what}"
    assert str(file.metadata_sha256 if what else file.sha256) in problem.what


def test_a_listed_file_that_is_missing_is_refused(served: Served, client: IndexClient) -> None:
    """A listing without its file is broken, not late."""
    served.page("demo", [entry(WHEEL, DATA)])
    with pytest.raises(Refused) as caught:
        client.fetch(client.listing("demo").files[0])
    [problem] = caught.value.problems
    assert rules([problem]) == ["index.http"]
    assert problem.where == f"pypi: {served.root}/files/{WHEEL}"
    assert problem.what == "answers 404 to its own address"
    assert caught.value.kind is Kind.REFUSED


def test_no_credentials_of_this_machine_are_sent(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Questions are anonymous, whatever a netrc file says."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    with IndexClient(served.index) as client:
        client.listing("demo")
    assert "Authorization" not in served.asked[0][1]


def test_a_listing_is_held_against_the_ledger(served: Served, client: IndexClient) -> None:
    """Present, absent and other bytes are three different things."""
    served.page(
        "demo", [entry(WHEEL, DATA), entry("demo-1.0.tar.gz", b"other"), entry("nosha.whl", b"", hashes={})]
    )
    listing = client.listing("demo")
    wanted = [
        artifact(WHEEL, DATA),
        artifact("demo-1.0.tar.gz", b"sdist"),
        artifact("late.whl", b""),
        artifact("nosha.whl", b""),
    ]
    standing = compare(served.index, listing, wanted)
    assert [file.name for file in standing.present] == [WHEEL]
    assert [each.name for each in standing.absent] == ["late.whl"]
    assert rules(standing.problems) == ["index.digest", "index.digest"]
    assert artifact("demo-1.0.tar.gz", b"other").sha256 in standing.problems[0].what
    assert artifact("demo-1.0.tar.gz", b"sdist").sha256 in standing.problems[0].what
    assert standing.problems[1].what.startswith("lists sha256 not given, 0 bytes; the ledger has sha256 ")


def test_a_size_that_does_not_fit_the_digest_is_refused(served: Served, client: IndexClient) -> None:
    """An index that is wrong about one of the two is not believed about the other."""
    served.page("demo", [entry(WHEEL, DATA, size=1)])
    assert rules(compare(served.index, client.listing("demo"), [artifact(WHEEL, DATA)]).problems) == [
        "index.digest"
    ]
    served.page("demo", [entry(WHEEL, DATA, size=None)])
    assert not compare(served.index, client.listing("demo"), [artifact(WHEEL, DATA)]).problems
