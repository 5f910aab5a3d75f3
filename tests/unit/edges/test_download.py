"""edges/download.py: only what is new, from where it stopped, and never half of it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers import Server, answering, receive, serving, status
from vedette.edges.download import Fetcher
from vedette.errors import KnowledgeError

NOW = 1_790_000_000.0
DAY = 86_400


class Slept(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def slept() -> Slept:
    return Slept()


@pytest.fixture
def fetcher(tmp_path: Path, slept: Slept) -> Fetcher:
    return Fetcher(tmp_path / "cache", sleep=slept, now=lambda: NOW)


def cut(text: str, length: int, *headers: str) -> str:
    """Return an answer that promises more than it holds."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {length}", *headers, "", text])


def test_what_has_not_changed_is_not_sent_again(fetcher: Fetcher) -> None:
    """By its ETag and its date, which are kept beside it."""
    marks = ('ETag: "a"', "Last-Modified: Sun, 22 Nov 2026 00:00:00 GMT")
    with serving(answering(status(200, "feed", *marks), "HTTP/1.1 304 X\r\n\r\n")) as server:
        first = fetcher.fetch(f"{server.url}/feed.json")
        second = fetcher.fetch(f"{server.url}/feed.json")

    assert first == second
    assert first.read_text() == "feed"
    assert first.name.endswith("-feed.json")
    assert "if-none-match" not in server.requests[0].headers
    assert server.requests[1].headers["if-none-match"] == '"a"'
    assert server.requests[1].headers["if-modified-since"] == "Sun, 22 Nov 2026 00:00:00 GMT"


def test_what_was_cut_off_goes_on_where_it_stopped(fetcher: Fetcher, slept: Slept) -> None:
    """If it still is the same; the server decides that by the ETag."""
    rest = "HTTP/1.1 206 X\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\n\r\n456789"
    with serving(answering(cut("0123", 10, 'ETag: "a"'), rest)) as server:
        path = fetcher.fetch(f"{server.url}/feed")

    assert path.read_text() == "0123456789"
    assert server.requests[1].headers["range"] == "bytes=4-"
    assert server.requests[1].headers["if-range"] == '"a"'
    assert slept == [2.0]


def test_a_later_run_goes_on_as_well(fetcher: Fetcher) -> None:
    """A controller that was switched off in the middle."""
    with serving(answering(cut("0123", 10, 'ETag: "a"'))) as server:
        url = f"{server.url}/feed"
        with pytest.raises(KnowledgeError, match=r"broke off after 4 of 10 bytes, 5 times"):
            fetcher.fetch(url)
        assert not [path for path in fetcher.cache.iterdir() if not path.name.startswith(".")]
        server.requests.clear()
        with pytest.raises(KnowledgeError):
            fetcher.fetch(url)

    assert server.requests[0].headers["range"] == "bytes=4-"


@pytest.mark.parametrize(
    "answer",
    [status(200, "new", 'ETag: "b"'),  # it has changed
     status(206, "6789", "Content-Range: bytes 6-9/10"),  # not what was asked for
     status(416)],
)  # fmt: skip
def test_what_does_not_fit_is_fetched_anew(fetcher: Fetcher, answer: str) -> None:
    """Never the end of one file behind the beginning of another."""
    whole = status(200, "new", 'ETag: "b"')
    with serving(answering(cut("0123", 10, 'ETag: "a"'), answer, whole)) as server:
        path = fetcher.fetch(f"{server.url}/feed")

    assert path.read_text() == "new"


def test_without_a_mark_the_rest_is_not_asked_for(fetcher: Fetcher) -> None:
    """Nobody could tell whether it is still the same."""
    with serving(answering(cut("0123", 10), status(200, "new"))) as server:
        path = fetcher.fetch(f"{server.url}/feed")

    assert path.read_text() == "new"
    assert "range" not in server.requests[1].headers


def test_a_busy_server_is_asked_again_later(fetcher: Fetcher, slept: Slept) -> None:
    """When it says, else after ever longer pauses."""
    busy = (status(503, "", "Retry-After: 7"), status(429), status(503, "", "Retry-After: 9999"))
    with serving(answering(*busy, status(200, "feed"))) as server:
        fetcher.fetch(f"{server.url}/feed")

    assert slept == [7.0, 4.0, 60.0]


def test_what_does_not_work_is_said_and_the_old_file_stays(fetcher: Fetcher) -> None:
    """Five attempts, or one where a second cannot help."""
    with serving(answering(status(200, "old"), status(503))) as server:
        path = fetcher.fetch(f"{server.url}/feed")
        with pytest.raises(KnowledgeError, match="the server answers 503, 5 times"):
            fetcher.fetch(f"{server.url}/feed")
    assert len(server.requests) == 6
    assert path.read_text() == "old"

    with (
        serving(answering(status(404))) as server,
        pytest.raises(KnowledgeError, match="cannot be fetched: HTTP Error 404"),
    ):
        fetcher.fetch(f"{server.url}/feed")
    assert len(server.requests) == 1

    with pytest.raises(KnowledgeError, match="refused, 5 times"):
        fetcher.fetch(f"{server.url}/feed")


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/x", "feed.json", "http://"])
def test_nothing_but_http_is_fetched(fetcher: Fetcher, url: str) -> None:
    """A URL is no way around permissions."""
    with pytest.raises(KnowledgeError, match=r"cannot be fetched|no host given"):
        fetcher.fetch(url)


def test_an_enormous_file_is_not_begun(fetcher: Fetcher) -> None:
    """A disk is soon full."""
    with (
        serving(answering(cut("0", 1 << 40))) as server,
        pytest.raises(KnowledgeError, match="larger than 1 GiB"),
    ):
        fetcher.fetch(f"{server.url}/feed")


def test_what_could_not_be_read_is_forgotten(fetcher: Fetcher) -> None:
    """Else "nothing new" would be the answer for ever."""
    with serving(answering(status(200, "feed", 'ETag: "a"'))) as server:
        url = f"{server.url}/feed"
        fetcher.fetch(url)
        fetcher.forget(url)
        assert list(fetcher.cache.iterdir()) == []
        fetcher.fetch(url)

    assert "if-none-match" not in server.requests[1].headers


# ---- NVD's API ----

API = "/rest/json/cves/2.0"


class Nvd:
    """Five records, two on each page. broken: at which startIndex it fails."""

    def __init__(self, *, total: int = 5, broken: int = -1) -> None:
        self.total, self.broken = total, broken

    def __call__(self, line: socket.socket, server: Server) -> None:
        request = receive(line)
        server.requests.append(request)
        start = int(parse_qs(urlsplit(request.target).query)["startIndex"][0])
        if start == self.broken:
            line.sendall(status(404).encode())
            return
        found = [{"cve": {"id": f"CVE-2024-000{n}"}} for n in range(start, self.total)[:2]]
        page = {"startIndex": start, "totalResults": self.total, "vulnerabilities": found}
        line.sendall(status(200, json.dumps(page)).encode())

    @staticmethod
    def asked(server: Server) -> Iterator[dict[str, str]]:
        for request in server.requests:
            yield {k: v[0] for k, v in parse_qs(urlsplit(request.target).query).items()}


def test_nvd_is_fetched_page_by_page(fetcher: Fetcher, slept: Slept) -> None:
    """Slowly, as NIST asks for."""
    with serving(Nvd()) as server:
        directory = fetcher.fetch(server.url + API)
        asked = list(Nvd.asked(server))

    assert asked == [{"startIndex": "0"}, {"startIndex": "2"}, {"startIndex": "4"}]
    pages = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    assert [page["startIndex"] for page in pages] == [0, 2, 4]
    assert slept == [6.0] * 3
    assert "apikey" not in server.requests[0].headers


def test_later_only_what_has_changed_is_fetched(tmp_path: Path, slept: Slept) -> None:
    """In windows of at most 120 days; with a key, faster."""
    cache = tmp_path / "cache"
    with serving(Nvd(total=2)) as server:
        url = server.url + API
        Fetcher(cache, sleep=slept, now=lambda: NOW).fetch(url)
        server.requests.clear()
        slept.clear()
        directory = Fetcher(cache, "key", slept, lambda: NOW + 250 * DAY).fetch(url)
        asked = list(Nvd.asked(server))

    assert [one["lastModStartDate"][:10] for one in asked] == [
        "2026-09-21", "2027-01-19", "2027-05-19",
    ]  # fmt: skip
    assert [one["lastModEndDate"][:10] for one in asked] == [
        "2027-01-19", "2027-05-19", "2027-05-29",
    ]  # fmt: skip
    assert len(list(directory.glob("*.json"))) == 4
    assert server.requests[0].headers["apikey"] == "key"
    assert slept == [0.6] * 3


def test_a_run_that_was_cut_off_goes_on_with_the_missing_page(fetcher: Fetcher) -> None:
    """150 pages take a quarter of an hour."""
    nvd = Nvd(broken=2)
    with serving(nvd) as server:
        with pytest.raises(KnowledgeError, match="404"):
            fetcher.fetch(server.url + API)
        nvd.broken = -1
        server.requests.clear()
        fetcher.fetch(server.url + API)
        asked = list(Nvd.asked(server))

    assert [one["startIndex"] for one in asked] == ["2", "4"]


@pytest.mark.parametrize("page", ["<html>", "{}", '{"totalResults": 9, "vulnerabilities": []}'])
def test_a_page_that_is_none_is_not_kept(fetcher: Fetcher, page: str) -> None:
    """An error page with status 200."""
    with (
        serving(answering(status(200, page))) as server,
        pytest.raises(KnowledgeError, match="page 0"),
    ):
        fetcher.fetch(server.url + API)

    assert list(fetcher.cache.rglob("*.json")) == []
