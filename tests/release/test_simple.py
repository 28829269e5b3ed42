"""The client of the JSON simple API, against an index that is right, absent, down, or lies."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from release import simple
from release.model import Kind, Refused
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
    return caught.value


def test_a_page_is_read_with_everything_that_is_checked_later(served: Served, client: IndexClient) -> None:
    """Names, absolute addresses, digests, sizes, yanks, metadata and provenance."""
    metadata = {"core-metadata": {"sha256": "a" * 64}, "provenance": f"{served.root}/p"}
    served.page("demo", [entry(WHEEL, DATA, **metadata), entry("demo-0.9.tar.gz", b"", yanked="broken")])
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


def test_another_projects_page_is_refused(served: Served, client: IndexClient) -> None:
    """An index that mixes projects up is not believed."""
    served.page("demo", [], name="other")
    assert rules(refusal(client).problems) == ["index.project"]


def test_a_file_behind_another_scheme_is_refused(served: Served, client: IndexClient) -> None:
    """No file of this machine, and nothing unencrypted behind an encrypted page."""
    served.page("demo", [entry(WHEEL, DATA, url="file:///etc/passwd")])
    assert rules(refusal(client).problems) == ["index.file-address"]


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


def test_files_and_metadata_are_fetched_and_checked(served: Served, client: IndexClient) -> None:
    """What is served is what is listed."""
    served.files("demo", {WHEEL: DATA}, metadata=b"Name: demo\n")
    file = client.listing("demo").files[0]
    assert client.fetch(file) == DATA
    assert client.metadata(file) == b"Name: demo\n"


@pytest.mark.parametrize("what", ["", ".metadata"])
def test_other_bytes_than_listed_are_refused(served: Served, client: IndexClient, what: str) -> None:
    """An index that lists one thing and serves another is broken."""
    served.files("demo", {WHEEL: DATA}, metadata=b"Name: demo\n")
    served.answers[f"/files/{WHEEL}{what}"] = Answer(body=b"other")
    file = client.listing("demo").files[0]
    with pytest.raises(Refused) as caught:
        (client.metadata if what else client.fetch)(file)
    assert rules(caught.value.problems) == ["index.served-bytes"]


def test_a_listed_file_that_is_missing_is_refused(served: Served, client: IndexClient) -> None:
    """A listing without its file is broken, not late."""
    served.page("demo", [entry(WHEEL, DATA)])
    with pytest.raises(Refused) as caught:
        client.fetch(client.listing("demo").files[0])
    assert rules(caught.value.problems) == ["index.http"]
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
    assert "not given" in standing.problems[1].what


def test_a_size_that_does_not_fit_the_digest_is_refused(served: Served, client: IndexClient) -> None:
    """An index that is wrong about one of the two is not believed about the other."""
    served.page("demo", [entry(WHEEL, DATA, size=1)])
    assert rules(compare(served.index, client.listing("demo"), [artifact(WHEEL, DATA)]).problems) == [
        "index.digest"
    ]
    served.page("demo", [entry(WHEEL, DATA, size=None)])
    assert not compare(served.index, client.listing("demo"), [artifact(WHEEL, DATA)]).problems
