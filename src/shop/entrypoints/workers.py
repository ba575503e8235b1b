"""The processes that serve: started again when they die, ended with the one that started them."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from granian.log import logger
from granian.server.mp import MPServer, WorkerProcess

from shop.entrypoints.failures import logged_at_the_end, reported
from shop.entrypoints.logs import log_uncaught, set_up_logging
from shop.entrypoints.settings import Settings
from shop.entrypoints.slow_readers import SlowReaders

# Not Litestar's name for it, which would be imported by every command.
Application: TypeAlias = Callable[..., Any]

STOP_SECONDS_MAX = 15
"""In which requests under way must be answered when a server or a worker stops."""

GRANIAN_LOGS: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    # Its lines go where all others go, in the same form.
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}

# What the main process tells its workers. A service manager, or Ctrl-C in a terminal, sends its own
# signals to the workers as well: those are not for them, or each would leave when it likes.
_DRAIN = signal.SIGUSR1
_STOP = signal.SIGUSR2
_NOT_FOR_WORKERS = {signal.SIGTERM, signal.SIGINT}

_START_SECONDS_MAX = 60.0
"""In which a new worker should serve; the old one waits no longer for it."""

_LISTENING = "0A"
"""`TCP_LISTEN` in net/tcp_states.h."""

# Before a worker is started again: its first death may be an accident, more of them are not.
_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_SOON_SECONDS = 60.0
_PARENT_SECONDS = 1.0
_STEP_SECONDS = 0.05


class RestartPauses:
    """How long to wait before a worker is started again: longer each time it soon dies again."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}

    def after(self, worker: int, *, lived: float) -> float:
        deaths = self._deaths.get(worker, 0) + 1 if lived < _SOON_SECONDS else 1
        self._deaths[worker] = deaths
        return _PAUSES[min(deaths, len(_PAUSES)) - 1]


class Server(MPServer):
    """Granian's, but for four things.

    However often workers die, it starts them again: granian ends the whole server when one dies
    twice within 5.5 seconds, which no option changes. It alone decides when workers stop: told to
    stop, it lets them serve on for a while first. Told again, it waits no more. A stop comes
    before workers that are to be replaced: granian replaces them all first. And a worker that is
    replaced serves until the new one does: granian ends it after 3.5 seconds, come what may.
    `tests/concurrency/test_workers.py` and `test_stops.py` notice when a version of granian works
    otherwise.
    """

    _drain_seconds = 0.0
    _interrupts = 0
    _is_stopping = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._births: dict[int, float] = {}
        """Of those that were started last in each place."""

    def run(self, load: Callable[[], Application], *, drain_seconds: float) -> None:
        """Until it is told to stop; `load` is called in each worker."""
        self._drain_seconds = drain_seconds
        # Workers inherit it: one that is told before it listens hears it then, and does not die.
        signal.pthread_sigmask(signal.SIG_BLOCK, {_DRAIN})
        self.serve(target_loader=load, wrap_loader=False)

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        self._interrupts += 1
        if self._interrupts > 1 and self._is_stopping:
            for worker in self.wrks:
                worker.kill()  # type: ignore[no-untyped-call]
        super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]

    def shutdown(self, exit_code: int = 0) -> None:
        self._drain()
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    def _drain(self) -> None:
        """Serve on, while who routes traffic sees that this server will stop, and turns away."""
        for worker in self.wrks:
            _tell(worker, _DRAIN)
        until = time.monotonic() + self._drain_seconds
        while self._interrupts < 2 and time.monotonic() < until and self._are_alive():
            time.sleep(_STEP_SECONDS)
        self._is_stopping = True

    def _are_alive(self) -> bool:
        return any(worker.inner.is_alive() for worker in self.wrks)

    def _spawn_worker(self, *args: Any, **kwargs: Any) -> WorkerProcess:
        worker = super()._spawn_worker(*args, **kwargs)
        self._births[worker.idx] = worker.birth
        worker.terminate = partial(_terminate, worker)  # type: ignore[method-assign]
        worker.is_alive = partial(_is_alive, worker)  # type: ignore[method-assign]
        return worker

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        pauses = RestartPauses()
        due: dict[int, float] = {}
        while not self.interrupt_signal:
            wait = max(0.0, min(due.values()) - time.monotonic()) if due else None
            self.main_loop_interrupt.wait(wait)
            self.main_loop_interrupt.clear()
            now = time.monotonic()
            while self.interrupt_children:
                worker = self.interrupt_children.pop()
                due[worker] = now + pauses.after(worker, lived=now - self._births[worker])
            if self.reload_signal:
                self.reload_signal = False
                due.clear()
                self._respawn_workers(range(self.workers), spawn_target, target_loader)
            for worker in [worker for worker, at in due.items() if at <= now]:
                del due[worker]
                self._respawn_workers([worker], spawn_target, target_loader)

    def _respawn_workers(
        self, workers: Iterable[int], spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        """An old one that lives serves until the new one does, instead of for granian's `delay`."""
        for index in workers:
            logger.info("Respawning worker-%s", index + 1)
            old, new = self.wrks[index], self._spawn_worker(index, spawn_target, target_loader)
            new.start()  # type: ignore[no-untyped-call]
            self.wrks[index] = new
            # A stop is for the old one, too, as long as it is there.
            self.wrks.append(old)
            if not self._is_relieved(old, new):
                # The new one has died, which starts another; a stop is for this one alone.
                self.wrks[index] = self.wrks.pop()
                continue
            if not self.interrupt_signal:
                old.terminate()  # type: ignore[no-untyped-call]
                self._wait(STOP_SECONDS_MAX, old.inner.is_alive)
            if self.interrupt_signal:
                return
            if old.inner.is_alive():
                logger.warning("Killing old worker-%s, which does not stop", index + 1)
                old.kill()  # type: ignore[no-untyped-call]
                old.inner.join()
            self.wrks.remove(old)
            logger.info("Stopped old worker-%s", index + 1)

    def _is_relieved(self, old: WorkerProcess, new: WorkerProcess) -> bool:
        """Once the new one serves, or there is nothing to wait for; not if the old one has to."""

        def is_starting() -> bool:
            return new.inner.is_alive() and not _listens(new.inner.pid, self.bind_port)

        if old.inner.is_alive():
            if sys.platform == "linux":
                self._wait(_START_SECONDS_MAX, is_starting)
            else:
                self._wait(self.respawn_interval)
        return self.interrupt_signal or new.inner.is_alive() or not old.inner.is_alive()

    def _wait(self, seconds: float, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Until the time is over, it does not go on, or the server is told to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and goes_on() and not self.interrupt_signal:
            time.sleep(_STEP_SECONDS)


def _listens(pid: int, port: int) -> bool:
    """Whether this process takes connections at the port, as Linux tells (proc(5))."""
    held = set()
    # What is not there has ended, or was closed just now.
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                held.add(str(path.readlink()))
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                at, state, inode = fields[1], fields[3], fields[9]
                is_ours = state == _LISTENING and int(at.rpartition(":")[2], 16) == port
                if is_ours and f"socket:[{inode}]" in held:
                    return True
    return False


def _terminate(worker: WorkerProcess) -> None:
    # Told once: a stop may come while it ends since it was replaced.
    if not worker.interrupt_by_parent:
        worker.interrupt_by_parent = True
        _tell(worker, _STOP)


def _is_alive(worker: WorkerProcess) -> bool:
    """Two threads wait for a process, and the one that learns of its end tells the other late."""
    if worker.inner.is_alive():
        time.sleep(_STEP_SECONDS)
    return bool(worker.inner.is_alive())


def _tell(worker: WorkerProcess, order: signal.Signals) -> None:
    if worker.inner.is_alive():
        with suppress(ProcessLookupError):
            os.kill(worker.inner.pid, order)


def loader(port: int, settings: Settings) -> Callable[[], Application]:
    """What each worker runs before it serves; called in the process that starts them."""
    # Their settings are those of the start: `.env` may change before one is started again.
    return partial(_load, os.getpid(), port, settings)


def _load(parent: int, port: int, settings: Settings) -> Application:
    _listen_to_parent()
    set_up_logging(level=settings.log_level, log_format=settings.form_of_log, in_background=True)
    # A worker that is spawned, not forked, has not got it from its parent.
    log_uncaught()
    # It says of each part of an answer that the peer is gone.
    logging.getLogger("_granian.asgi.io").setLevel(logging.WARNING)
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    try:
        with logged_at_the_end(), reported(settings):
            return _application(port, settings)
    except Exception as error:
        # Multiprocessing would print its traceback, with nothing masked.
        raise SystemExit(1) from error


def _application(port: int, settings: Settings) -> Application:
    # Here, so that the process that only starts workers stays small.
    from shop.entrypoints.container import build_container
    from shop.entrypoints.http.app import build_app

    SlowReaders(port, seconds_max=settings.send_timeout, rate_min=settings.send_rate_min).watch()
    container = build_container(settings)
    signal.signal(_DRAIN, lambda *_: container.drain().begin())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {_DRAIN})
    app = build_app(container)
    if settings.sentry_dsn:
        from shop.entrypoints.error_reports import report_errors

        # Last: what fails before ends the worker, and is reported as that.
        container.error_reports.override(report_errors(settings))
    return app


def _listen_to_parent() -> None:
    """Stop when it says so, and at no other signal. One that does not serve yet stops at once."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)
    for number in _NOT_FOR_WORKERS:
        # The parent's handlers came along; granian sets its own when it serves.
        signal.signal(number, signal.SIG_DFL)
    signal.signal(_STOP, _stop)


def _stop(*_: object) -> None:
    # Exactly once: granian does not stop when it is told twice at once.
    while signal.sigtimedwait(_NOT_FOR_WORKERS, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_WORKERS)
    signal.raise_signal(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)


def _end_with(parent: int) -> None:
    """Stop this process when its parent is gone, even one that was killed and could not say so.

    Nobody would start the workers again, nor stop them, and the port would stay taken.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), _STOP)
    time.sleep(STOP_SECONDS_MAX)
    os._exit(1)
