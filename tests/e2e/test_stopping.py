"""Stopping: what is under way is answered, and the exit code says that all is well."""

import json
import os
import signal
import socket
import time

import pytest

from tests.e2e.shops import Shop, order_of, sign_in, stock_of


def received(connection: socket.socket, until: bytes) -> bytes:
    got = b""
    while until not in got:
        part = connection.recv(65_536)
        if not part:
            break
        got += part
    return got


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_order_under_way_is_answered_before_the_server_ends(
    standing_shop: Shop, stop: signal.Signals
) -> None:
    shop = standing_shop
    with shop.client() as client:
        access = sign_in(client)["access"]
        client.headers["Authorization"] = f"Bearer {access}"
        before = stock_of(client, 1)

    body = json.dumps(order_of(1, 1)).encode()
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=30) as connection:
        head = (
            "POST /api/orders/ HTTP/1.1",
            "Host: shop.test",
            f"Authorization: Bearer {access}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            # The server says `continue` when the application asks for the body: it is under way.
            "Expect: 100-continue",
        )
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert b" 100 " in received(connection, b"\r\n\r\n")
        end(shop, stop)
        connection.sendall(body)
        answer = received(connection, b'"modified"')
        assert answer.startswith(b"HTTP/1.1 201"), answer
    assert shop.server.wait() == 0

    shop.server.start()
    with shop.signed_in() as again:
        assert stock_of(again, 1) == before - 1


def end(shop: Shop, stop: signal.Signals) -> None:
    """Send the signal, and wait until the server has taken note of it."""
    noted = shop.server.log.count("Shutting down granian")
    os.kill(shop.server.pid, stop)
    give_up_at = time.monotonic() + 30
    while shop.server.log.count("Shutting down granian") == noted:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
