"""The processes that serve: started again when they die, ended with the one that started them."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from granian.server.mp import MPServer

from shop.entrypoints.settings import Settings
from shop.entrypoints.slow_readers import SlowReaders

# Not Litestar's name for it, which would be imported by every command.
Application: TypeAlias = Callable[..., Any]

STOP_SECONDS_MAX = 15
"""In which requests under way must be answered when a server or a worker stops."""

# Before a worker is started again: its first death may be an accident, more of them are not.
_PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_SOON_SECONDS = 60.0
_PARENT_SECONDS = 1.0


class RestartPauses:
    """How long to wait before a worker is started again: longer each time it soon dies again."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}

    def after(self, worker: int, *, lived: float) -> float:
        deaths = self._deaths.get(worker, 0) + 1 if lived < _SOON_SECONDS else 1
        self._deaths[worker] = deaths
        return _PAUSES[min(deaths, len(_PAUSES)) - 1]


class Server(MPServer):
    """Granian's, but for one thing: however often workers die, it starts them again.

    Granian ends the whole server when a worker dies twice within 5.5 seconds, which no option
    changes. `tests/concurrency/test_workers.py` notices when a version of it works otherwise.
    """

    def run(self, load: Callable[[], Application]) -> None:
        """Until it is told to stop; `load` is called in each worker."""
        self.serve(target_loader=load, wrap_loader=False)

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
                due[worker] = now + pauses.after(worker, lived=now - self.wrks[worker].birth)
            if self.reload_signal:
                self.reload_signal = False
                due.clear()
                every = list(range(self.workers))
                # An old one serves until the new one has had time to start.
                self._respawn_workers(every, spawn_target, target_loader, self.respawn_interval)
            for worker in [worker for worker, at in due.items() if at <= now]:
                del due[worker]
                self._respawn_workers([worker], spawn_target, target_loader)


def loader(port: int, settings: Settings) -> Callable[[], Application]:
    """What each worker runs before it serves; called in the process that starts them."""
    # Their settings are those of the start: `.env` may change before one is started again.
    return partial(_load, os.getpid(), port, settings)


def _load(parent: int, port: int, settings: Settings) -> Application:
    # The parent's handlers came along; one that is told to stop before it serves stops at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Here, so that the process that only starts workers stays small.
    from shop.entrypoints.http.app import create_app

    # It says of each part of an answer that the peer is gone.
    logging.getLogger("_granian.asgi.io").setLevel(logging.WARNING)
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    SlowReaders(port, seconds_max=settings.send_timeout, rate_min=settings.send_rate_min).watch()
    return create_app(settings)


def _end_with(parent: int) -> None:
    """Stop this process when its parent is gone, even one that was killed and could not say so.

    Nobody would start the workers again, nor stop them, and the port would stay taken.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS_MAX)
    os._exit(1)
