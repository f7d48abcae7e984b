"""Clients of the web server: one network takes them in turn, each with its own look, smoothing and cuts.

Of a client only the newest thumbnail waits, and it has no other turn before its last grid has left for it: nothing
queues, and whoever reads slowly costs nobody anything.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings

from .messages import RATE, Result, Thumbnail

SPAN = 10.0
"""The load is that of the last so many seconds."""


class ServerLoad(NamedTuple):
    """Of the last seconds: predictions a second, and the delay from a thumbnail to its grid that 95 % stay below, in
    milliseconds."""

    rate: float
    delay: float


@dataclass(eq=False)
class Client:
    """What is kept for one. `deliver` is called in the network's thread, with a result or with what went wrong, and is
    not to wait. The stylizer belongs to that thread, the rest is kept under the lock of PredictionQueue."""

    stylizer: Stylizer
    deliver: Callable[[Result | HueglassError], None]
    newest: Thumbnail | None = None
    wanted: tuple[Look, float] | None = None
    busy: bool = False
    due: float = 0.0

    def predict(self, thumbnail: Thumbnail, wanted: tuple[Look, float] | None) -> np.ndarray:
        """Coefficients for the thumbnail; `wanted` is a look to fade to, and in how many seconds."""
        if wanted is not None:
            self.stylizer.fade_to(*wanted)
        return self.stylizer.predict(Frame(thumbnail.pixels, thumbnail.time, thumbnail.sequence))


class PredictionQueue:
    """The network, in a thread of its own from the start until `close`, and the clients that wait for it.

    A client waits in line at most once: between two turns of one, every other that has a thumbnail has had its own.
    `settings` are how all of them are restyled.
    """

    def __init__(self, bundle: ModelBundle, settings: StylizerSettings | None = None) -> None:
        self.bundle, self._settings = bundle, settings or StylizerSettings()
        self._lock = threading.Condition()
        self._line: deque[Client] = deque()
        self._closed = False
        self._done: deque[tuple[float, float]] = deque(maxlen=int(SPAN * 1000))
        self._thread = threading.Thread(target=self._work, name="prediction", daemon=True)
        self._thread.start()

    def join(self, look: Look, deliver: Callable[[Result | HueglassError], None]) -> Client:
        """A new client, which begins in the light of `look`."""
        return Client(self._settings.stylizer(self.bundle, look), deliver)

    def offer(self, client: Client, thumbnail: Thumbnail) -> None:
        """The client's newest thumbnail: one that still waited is forgotten."""
        with self._lock:
            client.newest = thumbnail
            self._queue(client)

    def delivered(self, client: Client) -> None:
        """What the client was given has left: it may have another turn."""
        with self._lock:
            client.busy = False
            self._queue(client)

    def fade_to(self, client: Client, look: Look, seconds: float) -> None:
        """From its next thumbnail on, cross-fade to a look; with 0 seconds it is there at once, unsmoothed."""
        with self._lock:
            client.wanted = (look, seconds)

    def leave(self, client: Client) -> None:
        """Forget what waits of a client that has gone."""
        with self._lock:
            client.newest = None
            with suppress(ValueError):
                self._line.remove(client)

    def load(self) -> ServerLoad:
        """How fast the network works and how long clients wait."""
        with self._lock:
            since = perf_counter() - SPAN
            delays = [delay for moment, delay in self._done if moment > since]
        return ServerLoad(len(delays) / SPAN, 1000 * float(np.percentile(delays, 95)) if delays else 0.0)

    def close(self) -> None:
        """Ends the thread, after the prediction under way."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._thread.join(timeout=2)

    def _queue(self, client: Client) -> None:
        if client.newest is not None and not client.busy and client not in self._line:
            self._line.append(client)
            self._lock.notify_all()

    def _next(self) -> tuple[Client, Thumbnail, tuple[Look, float] | None] | None:
        """Whose turn it is, what of, and the look it wants; waits for it. None at the end."""
        with self._lock:
            while not self._closed:
                now = perf_counter()
                for client in self._line:
                    if client.due <= now and client.newest is not None:
                        self._line.remove(client)
                        thumbnail, client.newest = client.newest, None
                        wanted, client.wanted = client.wanted, None
                        client.busy, client.due = True, now + 1 / RATE
                        return client, thumbnail, wanted
                self._lock.wait(min((client.due for client in self._line), default=now + 60) - now)
            return None

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            client, thumbnail, wanted = turn
            began = perf_counter()
            try:
                grid = client.predict(thumbnail, wanted)
            except Exception as error:  # of whatever kind: the others go on being served
                if not isinstance(error, HueglassError):
                    error = HueglassError(f"no prediction: {type(error).__name__}: {error}")
                client.deliver(error)
                continue
            now = perf_counter()
            with self._lock:
                self._done.append((now, now - thumbnail.arrived))
            client.deliver(Result(thumbnail.sequence, now - began, grid))
