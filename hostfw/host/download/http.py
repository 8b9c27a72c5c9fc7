"""A list from a web server or a file, with a bound on everything: bytes, seconds, redirects and prefixes."""

import os
import ssl
import stat
from hashlib import sha256
from http.client import HTTPException, HTTPMessage
from time import monotonic
from typing import IO, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    UnknownHandler,
)
from urllib.request import Request as HttpRequest

from hostfw.host.download.messages import MOST_PREFIXES, MOST_TEXT, Answer, DownloadError, Request, plain
from hostfw.manifest.files.feed_file import parse_feed
from hostfw.model.sources import Source

QUIET_S = 30.0
"""Seconds that a server may say nothing at all."""
MOST_REDIRECTS = 5
_PIECE_BYTES = 64 * 1024
_DIGEST_FILE_BYTES = 4096
_NOT_MODIFIED = 304


class _Stream(Protocol):
    def read1(self, length: int, /) -> bytes: ...


def download(request: Request) -> Answer:
    """The list that a URL leads to. Raises DownloadError."""
    ends = monotonic() + request.within_s
    found = _read_file(request, ends) if request.url.startswith("file:") else _read_http(request, ends)
    if found is None:
        return Answer(unchanged=True)
    body, etag, modified = found
    if request.raw:
        return Answer(etag=etag, modified=modified, text=body)
    if request.sha256:
        _verify(body, request, ends)
    return Answer(etag=etag, modified=modified, text=_list_of(body, request.url))


def _list_of(body: bytes, url: str) -> bytes:
    """The prefixes of a list, one a line. Raises DownloadError for what is none."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise DownloadError("it is not text in UTF-8") from error
    del body
    cidrs, problems = parse_feed(Source(url, text))
    if problems:
        first = problems[0]
        raise DownloadError(f"line {first.position.line} of it: {first.message}")
    if len(cidrs) > MOST_PREFIXES:
        raise DownloadError(f"it has {len(cidrs)} prefixes, more than {MOST_PREFIXES}")
    if any(not cidr.length for cidr in cidrs):
        raise DownloadError("it has a prefix of length 0, which is everybody")
    return b"".join(f"{cidr}\n".encode() for cidr in cidrs)


def _verify(body: bytes, request: Request, ends: float) -> None:
    wanted = request.sha256
    if "://" in wanted:
        named = Request(wanted, most_bytes=_DIGEST_FILE_BYTES)
        found = _read_file(named, ends) if wanted.startswith("file:") else _read_http(named, ends)
        first = (found[0] if found else b"").split(maxsplit=1)
        wanted = first[0].decode(errors="replace").lower() if first else ""
    digest = sha256(body).hexdigest()
    if digest != wanted:
        raise DownloadError(f"its SHA-256 digest is {digest}, and should be {plain(wanted)}")


# --------------------------------------------------------------------------------------------------------------- http


class _Redirects(HTTPRedirectHandler):
    """Follow a few redirects, to the same scheme: an https URL is not to be had from elsewhere."""

    max_redirections = MOST_REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: HttpRequest, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> HttpRequest | None:
        if urlsplit(newurl).scheme != req.type:
            fp.close()
            raise DownloadError(f"it redirects to {plain(newurl)}, another scheme: give that URL if it is meant")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _read_http(request: Request, ends: float) -> tuple[bytes, str, str] | None:
    headers = {"User-Agent": "hostfw", "Accept-Encoding": "identity", "Accept": "text/plain, */*;q=0.1"}
    if request.etag:
        headers["If-None-Match"] = request.etag
    if request.modified:
        headers["If-Modified-Since"] = request.modified
    try:
        quiet = min(QUIET_S, max(ends - monotonic(), 0.1))
        with _opener().open(HttpRequest(request.url, headers=headers), timeout=quiet) as response:  # noqa: S310  http and https alone, see _opener
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.strip().lower() not in ("", "identity"):
                raise DownloadError(f"it is encoded as {plain(encoding)}, which nobody asked for")
            length = response.headers.get("Content-Length")
            announced = int(length) if length is not None and length.isascii() and length.isdigit() else None
            if announced is not None and announced > request.most_bytes:
                raise DownloadError(f"it has {announced} bytes, more than {request.most_bytes}{_setting(request)}")
            body = _bounded(response, request, ends)
            chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
            if announced is not None and len(body) < announced:
                raise DownloadError(f"it was cut off after {len(body)} of {announced} bytes")
            if announced is None and not chunked and body and not body.endswith(b"\n") and not request.raw:
                raise DownloadError("it was cut off within a line")
            return body, _kept(response.headers.get("ETag")), _kept(response.headers.get("Last-Modified"))
    except HTTPError as error:
        error.close()
        if error.code == _NOT_MODIFIED and (request.etag or request.modified):
            return None
        too_many = error.msg.startswith(HTTPRedirectHandler.inf_msg[:20])
        why = f"it redirects more than {MOST_REDIRECTS} times" if too_many else f"the server answers {error.code}"
        raise DownloadError(f"{why} {plain(error.reason)}" if not too_many else why) from error
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_why(error)) from error


def _opener() -> OpenerDirector:
    """An opener of http and https alone, through the proxies of the environment."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(context=ssl.create_default_context()),
        HTTPDefaultErrorHandler(),
        _Redirects(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _bounded(stream: _Stream, request: Request, ends: float) -> bytes:
    parts = bytearray()
    while piece := stream.read1(_PIECE_BYTES):
        parts += piece
        if len(parts) > request.most_bytes:
            raise DownloadError(f"it has more than {request.most_bytes} bytes{_setting(request)}")
        if monotonic() > ends:
            raise DownloadError(f"it was not complete in time: {len(parts)} bytes came")
    return bytes(parts)


def _setting(request: Request) -> str:
    """The name that the limit of a Feed has in its manifest."""
    return "" if request.raw else " (maxSize)"


def _kept(header: str | None) -> str:
    """A word of the server for the next request; one of another form is not kept."""
    return header if header is not None and len(header) <= MOST_TEXT and header.isprintable() else ""


def _why(error: Exception) -> str:
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the certificate of the server is not to be trusted: {plain(inner.verify_message)}"
    if isinstance(inner, TimeoutError):
        return "the server said nothing for too long"
    if isinstance(inner, OSError) and inner.strerror:
        return f"the server cannot be reached: {plain(inner.strerror)}"
    return f"the server does not answer as one of the web does: {plain(str(inner) or type(inner).__name__)}"


# --------------------------------------------------------------------------------------------------------------- file


def _read_file(request: Request, ends: float) -> tuple[bytes, str, str] | None:
    path = unquote(urlsplit(request.url).path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise DownloadError(f"{plain(path)} is not a file")
            state = f"{found.st_dev}-{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"
            if state == request.etag:
                return None
            return _bounded(file, request, ends), state, ""
    except OSError as error:
        raise DownloadError(f"{plain(path)} cannot be read: {plain(error.strerror or str(error))}") from error
