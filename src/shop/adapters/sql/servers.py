"""PostgreSQL's servers: which of them is connected to, and what their failures mean."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, PoolProxiedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

# Of what SQLAlchemy keeps for each connection.
_HOST = "shop_host"
_OPENED = "shop_opened"

DOUBT_SECONDS = 2.0
"""How long a connection is used to a host that holds a COMMIT up, before others are asked again."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Of a connection: with which generation, to which host of the URL, and when, in seconds."""

    generation: int
    host: int
    at: float


class Servers:
    """What all engines over the same servers must know together.

    A connection belongs to the generation it was opened in. When a server ends a session, is lost,
    turns read-only or holds a COMMIT up, the generation of that connection is over: its brothers,
    which may be idle and look sound, are replaced before anybody gets one. A demoted primary would
    otherwise be kept for ever, since it answers everything but a write. One that has lost its place
    and does not know takes writes as well, and never finishes a COMMIT, as no standby follows it.
    So while it holds one up the other hosts are asked before it, again and again.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._host = 0
        """The one of several hosts that was connected to last."""
        self._held: Counter[int] = Counter()
        """How many COMMITs each host holds up."""

    def watch(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "do_connect", self._connect)
        event.listen(engine.sync_engine, "connect", self._note)
        event.listen(engine.sync_engine, "checkout", self._replace)

    def end(self, opened: Opened) -> None:
        """A connection has failed for a reason that concerns the others of its generation, too."""
        if opened.generation == self._generation:
            self._generation += 1

    def end_all(self) -> None:
        """Whatever is open by now is replaced."""
        self._generation += 1

    def commit_is_held(self, opened: Opened) -> None:
        """A COMMIT of this connection takes too long, until `commit_has_ended`."""
        self._held[opened.host] += 1
        self.end(opened)

    def commit_has_ended(self, opened: Opened) -> None:
        self._held[opened.host] -= 1

    def is_current(self, opened: Opened) -> bool:
        """Whether such a connection need not be replaced."""
        return opened.generation == self._generation and not (
            self._held.get(opened.host) and time.monotonic() > opened.at + DOUBT_SECONDS
        )

    def _connect(
        self, dialect: Dialect, record: Any, args: list[Any], options: dict[str, Any]
    ) -> Any:
        """One host after the other, each with the whole timeout: the driver's spans them all.

        The host that answered last is the first to be asked, unless it holds a COMMIT up.
        """
        if not isinstance(options.get("host"), list):
            record.info[_HOST] = 0
            return dialect.connect(*args, **options)
        hosts = list(zip(options["host"], options["port"], strict=True))
        # Without being told it takes any server, and orders need one that can be written to.
        options.setdefault("target_session_attrs", "read-write")
        failure: Exception | None = None
        in_turn = [(self._host + number) % len(hosts) for number in range(len(hosts))]
        for number in sorted(in_turn, key=lambda number: self._held[number] > 0):
            host, port = hosts[number]
            try:
                connection = dialect.connect(*args, **options | {"host": host, "port": port})
            except Exception as error:
                failure = error
            else:
                self._host = record.info[_HOST] = number
                return connection
        assert failure is not None, "there are several hosts"
        raise failure

    def _note(self, _connection: object, record: Any) -> None:
        record.info[_OPENED] = Opened(self._generation, record.info[_HOST], time.monotonic())

    def _replace(self, connection: Any, record: Any, _proxy: object) -> None:
        """Make the pool connect anew instead of giving out a connection that is over.

        The driver knows without asking the server whether it has hung up.
        """
        driver = connection.driver_connection
        if not self.is_current(record.info[_OPENED]):
            # At once: taking leave of a server that is silent takes seconds.
            driver.terminate()
        if driver.is_closed():
            raise DisconnectionError


def set_up_in_transaction(engine: AsyncEngine) -> None:
    """What SQLAlchemy asks of a new connection reaches one server, though PgBouncer has several."""
    event.listen(engine.sync_engine, "connect", _begin, insert=True)
    event.listen(engine.sync_engine, "connect", _commit)


def _begin(connection: Any, _record: object) -> None:
    connection.run_async(lambda driver: driver.execute("BEGIN"))


def _commit(connection: Any, _record: object) -> None:
    connection.run_async(lambda driver: driver.execute("COMMIT"))


def opened_of(connection: PoolProxiedConnection) -> Opened | None:
    """None of SQLite."""
    opened: Opened | None = connection.info.get(_OPENED)
    return opened
