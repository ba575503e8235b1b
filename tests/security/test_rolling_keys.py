"""The tutorial, played: two processes restart one after the other, and no client is signed out."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from shop.domain.errors import InvalidToken
from shop.domain.users import Caller, Role
from shop.entrypoints.container import build_container
from shop.entrypoints.settings import load_settings
from shop.entrypoints.tokens import AccessTokens
from tests.security.forging import header_of

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "rolling-keys.md"
PASSWORD = "correct horse battery staple"


class Shell:
    """The reader's, in a folder of their own: a block after the other."""

    def __init__(self, folder: Path, **variables: str) -> None:
        own = {k: v for k, v in os.environ.items() if not k.startswith("SHOP_")}
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=own | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.run("set -e")

    def run(self, commands: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{commands}\necho done\n")
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) not in ("done\n", ""):
            lines.append(line)
        assert line, "".join(lines)
        return "".join(lines)

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate(timeout=30)


class Client:
    """Signed in once; goes to both processes with whatever token it has."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._http = httpx.Client(trust_env=False, headers={"Connection": "close"})
        self.tokens: dict[str, Any] = self._post(
            ports[0], "/api/token/", username="alice", password=PASSWORD
        ).json()

    def _post(self, port: int, path: str, **body: str) -> httpx.Response:
        return self._http.post(f"http://127.0.0.1:{port}{path}", json=body)

    def is_served(self, access: str | None = None) -> list[int]:
        """The status at each process."""
        header = {"Authorization": f"Bearer {access or self.tokens['access']}"}
        urls = [f"http://127.0.0.1:{port}/api/orders/" for port in self._ports]
        return [self._http.get(url, headers=header).status_code for url in urls]

    def refresh(self, port: int) -> None:
        response = self._post(port, "/api/token/refresh/", refresh=self.tokens["refresh"])
        assert response.status_code == 200, response.text
        self.tokens = response.json()

    def close(self) -> None:
        self._http.close()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    command = tmp_path / "bin" / "shop"
    command.parent.mkdir()
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c "
        "'from shop.entrypoints.cli.main import main; main()' \"$@\"\n"
    )
    command.chmod(0o755)
    # Nobody has to turn away before a process stops: there is no load balancer.
    shell = Shell(tmp_path, PATH=f"{command.parent}:{os.environ['PATH']}", SHOP_DRAIN_SECONDS="0")
    yield shell
    shell.close()


def steps() -> list[str]:
    marked = r"<!-- tested: rolling -->\n```sh\n(.*?)```"
    return re.findall(marked, TUTORIAL.read_text(), re.DOTALL)


def test_a_secret_is_rolled_on_a_running_service_and_no_client_is_signed_out(
    shell: Shell,
) -> None:
    start, announce, sign, forget, *_ = steps()
    ports = free_ports(2)
    shell.run(f'export PORTS="{ports[0]} {ports[1]}"\n{start}')
    shell.run(f"echo '{PASSWORD}' | shop create-user alice --password-stdin")
    client = Client(ports)
    first = client.tokens["access"]
    kids = [header_of(first)["kid"]]
    for step in (announce, sign):
        shell.run(step.replace("restart_all", ""))
        # One by one: between them the processes do not have the same keys.
        for port in ports:
            shell.run(f"restart {port}")
            assert client.is_served() == client.is_served(first) == [200, 200]
            client.refresh(port)
            assert client.is_served() == [200, 200]
        kids.append(header_of(client.tokens["access"])["kid"])
    assert kids[0] == kids[1] != kids[2]
    forgetful = tokens_of(settings_after(shell, forget))
    assert forgetful.verify(client.tokens["access"].encode()).role is Role.CUSTOMER
    with pytest.raises(InvalidToken):
        forgetful.verify(first.encode())
    client.close()


def test_a_secret_is_replaced_by_a_key_pair_and_no_client_is_signed_out(shell: Shell) -> None:
    """The same restarts, so only what they would start with is looked at."""
    start, *_, announce, sign = steps()
    shell.run("shop() { :; }")
    settings = [settings_after(shell, step) for step in (start, announce, sign)]
    before, announced, signing = map(tokens_of, settings)
    caller = Caller(user_id=1, role=Role.CUSTOMER)
    for one, other in pairwise((before, announced, signing)):
        assert (
            one.verify(other.issue(caller).encode())
            == other.verify(one.issue(caller).encode())
            == caller
        )
    assert header_of(signing.issue(caller))["alg"] == "EdDSA"
    bare = tokens_of(settings[-1] | {"SHOP_SECRET_KEY": ""})
    assert bare.verify(signing.issue(caller).encode()) == caller
    with pytest.raises(InvalidToken):
        bare.verify(before.issue(caller).encode())


def settings_after(shell: Shell, step: str) -> dict[str, str]:
    """What the processes would be restarted with."""
    shown = shell.run(step.replace("restart_all\n", "env | grep ^SHOP_\n"))
    return dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("SHOP_"))


def tokens_of(environ: dict[str, str]) -> AccessTokens:
    return build_container(load_settings(environ)).access_tokens()
