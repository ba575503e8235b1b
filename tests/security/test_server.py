"""The real server against peers that write the bytes themselves; slow ones are in `test_peers`."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shop.entrypoints.cli.serve import HEADERS_BYTES_MAX
from tests.concurrency.servers import FAILURES, ShopServer, environment, shop_command, words_of

SECONDS_MAX = 10.0
"""In which anything must have been answered or closed, on a busy machine."""

BODY = b'{"refresh":"xxxxxxxxxxxxxxxxxxxxxxxxxx"}'
JSON = b"Content-Type: application/json\r\n"
HEALTH = b"GET /api/health/ HTTP/1.1\r\nHost: shop\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopServer]:
    server = ShopServer(tmp_path_factory.mktemp("attacked") / "shop", "memory://")
    server.start()
    yield server
    server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


def request(
    headers: bytes = b"", body: bytes = b"", line: bytes = b"POST /api/token/refresh/"
) -> bytes:
    return line + b" HTTP/1.1\r\nHost: shop\r\n" + JSON + headers + b"\r\n" + body


def told(server: ShopServer, message: bytes) -> tuple[list[int], bytes]:
    """The statuses of all answers until the server closes the connection, and the bytes."""
    give_up_at = time.monotonic() + SECONDS_MAX
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS_MAX) as peer:
        try:
            peer.sendall(message)
            while part := peer.recv(65_536):
                received += part
                assert time.monotonic() < give_up_at
        except (ConnectionError, BrokenPipeError):
            pass  # closed while we were still writing
    heads = received.split(b"HTTP/1.1 ")[1:]
    return [int(head[:3]) for head in heads], received


def closing(message: bytes) -> bytes:
    return message.replace(b"Host: shop\r\n", b"Host: shop\r\nConnection: close\r\n", 1)


@pytest.mark.parametrize("query", ["search=café".encode(), b"search=caf\xe9", b"search=caf%C3%A9"])
def test_bytes_of_a_query_that_are_not_ascii_reach_the_shop(
    server: ShopServer, query: bytes
) -> None:
    """Which would answer 400 if they were not UTF-8, before it asks who is there."""
    line = b"GET /health/live?" + query
    status = 400 if b"\xe9" in query else 200
    assert told(server, closing(request(line=line)))[0] == [status]


def test_a_plain_request_is_answered(server: ShopServer) -> None:
    """Else the refusals below might be of something else."""
    length = b"Content-Length: %d\r\n" % len(BODY)
    assert told(server, closing(request(length, BODY)))[0] == [401]
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    message = closing(request(b"Transfer-Encoding: chunked\r\n", chunked))
    assert told(server, message)[0] == [401]
    assert told(server, HEALTH + closing(HEALTH))[0] == [200, 200]


HOSTS = {
    "one": (b"HTTP/1.1", b"Host: shop\r\n", 200),
    "two": (b"HTTP/1.1", b"Host: shop\r\nHost: evil.example\r\n", 400),
    "the same twice": (b"HTTP/1.1", b"Host: shop\r\nhost: shop\r\n", 400),
    "none": (b"HTTP/1.1", b"", 400),
    "none, as a load balancer asks": (b"HTTP/1.0", b"", 200),
}


@pytest.mark.parametrize(("version", "hosts", "status"), HOSTS.values(), ids=HOSTS)
def test_a_request_has_one_host(
    server: ShopServer, version: bytes, hosts: bytes, status: int
) -> None:
    line = b"GET /api/health/ " + version + b"\r\n"
    _, received = told(server, line + hosts + b"Connection: close\r\n\r\n")
    assert received.split(b" ", 2)[1] == b"%d" % status, received


def test_head_is_answered_with_the_length_and_no_body(server: ShopServer) -> None:
    for path in (b"/api/health/", b"/docs/assets/swagger-ui-bundle.js", b"/api/products/"):
        head, body = told(server, closing(HEALTH.replace(b"/api/health/", path)))[1].split(
            b"\r\n\r\n", 1
        )
        asked = HEALTH.replace(b"GET /api/health/", b"HEAD " + path)
        # A second answer on the connection is read as one only if the first has no body.
        statuses, received = told(server, asked + closing(asked))
        assert statuses == [int(head[9:12])] * 2
        assert received.lower().count(b"content-length: %d\r\n" % len(body)) == 2
        assert received.endswith(b"\r\n\r\n")


CHUNKS = b"28\r\n" + BODY + b"\r\n0\r\n\r\n"

AMBIGUOUS = {
    "two lengths": request(b"Content-Length: 40\r\nContent-Length: 4\r\n", BODY),
    "a list of lengths": request(b"Content-Length: 40, 4\r\n", BODY),
    "a negative length": request(b"Content-Length: -1\r\n", BODY),
    "a signed length": request(b"Content-Length: +40\r\n", BODY),
    "a length in hex": request(b"Content-Length: 0x28\r\n", BODY),
    "a huge length": request(b"Content-Length: 99999999999999999999\r\n", BODY),
    "an unknown coding": request(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "chunked, but not last": request(b"Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    "a space before the colon": request(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "a tab before the colon": request(b"Content-Length\t: 40\r\n", BODY),
    "a folded header": request(b"X-A: b\r\n Transfer-Encoding: chunked\r\n", CHUNKS),
    "a size that is none": request(b"Transfer-Encoding: chunked\r\n", b"zz\r\n"),
    "a negative size": request(b"Transfer-Encoding: chunked\r\n", b"-1\r\n" + BODY),
    "a huge size": request(b"Transfer-Encoding: chunked\r\n", b"f" * 17 + b"\r\n"),
    "a NUL in a header": request(b"X-A: a\x00b\r\nContent-Length: 0\r\n"),
    "a bare return in a header": request(b"X-A: a\rX-B: c\r\nContent-Length: 0\r\n"),
    "no version": b"GET /api/health/\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("message", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_message_that_can_be_read_in_two_ways_is_refused_and_ends_the_connection(
    server: ShopServer, message: bytes
) -> None:
    """What follows might be a request to one reader and a body to another."""
    statuses, received = told(server, message + HEALTH)
    assert statuses in ([400], [413], []), received
    assert b"granian" not in received.lower()
    assert b"hyper" not in received.lower()


@pytest.mark.parametrize("length_first", [True, False])
def test_both_a_length_and_chunks_end_the_connection(
    server: ShopServer, length_first: bool
) -> None:
    """RFC 9112, 6.3: chunks count, and nothing after them is taken for a request."""
    for body in (CHUNKS, b"0\r\n\r\n"):
        for length in (b"4", b"6", b"40"):
            headers = [b"Content-Length: " + length, b"Transfer-Encoding: chunked"]
            if not length_first:
                headers.reverse()
            message = request(b"\r\n".join(headers) + b"\r\n", body)
            statuses, received = told(server, message + HEALTH)
            assert statuses in ([400], [401], []), received


TOO_MUCH = {
    "many headers": b"".join(b"X-%d: y\r\n" % i for i in range(2_000)),
    "a huge header": b"X-Huge: " + b"y" * 2_000_000 + b"\r\n",
    "a huge name": b"X" * 2_000_000 + b": y\r\n",
    "headers without an end": b"".join(b"X-%d: y\r\n" % (i % 10) for i in range(200_000)),
    "a huge token": b"Authorization: Bearer " + b"y" * 2_000_000 + b"\r\n",
}


@pytest.mark.parametrize("headers", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_many_or_too_large_headers_are_refused(server: ShopServer, headers: bytes) -> None:
    statuses, received = told(server, request(headers, line=b"GET /api/health/"))
    # Whoever is still writing may not get to read the answer.
    assert statuses in ([431], [400], []), received[:100]
    assert told(server, closing(HEALTH))[0] == [200]


@pytest.mark.parametrize(("share", "taken"), [(0.5, True), (2, False)])
def test_headers_have_the_limit_that_is_set(server: ShopServer, share: float, taken: bool) -> None:
    """The server's own default is higher."""
    large = b"X-Large: " + b"y" * int(share * HEADERS_BYTES_MAX) + b"\r\n"
    statuses, received = told(server, closing(request(large, line=b"GET /api/health/")))
    assert statuses in ([[200]] if taken else [[431], [400], []]), received[:100]


def test_a_huge_address_is_refused(server: ShopServer) -> None:
    for address in (b"/api/health/?" + b"y" * 2_000_000, b"/" + b"a/" * 1_000_000):
        statuses, received = told(server, request(line=b"GET " + address))
        assert statuses in ([414], [431], [400], []), received[:100]
    assert told(server, closing(HEALTH))[0] == [200]


def test_no_answer_names_the_server(server: ShopServer) -> None:
    for message in (HEALTH, request(line=b"GET /nowhere"), b"nonsense\r\n\r\n"):
        _, received = told(server, closing(message))
        assert b"granian" not in received.lower()
        assert received.lower().count(b"\r\nserver: shop\r\n") <= 1


@pytest.mark.parametrize("variable", ["SHOP_SIGNING_KEY_FILE", "SHOP_VERIFICATION_KEYS_FILE"])
def test_a_key_file_that_holds_none_stops_the_start_in_one_sentence(
    variable: str, tmp_path: Path
) -> None:
    """And not each worker, again and again."""
    (tmp_path / "key.pem").write_text("the key")
    started = subprocess.run(
        shop_command(*words_of("serve")),
        cwd=tmp_path,
        env=environment("memory://", {variable: str(tmp_path / "key.pem")}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert f"{variable} is wrong" in started.stderr
    assert "Traceback" not in started.stderr


def test_how_long_a_connection_is_kept_is_a_setting(tmp_path: Path) -> None:
    server = ShopServer(tmp_path / "shop", "memory://", settings={"SHOP_KEEP_ALIVE_TIMEOUT": "1"})
    server.start()
    try:
        for sent, statuses in ((HEALTH + HEALTH, [200, 200]), (b"", []), (HEALTH[:20], [])):
            started = time.monotonic()
            # Nothing is asked for any more, and the server hangs up.
            answered = [status for status in told(server, sent)[0] if status != 408]
            assert answered == statuses
            assert 0.9 < time.monotonic() - started < 5
    finally:
        server.close()
