"""Downloads from a real web server, good and bad, by a process without rights: bounded, and never half believed."""

import gzip
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from hostfw.host.download import names
from hostfw.host.download.http import download
from hostfw.host.download.messages import Answer, DownloadError, Request, answer_of, header_of
from hostfw.host.download.process import fetch

LIST = b"# a list\n192.0.2.7\n198.51.100.0/24 ; an office\n2001:db8::/48\n203.0.113.4-203.0.113.7\n"
PLAIN = b"192.0.2.7/32\n198.51.100.0/24\n203.0.113.4/30\n2001:db8::/48\n"
MIB = 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """A web server that answers each path as the table of the test says."""

    answers: Mapping[str, Callable[["Handler"], None]] = {}

    def do_GET(self) -> None:
        """Answer as the table says."""
        self.answers[self.path](self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that the library has
        """Say nothing."""


def send(body: bytes, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    """An answer with its length."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _without_length(body: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _half(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(LIST)
    handler.close_connection = True


def _half_a_chunk(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"1000\r\n" + LIST)
    handler.close_connection = True


def _without_end(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(10 * 1024):
            handler.wfile.write(b"192.0.2.7\n" * (MIB // 10))
    except OSError:
        return


def _drops(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(600):
            handler.wfile.write(b"#\n")
            handler.wfile.flush()
            sleep(0.1)
    except OSError:
        return


def _to(target: str) -> Callable[[Handler], None]:
    return send(b"", 302, Location=target)


def _if_changed(handler: Handler) -> None:
    if handler.headers.get("If-None-Match") == '"one"' or handler.headers.get("If-Modified-Since") == "then":
        handler.send_response(304)
        handler.end_headers()
    else:
        send(LIST, ETag='"one"', Last_Modified="then")(handler)


ANSWERS = {
    "/list": send(LIST, ETag='"one"', Last_Modified="Sun, 01 Jan 2030 00:00:00 GMT"),
    "/conditional": _if_changed,
    "/html": send(b"<!DOCTYPE html><html><body>Sign in to go on\n</body></html>\n", Content_Type="text/html"),
    "/gone": send(b"no such list\n", 404),
    "/broken": send(b"192.0.2.7\n", 503),
    "/half": _half,
    "/half-chunk": _half_a_chunk,
    "/mid-line": _without_length(b"192.0.2.7\n198.51.100.1"),
    "/whole-without-length": _without_length(LIST),
    "/announced": send(b"192.0.2.7\n", Content_Length=str(10 * 1024**3)),
    "/without-end": _without_end,
    "/drops": _drops,
    "/zip": send(gzip.compress(LIST), Content_Encoding="gzip"),
    "/binary": send(b"\xff\xfe\x00\x01"),
    "/everybody": send(b"192.0.2.7\n0.0.0.0/0\n"),
    "/digest": send(sha256(LIST).hexdigest().encode() + b"  list.txt\n"),
    "/once": _to("/list"),
    "/round": _to("/round"),
    "/ftp": _to("ftp://127.0.0.1/list"),
    "/file": _to("file:///etc/passwd"),
    "/odd-etag": send(LIST, ETag="x" * 5000),
}


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Handler,), {"answers": ANSWERS}))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of whoever runs the tests is not asked."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_list_comes_as_prefixes(server: str, tmp_path: Path) -> None:
    """One a line, whatever form and comments it had, with what the next request is to say."""
    answer = fetch(Request(f"{server}/list", most_bytes=MIB), tmp_path)

    assert (answer.text, answer.etag, answer.modified) == (PLAIN, '"one"', "Sun, 01 Jan 2030 00:00:00 GMT")
    assert download(Request(f"{server}/whole-without-length", most_bytes=MIB)).text == PLAIN
    assert download(Request(f"{server}/once", most_bytes=MIB)).text == PLAIN
    assert download(Request(f"{server}/odd-etag", most_bytes=MIB)).etag == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("etag", "modified"), [('"one"', ""), ("", "then")])
def test_what_did_not_change_is_not_sent_again(server: str, etag: str, modified: str) -> None:
    """By ETag or by the time; without either all of it comes."""
    assert download(Request(f"{server}/conditional", most_bytes=MIB, etag=etag, modified=modified)).unchanged
    assert download(Request(f"{server}/conditional", most_bytes=MIB)).text == PLAIN


def test_what_is_asked_for_raw_comes_as_it_is(server: str, tmp_path: Path) -> None:
    """With the same bounds: a bundle is no list."""
    answer = fetch(Request(f"{server}/list", most_bytes=MIB, raw=True), tmp_path)
    assert (answer.text, answer.etag) == (LIST, '"one"')
    assert download(Request(f"{server}/mid-line", most_bytes=MIB, raw=True)).text == b"192.0.2.7\n198.51.100.1"
    assert download(Request(f"{server}/binary", most_bytes=MIB, raw=True)).text == b"\xff\xfe\x00\x01"
    assert download(Request(f"{server}/conditional", most_bytes=MIB, raw=True, etag='"one"')).unchanged
    for path, why in (
        ("/announced", "it has 10737418240 bytes, more than 1048576$"),
        ("/without-end", "it has more than 1048576 bytes$"),
        ("/half", f"it was cut off after {len(LIST)} of 100000 bytes"),
    ):
        with pytest.raises(DownloadError, match=why):
            download(Request(server + path, most_bytes=MIB, raw=True))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/html", "line 1 of it: the file is not a list of addresses"),
        ("/gone", "the server answers 404 Not Found"),
        ("/broken", "the server answers 503 Service Unavailable"),
        ("/half", f"it was cut off after {len(LIST)} of 100000 bytes"),
        ("/half-chunk", "the server does not answer as one of the web does"),
        ("/mid-line", "it was cut off within a line"),
        ("/announced", "it has 10737418240 bytes, more than 1048576 (maxSize)"),
        ("/without-end", "it has more than 1048576 bytes (maxSize)"),
        ("/zip", "it is encoded as gzip, which nobody asked for"),
        ("/binary", "it is not text in UTF-8"),
        ("/everybody", "it has a prefix of length 0, which is everybody"),
        ("/round", "it redirects more than 5 times"),
        ("/ftp", "it redirects to ftp://127.0.0.1/list, another scheme"),
        ("/file", "the server answers 302 Found"),
    ],
)
def test_a_bad_answer_is_refused_with_a_reason(server: str, path: str, why: str) -> None:
    """And nothing of it is handed on."""
    with pytest.raises(DownloadError) as found:
        download(Request(server + path, most_bytes=MIB))

    assert str(found.value).startswith(why)


def test_a_server_that_takes_for_ever_is_left(server: str, tmp_path: Path) -> None:
    """One that sends a little at a time: the time is for all of it."""
    began = monotonic()
    with pytest.raises(DownloadError, match="it was not complete in time"):
        fetch(Request(f"{server}/drops", most_bytes=MIB, within_s=1), tmp_path)

    assert monotonic() - began < 8


def test_a_list_without_end_leaves_nothing_on_the_disk(server: str, tmp_path: Path) -> None:
    """Neither what came of it, nor what holds it meanwhile."""
    with pytest.raises(DownloadError, match="it has more than 1048576 bytes"):
        fetch(Request(f"{server}/without-end", most_bytes=MIB), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_said() -> None:
    """Port 1 of this host has nobody."""
    with pytest.raises(DownloadError, match="the server cannot be reached: Connection refused"):
        download(Request("http://127.0.0.1:1/list", most_bytes=MIB))


@pytest.mark.parametrize("end", ["", "0"])
def test_a_digest_is_of_the_bytes_that_came(server: str, end: str) -> None:
    """Given as it is, or by the URL of a file that begins with it."""
    right = sha256(LIST).hexdigest()
    wanted = (right[: 64 - len(end)] + end) if end else right
    if end:
        with pytest.raises(DownloadError, match=f"its SHA-256 digest is {right}, and should be {wanted}"):
            download(Request(f"{server}/list", sha256=wanted, most_bytes=MIB))
    else:
        assert download(Request(f"{server}/list", sha256=wanted, most_bytes=MIB)).text == PLAIN
        assert download(Request(f"{server}/list", sha256=f"{server}/digest", most_bytes=MIB)).text == PLAIN


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    """Whoever is between this host and the server has none that is signed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Handler,), {"answers": ANSWERS}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(DownloadError, match="the certificate of the server is not to be trusted: self"):
            download(Request(f"https://localhost:{server.server_address[1]}/list", most_bytes=MIB))
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_is_read_as_anybody_could(tmp_path: Path) -> None:
    """A file that root alone may read is not read, nor is a device; one that did not change is not read again."""
    shared = Path("/tmp") / f"hostfw-feed-{os.getpid()}.txt"
    try:
        shared.write_bytes(LIST)
        shared.chmod(0o644)
        answer = fetch(Request(f"file://{shared}", most_bytes=MIB), tmp_path)
        assert answer.text == PLAIN
        assert fetch(Request(f"file://{shared}", most_bytes=MIB, etag=answer.etag), tmp_path).unchanged
        shared.chmod(0o600)
        if os.geteuid() == 0:
            with pytest.raises(DownloadError, match="cannot be read: Permission denied"):
                fetch(Request(f"file://{shared}", most_bytes=MIB), tmp_path)
    finally:
        shared.unlink()
    with pytest.raises(DownloadError, match="/dev/zero is not a file"):
        fetch(Request("file:///dev/zero", most_bytes=MIB), tmp_path)


def test_a_process_that_says_something_else_is_not_believed() -> None:
    """It reads the network, so an attacker may speak through it."""
    good = header_of(Answer(etag="x"))
    assert answer_of(good, b"").etag == "x"
    for wrong in (b"", b"{", b"[]", good.replace(b'"x"', b"7"), good.replace(b'"x"', b'"a\\nb"'), b"9" * 9999):
        with pytest.raises(DownloadError, match="gave no answer"):
            answer_of(wrong, b"")


def _resolver(*addresses: str) -> Callable[..., list[tuple[int, int, int, str, tuple[str, int]]]]:
    return lambda *_, **__: [(2, 1, 6, "", (address, 0)) for address in addresses]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["127.0.0.1"], "the resolver gives 127.0.0.1, which is an address of this host alone"),
        (["192.0.2.1", "0.0.0.0"], "the resolver gives 0.0.0.0, which is nobody's address"),
        (["224.0.0.1"], "the resolver gives 224.0.0.1, which is a group"),
        (["fe80::1%2"], "the resolver gives fe80::1, which is an address of one link"),
        (["::ffff:10.0.0.1"], "the resolver gives ::ffff:10.0.0.1, which is an address that no packet carries"),
        ([f"10.0.{n >> 8}.{n & 255}" for n in range(1000)], "the resolver gives 1000 addresses, more than 256"),
        ([], "the resolver knows no address of it"),
    ],
)
def test_an_answer_of_the_resolver_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: list[str], why: str
) -> None:
    """As a whole: of a resolver that lies no part is believed."""
    monkeypatch.setattr("socket.getaddrinfo", _resolver(*given))

    answer = names.resolve(Request(hostnames=("mirror.example.org",)))

    assert (answer.addresses, answer.unresolved) == ({}, {"mirror.example.org": why})


def test_names_are_asked_for_one_by_one(tmp_path: Path) -> None:
    """In the process without rights; one that is unknown does not hide the others."""
    answer = fetch(Request(hostnames=("nobody.invalid",)), tmp_path)

    assert not answer.addresses
    assert list(answer.unresolved or {}) == ["nobody.invalid"]
