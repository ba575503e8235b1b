"""PostgreSQL's servers: which of them is connected to, and what their failures mean."""

from typing import Any

from sqlalchemy import Dialect, PoolProxiedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

_GENERATION = "shop_generation"


class Servers:
    """What all engines over the same servers must know together.

    A connection belongs to the generation it was opened in. When a server ends a session, is lost
    or turns read-only, the generation of that connection is over: its brothers, which may be idle
    and look sound, are replaced before anybody gets one. A demoted primary would otherwise be kept
    for ever, since it answers everything but a write.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._host = 0
        """The one of several hosts that was connected to last."""

    def watch(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "do_connect", self._connect)
        event.listen(engine.sync_engine, "connect", self._note)
        event.listen(engine.sync_engine, "checkout", self._replace)

    def end(self, generation: int) -> None:
        """One of it has failed for a reason that concerns the others, too."""
        if generation == self._generation:
            self._generation += 1

    def end_all(self) -> None:
        """Whatever is open by now is replaced."""
        self._generation += 1

    def is_current(self, generation: int) -> bool:
        return generation == self._generation

    def _connect(
        self, dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]
    ) -> Any:
        """One host after the other, each with the whole timeout: the driver's spans them all.

        The host that answered last is the first to be asked.
        """
        if not isinstance(options.get("host"), list):
            return dialect.connect(*args, **options)
        hosts = list(zip(options["host"], options["port"], strict=True))
        # Without being told it takes any server, and orders need one that can be written to.
        options.setdefault("target_session_attrs", "read-write")
        failure: Exception | None = None
        for number in range(self._host, self._host + len(hosts)):
            host, port = hosts[number % len(hosts)]
            try:
                connection = dialect.connect(*args, **options | {"host": host, "port": port})
            except Exception as error:
                failure = error
            else:
                self._host = number % len(hosts)
                return connection
        assert failure is not None, "there are several hosts"
        raise failure

    def _note(self, _connection: object, record: Any) -> None:
        record.info[_GENERATION] = self._generation

    def _replace(self, connection: Any, record: Any, _proxy: object) -> None:
        """Make the pool connect anew instead of giving out a connection that is over.

        The driver knows without asking the server whether it has hung up.
        """
        driver = connection.driver_connection
        if record.info[_GENERATION] != self._generation:
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


def generation_of(connection: PoolProxiedConnection) -> int:
    generation: int = connection.info.get(_GENERATION, 0)
    return generation
