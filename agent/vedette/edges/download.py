"""Fetch feeds over HTTP into a directory, and only what is new in them.

Of each file its ETag and date are kept beside it, so that an unchanged one is not sent again, and
what was cut off goes on where it stopped. The agent's own process never imports this.
"""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from vedette.errors import KnowledgeError

Progress = Callable[[float], None]

_LARGEST = 1 << 30  # bytes of one file
_CHUNK = 1 << 16
_SILENCE_SECONDS = 60  # after which a server that says nothing is given up
_ATTEMPTS = 5
_LONGEST_WAIT = 60.0  # seconds between two attempts, whatever a server asks for
_GONE = 416  # Range Not Satisfiable
_NOT_MODIFIED, _PARTIAL = 304, 206
_TRY_AGAIN = frozenset({403, 408, 429, 500, 502, 503, 504})  # 403: NVD, when asked too often

# https://nvd.nist.gov/developers/vulnerabilities, and "best practices" there.
_NVD_PATH = "/rest/json/cves/2.0"
_NVD_WINDOW = timedelta(days=120)
_NVD_PAUSE, _NVD_PAUSE_WITH_KEY = 6.0, 0.6


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Where to keep what is fetched, and how to wait.

    nvd_key: NVD's API key, "" if there is none.
    """

    cache: Path
    nvd_key: str = ""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time

    def fetch(self, url: str, progress: Progress = lambda _: None) -> Path:
        """Return the file behind `url`, or a directory of NVD's pages. Raises KnowledgeError."""
        if urlsplit(url).path.endswith(_NVD_PATH):
            return self._nvd(url, progress)
        path = self._path(url)
        self._into(url, path, {}, progress)
        return path

    def forget(self, url: str) -> None:
        """Drop what cannot be read, so that the next call fetches it anew."""
        path = self._path(url)
        for name in (path, *(_beside(path, what) for what in ("head", "part", "part-head"))):
            with suppress(OSError):  # what cannot be removed will be refused again
                name.unlink()

    def _path(self, url: str) -> Path:
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        return self.cache / f"{digest}-{urlsplit(url).path.rpartition('/')[2][-80:] or 'feed'}"

    def _into(self, url: str, path: Path, headers: Mapping[str, str], progress: Progress) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    _once(url, path, headers, progress)
                except _Again as exc:
                    if attempt == _ATTEMPTS:
                        raise KnowledgeError(f"{url}: {exc}, {attempt} times") from exc
                    self.sleep(min(_LONGEST_WAIT, exc.after or 2.0**attempt))
                else:
                    return
        except (OSError, ValueError) as exc:
            raise KnowledgeError(f"{url} cannot be fetched: {exc}") from exc

    def _nvd(self, url: str, progress: Progress) -> Path:
        """Fetch all records page by page; later only those that changed since.

        A run that was cut off goes on with the page that is missing. All pages stay: of a record
        that comes twice, its newest state counts.
        """
        directory = self._path(url)
        state_file = directory.with_name(f".{directory.name}.state")
        state = _loaded(state_file)
        if "run" not in state:
            end = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")
            state["run"] = {"begin": state.get("until"), "end": end}
            self._keep(state_file, state)
        run = state["run"]
        windows = list(_windows(run["begin"], run["end"]))
        for number, window in enumerate(windows):
            self._nvd_window(url, directory, f"{run['end']}-{number:03}", window, progress)
        self._keep(state_file, {"until": run["end"]})
        return directory

    def _nvd_window(
        self, url: str, directory: Path, name: str, window: Mapping[str, str], progress: Progress
    ) -> None:
        start, total = 0, 1
        headers = {"apiKey": self.nvd_key} if self.nvd_key else {}
        while start < total:
            page = directory / f"{name.replace(':', '')}-{start:07}.json"
            if not page.exists():
                query = urlencode({"startIndex": start, **window})
                self._into(f"{url}?{query}", page, headers, lambda _: None)
                _beside(page, "head").unlink(missing_ok=True)
                self.sleep(_NVD_PAUSE_WITH_KEY if self.nvd_key else _NVD_PAUSE)
            try:
                told = json.loads(page.read_bytes())
                total, size = int(told["totalResults"]), len(told["vulnerabilities"])
            except (OSError, ValueError, KeyError, TypeError) as exc:
                page.unlink(missing_ok=True)
                raise KnowledgeError(f"{url}: page {start} cannot be read: {exc!r}") from exc
            if start < total and not size:
                page.unlink(missing_ok=True)
                raise KnowledgeError(f"{url}: page {start} is empty, of {total} records")
            start += size
            progress(start / max(total, 1))

    def _keep(self, path: Path, content: Mapping[str, Any]) -> None:
        try:
            _save(path, content)
        except OSError as exc:
            raise KnowledgeError(f"{path} cannot be written: {exc}") from exc


class _Again(Exception):
    """It did not work, but may the next time. after: seconds to wait, 0 if nobody has said."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


class _Stale(_Again):
    """What has come so far is no beginning of what the server has now."""


def _windows(begin: str | None, end: str) -> Iterator[dict[str, str]]:
    """Yield the parameters that ask for what changed between two times, all of it without one."""
    if begin is None:
        yield {}
        return
    at, last = datetime.fromisoformat(begin), datetime.fromisoformat(end)
    while at < last:
        until = min(at + _NVD_WINDOW, last)
        yield {
            "lastModStartDate": at.isoformat(timespec="milliseconds"),
            "lastModEndDate": until.isoformat(timespec="milliseconds"),
        }
        at = until


def _once(url: str, path: Path, headers: Mapping[str, str], progress: Progress) -> None:
    """Fetch once; what came stays for the next attempt. Raises _Again, OSError, ValueError."""
    head, part = _beside(path, "head"), _beside(path, "part")
    known, begun = _loaded(head), _loaded(_beside(path, "part-head"))
    asked = {"User-Agent": "vedette", "Accept-Encoding": "identity", **headers}
    have = part.stat().st_size if part.exists() else 0
    mark = begun.get("ETag") or begun.get("Last-Modified")
    if have and mark:
        asked |= {"Range": f"bytes={have}-", "If-Range": mark}
    elif path.exists():
        asked |= {"If-None-Match": known["ETag"]} if known.get("ETag") else {}
        asked |= {"If-Modified-Since": known["Last-Modified"]} if "Last-Modified" in known else {}
    try:
        with _opened(url, asked) as answer:
            if answer is None:  # nothing new
                return
            goes_on = answer.status == _PARTIAL and _begins_at(answer, have)
            _save(_beside(path, "part-head"), _marks(answer))
            _receive(answer, part, have if goes_on else 0, progress)
    except _Stale:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    _beside(path, "part-head").replace(head)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to http."""

    def redirect_request(  # noqa: PLR0917 - urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        if req.type == "https" and not newurl.startswith("https:"):
            raise ValueError(f"it redirects to {newurl[:80]}, without TLS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_NoDowngrade)


@contextmanager
def _opened(url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse | None]:
    """Ask; None stands for "nothing new"."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("neither http nor https")
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - looked at above
    try:
        answer = _OPENER.open(request, timeout=_SILENCE_SECONDS)
    except urllib.error.HTTPError as exc:
        with exc:
            if exc.code == _NOT_MODIFIED:
                answer = None
            elif exc.code == _GONE:
                raise _Stale("the server has no such part") from exc
            elif exc.code in _TRY_AGAIN:
                after = exc.headers.get("Retry-After", "")
                raise _Again(
                    f"the server answers {exc.code}", float(after) if after.isdigit() else 0.0
                ) from exc
            else:
                raise
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as exc:
        raise _Again(str(getattr(exc, "reason", exc)) or type(exc).__name__) from exc
    if answer is None:
        yield None
        return
    with answer:
        yield answer


def _receive(answer: http.client.HTTPResponse, part: Path, have: int, progress: Progress) -> None:
    told = answer.headers.get("Content-Length", "")
    total = have + int(told) if told.isdigit() else None
    if (total or 0) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 30} GiB")
    with part.open("r+b" if have else "wb") as file:
        file.seek(have)
        while True:
            try:
                chunk = answer.read(_CHUNK)
            except (TimeoutError, ConnectionError, http.client.HTTPException) as exc:
                raise _Again(f"it broke off after {have} bytes") from exc
            if not chunk:
                break
            file.write(chunk)
            have += len(chunk)
            if have > _LARGEST:
                raise ValueError(f"it is larger than {_LARGEST >> 30} GiB")
            progress(have / total if total else 0.0)
    if total is not None and have < total:
        raise _Again(f"it broke off after {have} of {total} bytes")


def _begins_at(answer: http.client.HTTPResponse, offset: int) -> bool:
    if answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        return True
    raise _Stale("the server sends another part than asked for")


def _marks(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name: text for name in ("ETag", "Last-Modified") if (text := answer.headers.get(name))}


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _loaded(path: Path) -> dict[str, Any]:
    """Return what is kept beside a file; without it, everything is fetched again."""
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _save(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
