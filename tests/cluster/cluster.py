"""PostgreSQL on two hosts that Patroni watches over, and what leads the shop to the primary."""

import asyncio
import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import asyncpg
import yaml

from tests.cluster.certificates import Authority
from tests.cluster.hosts import Host, Network, Program, give, missing_network, wait_until

TTL = 20
"""Seconds after which a primary that is silent has lost its place; Patroni takes no less."""

# These, HAPROXY, PGBOUNCER and RIGHTS are what docs/scale.md tells operators to write:
# `harness/test_cluster.py` compares them.
DCS = {
    "ttl": TTL,
    "loop_wait": 3,
    "retry_timeout": 5,
    "synchronous_mode": True,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {"max_connections": 200, "wal_log_hints": "on"},
    },
}

START_SECONDS_MAX = 60.0
FAILOVER_SECONDS_MAX = 30.0
HEAL_SECONDS_MAX = 90.0
ANSWER_SECONDS_MAX = 5.0

OWNER, SELLER = "shop_owner", "shop_seller"
"""Who migrates, and as whom the shop runs, with rights to read and write rows and no others."""
PASSWORD = "of nobody but the tests"

_POSTGRES_PORT, _PATRONI_PORT, _ETCD_PORT = 5432, 8008, 2379

# What is needed, and the packages of Debian that have it.
_PROGRAMS = {
    "patroni": "patroni",
    "etcd": "etcd-server",
    "haproxy": "haproxy",
    "pgbouncer": "pgbouncer",
}


def missing() -> str | None:
    """Why there can be no cluster here, in words."""
    absent = [package for name, package in _PROGRAMS.items() if _program(name) is None]
    if _postgresql() is None:
        absent.append("postgresql")
    if absent:
        packages = " ".join(absent)
        return f"{', '.join(absent)} not installed (on Debian: apt install {packages})"
    return missing_network()


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")


def _postgresql() -> Path | None:
    """The folder of the newest server's programs."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max(
        (path.parent for path in found), key=lambda path: int(path.parent.name), default=None
    )


@dataclass(kw_only=True)
class Node:
    """A host with a PostgreSQL server, and Patroni, which starts and stops it."""

    host: Host
    configuration: Path
    patroni: Program | None = None

    @property
    def address(self) -> str:
        return self.host.address

    def start(self) -> None:
        if not self.host.is_on:
            self.host.switch_on()
        if self.patroni is None or not self.patroni.is_running:
            program = _program("patroni")
            assert program is not None
            self.patroni = self.host.start(program, self.configuration)

    def ask(self, path: str, *, method: str | None = None, **body: object) -> tuple[int, Any]:
        """Patroni's answer; status 0 if there is none."""
        request = Request(
            f"http://{self.address}:{_PATRONI_PORT}/{path}",
            json.dumps(body).encode() if body else None,
            method=method,
        )
        try:
            with _open(request, timeout=ANSWER_SECONDS_MAX if not body else 60) as answer:
                return answer.status, answer.read()
        except URLError as error:
            return getattr(error, "code", 0), b""
        except OSError:
            return 0, b""

    @property
    def is_primary(self) -> bool:
        """Whether Patroni says so."""
        return self.ask("primary")[0] == 200

    @property
    def is_synchronous(self) -> bool:
        """Whether each commit waits for this standby."""
        return self.ask("synchronous")[0] == 200

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """As the superuser; works inside and outside of an event loop."""

        async def execute() -> None:
            connection = await asyncpg.connect(
                host=self.address, user="postgres", database=database, timeout=ANSWER_SECONDS_MAX
            )
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(execute())).result()

    async def takes_changes(self) -> bool:
        try:
            connection = await asyncpg.connect(
                host=self.address, user="postgres", database="postgres", timeout=1
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            return not await connection.fetchval("SELECT pg_is_in_recovery()", timeout=1)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()


_open = build_opener(ProxyHandler({})).open


@dataclass(kw_only=True)
class Cluster:
    """Two nodes, the store of their consensus, HAProxy and PgBouncer; each on a host of its own."""

    network: Network
    authority: Authority
    nodes: list[Node] = field(default_factory=list)
    programs: dict[str, Program] = field(default_factory=dict)

    def start(self) -> None:
        self.etcd = self.network.new_host("etcd", 10)
        self._start_etcd()
        for name, number in {"one": 11, "two": 12}.items():
            host = self.network.new_host(name, number)
            self.authority.vouch(host.folder, host.address, _address("proxy"))
            configuration = give(_written(host.folder / "patroni.yml", self._patroni(host)))
            self.nodes.append(Node(host=host, configuration=configuration))
            self.nodes[-1].start()
        self.proxy = self.network.new_host("proxy", _NUMBERS["proxy"])
        self._start_haproxy()
        self.heal()
        self.primary.execute(
            f"CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE {SELLER} LOGIN PASSWORD '{PASSWORD}'",
        )
        self.pooler = self.network.new_host("pooler", _NUMBERS["pooler"])
        self.authority.vouch(self.pooler.folder, self.pooler.address)
        self.start_pgbouncer()

    # --- what is where ---

    @property
    def primary(self) -> Node:
        [primary] = [node for node in self.nodes if node.is_primary]
        return primary

    def other(self, node: Node) -> Node:
        [other] = [other for other in self.nodes if other is not node]
        return other

    def create_database(self, name: str) -> None:
        """With nothing in it but the rights that are told to those who come."""
        self.primary.execute(
            f"CREATE DATABASE \"{name}\" OWNER {OWNER} ENCODING 'UTF8' TEMPLATE template0"
        )
        self.primary.execute(*RIGHTS, database=name)

    def url(self, database: str, *, by: str = "hosts", user: str = SELLER) -> str:
        """Of the servers themselves (`hosts`), or of what leads to the primary: see `_WAYS`."""
        hosts = _WAYS.get(by) or ",".join(f"{node.address}:{_POSTGRES_PORT}" for node in self.nodes)
        options = {"sslmode": "verify-full", "sslrootcert": str(self.authority.certificate)}
        if by == "hosts":
            options["target_session_attrs"] = "primary"
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql+asyncpg://{user}:{password}@{hosts}/{database}?{urlencode(options)}"

    # --- what is done to it ---

    def heal(self) -> None:
        """Start what is down, and wait until a primary has a standby that it waits for."""
        for node in self.nodes:
            node.start()
        wait_until(self._is_sound, within=HEAL_SECONDS_MAX, says=self._says)

    def _is_sound(self) -> bool:
        return sorted((n.is_primary, n.is_synchronous) for n in self.nodes) == [
            (False, True),
            (True, False),
        ]

    def _says(self) -> str:
        return "\n".join(str(node.ask("cluster")) for node in self.nodes)

    async def has_new_primary(self, node: Node) -> float:
        """When it took changes first, on the clock of `time.monotonic`."""
        give_up_at = time.monotonic() + FAILOVER_SECONDS_MAX
        while not await node.takes_changes():
            assert time.monotonic() < give_up_at, "no standby was promoted"
            await asyncio.sleep(0.1)
        return time.monotonic()

    def freeze_patroni(self, node: Node) -> None:
        """And cut its host off from the others: nobody tells PostgreSQL that it lost its place."""
        assert node.patroni is not None
        node.patroni.signal(signal.SIGSTOP)
        node.host.lose_what_is_sent_to(self.etcd.address, self.other(node).address)

    def fence(self, node: Node) -> None:
        """As the watchdog does to a host whose Patroni hangs, and put its cables back.

        A Patroni that goes on instead may take the place back that another holds: 3.0.2 does.
        """
        node.host.kill_all()
        node.host.reach(self.etcd.address, self.other(node).address)

    def give_certificate(self, node: Node, *, expires_in: timedelta = timedelta(days=1)) -> None:
        """To its PostgreSQL server, for the connections from now on."""
        self.authority.vouch(
            node.host.folder, node.address, _address("proxy"), expires_in=expires_in
        )
        node.execute("SELECT pg_reload_conf()")

    def set_synchronous(self, wanted: bool) -> None:
        """Whether commits wait for the standby; returns when PostgreSQL does so."""
        status, said = self.primary.ask("config", method="PATCH", synchronous_mode=wanted)
        assert status == 200, said
        standby = self.other(self.primary)
        wait_until(lambda: standby.is_synchronous is wanted, within=HEAL_SECONDS_MAX)

    def switch_over(self) -> None:
        """Let the standby take over, as for maintenance; returns when it did."""
        primary = self.primary
        names = {"leader": primary.host.name, "candidate": self.other(primary).host.name}
        status, said = primary.ask("switchover", **names)
        assert status == 200, said

    # --- how it is made ---

    def _start_etcd(self) -> None:
        clients = f"http://{self.etcd.address}:{_ETCD_PORT}"
        peers = f"http://{self.etcd.address}:2380"
        program = _program("etcd")
        assert program is not None
        etcd = self.etcd.start(
            program,
            *("--name=etcd", f"--data-dir={self.etcd.folder / 'data'}"),
            *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
            *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
            f"--initial-cluster=etcd={peers}",
        )
        etcd.wait_until(lambda: _is_up(f"{clients}/health"), within=START_SECONDS_MAX)
        self.programs["etcd"] = etcd

    def _patroni(self, host: Host) -> str:
        postgresql = _postgresql()
        assert postgresql is not None
        network = "10.99.0.0/24"
        return yaml.safe_dump(
            {
                "scope": "shop",
                "name": host.name,
                "etcd3": {"host": f"{self.etcd.address}:{_ETCD_PORT}"},
                "restapi": {
                    "listen": f"{host.address}:{_PATRONI_PORT}",
                    "connect_address": f"{host.address}:{_PATRONI_PORT}",
                },
                "bootstrap": {
                    "dcs": DCS,
                    "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
                },
                "postgresql": {
                    "listen": f"{host.address}:{_POSTGRES_PORT}",
                    "connect_address": f"{host.address}:{_POSTGRES_PORT}",
                    "data_dir": str(host.folder / "data"),
                    "bin_dir": str(postgresql),
                    "pgpass": str(host.folder / "pgpass"),
                    "authentication": {
                        "superuser": {"username": "postgres", "password": PASSWORD},
                        "replication": {"username": "replicator", "password": PASSWORD},
                    },
                    "parameters": {
                        "unix_socket_directories": str(host.folder),
                        "ssl": "on",
                        "ssl_cert_file": str(host.folder / "server.crt"),
                        "ssl_key_file": str(host.folder / "server.key"),
                    },
                    "pg_hba": [
                        "local all all trust",
                        f"host replication replicator {network} scram-sha-256",
                        f"host all postgres {network} trust",
                        f"hostssl all {OWNER},{SELLER} {network} scram-sha-256",
                    ],
                },
            }
        )

    def _start_haproxy(self) -> None:
        servers = "\n".join(
            f"    server {host.name} {host.address}:{_POSTGRES_PORT} check port {_PATRONI_PORT}"
            for host in (node.host for node in self.nodes)
        )
        text = HAPROXY.format(
            address=self.proxy.address,
            port=_POSTGRES_PORT,
            keeping_port=_KEEPING_PORT,
            servers=servers,
        )
        configuration = give(_written(self.proxy.folder / "haproxy.cfg", text))
        program = _program("haproxy")
        assert program is not None
        self.programs["haproxy"] = self.proxy.start(program, "-f", configuration, "-db")

    def start_pgbouncer(self) -> None:
        folder = self.pooler.folder
        users = "".join(f'"{user}" "{PASSWORD}"\n' for user in (OWNER, SELLER))
        give(_written(folder / "users.txt", users))
        text = PGBOUNCER.format(
            server=self.proxy.address,
            address=self.pooler.address,
            port=_POSTGRES_PORT,
            folder=folder,
            authority=self.authority.certificate,
        )
        configuration = give(_written(folder / "pgbouncer.ini", text))
        program = _program("pgbouncer")
        assert program is not None
        self.programs["pgbouncer"] = self.pooler.start(program, configuration)


_NUMBERS = {"proxy": 20, "pooler": 30}


_KEEPING_PORT = 5433


def _address(name: str) -> str:
    return f"10.99.0.{_NUMBERS[name]}"


_WAYS = {
    "proxy": f"{_address('proxy')}:{_POSTGRES_PORT}",
    # It leaves sessions where they are, whoever is the primary now.
    "keeping-proxy": f"{_address('proxy')}:{_KEEPING_PORT}",
    "pooler": f"{_address('pooler')}:{_POSTGRES_PORT}",
}


# Tables that a later migration makes are theirs, too: whoever migrates is their owner.
RIGHTS = (
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} "
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {SELLER}",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SEQUENCES TO {SELLER}",
)

# Patroni says at /primary who is the one. A server that has lost its place is left after three
# checks, and the sessions to it are ended: else whoever holds one would stay there. There are no
# retries: HAProxy would wait a second before each, and the shop comes again by itself.
HAPROXY = """
global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    retries 0
    timeout client 30m
    timeout server 30m
    option httpchk
    http-check send meth OPTIONS uri /primary
    http-check expect status 200
    default-server inter 1s fastinter 250ms downinter 250ms fall 3 rise 1
listen postgresql
    bind {address}:{port}
    default-server on-marked-down shutdown-sessions
{servers}
listen keeping
    bind {address}:{keeping_port}
{servers}
"""

# A server that refused is tried again at once: by itself PgBouncer waits 15 seconds.
PGBOUNCER = """
[databases]
* = host={server} port={port}
[pgbouncer]
listen_addr = {address}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
server_login_retry = 0.2
server_connect_timeout = 3
query_wait_timeout = 8
client_tls_sslmode = require
client_tls_cert_file = {folder}/server.crt
client_tls_key_file = {folder}/server.key
server_tls_sslmode = verify-full
server_tls_ca_file = {authority}
"""


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _is_up(url: str) -> bool:
    try:
        with _open(url, timeout=ANSWER_SECONDS_MAX) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
