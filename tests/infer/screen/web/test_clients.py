"""Clients take turns at one network."""

import asyncio
import json
import time
from collections.abc import Callable

import numpy as np
from support.web_server import SHAPE, Served, clients_of, many, pictures, wait_for

from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle, Prediction
from hueglass.infer.screen.web.clients import Client, PredictionQueue
from hueglass.infer.screen.web.messages import Thumbnail


class Slow:
    """Stands for a network that takes `seconds`, whatever it is shown."""

    device = "cpu"

    def __init__(self, bundle: ModelBundle, seconds: float) -> None:
        self.manifest, self._seconds = bundle.manifest, seconds

    def predict(self, *_: object) -> Prediction:
        time.sleep(self._seconds)
        m = self.manifest
        return Prediction(np.zeros(SHAPE, np.float32), np.zeros((m.slots + m.tones + 1, m.remembered), np.float32))


def turns_taken(bundle: ModelBundle, network: float, clients: int, seconds: float) -> list[int]:
    """Whose turn it was, when all offer a thumbnail every millisecond and take what they are given at once."""
    queue, taken, pixels = PredictionQueue(Slow(bundle, network)), [], pictures(0, 1)[0]  # type: ignore[arg-type]
    joined: list[Client] = []

    def take(index: int) -> Callable[[object], None]:
        def deliver(_: object) -> None:
            taken.append(index)
            queue.delivered(joined[index])

        return deliver

    look = looks.find_look("sunset", bundle.manifest)
    joined += [queue.join(look, take(i)) for i in range(clients)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for i, client in enumerate(joined):
            queue.offer(client, Thumbnail(i, time.monotonic(), pixels))
        time.sleep(0.001)
    queue.close()
    return taken


def test_clients_take_turns(bundle: ModelBundle) -> None:
    taken = turns_taken(bundle, 0.02, 4, 2.0)
    assert len(taken) > 12
    assert all(len(set(taken[i : i + 4])) == 4 for i in range(len(taken) - 3))


def test_no_client_has_more_than_sixty_turns_a_second(bundle: ModelBundle) -> None:
    taken = turns_taken(bundle, 0.0, 1, 2.0)
    assert 20 < len(taken) <= 2 * 60 + 2


def test_twenty_clients_are_all_served(served: Served) -> None:
    delays = asyncio.run(many(served, 20, 15, 4))
    counts = [len(times) for times in delays]
    assert min(counts) >= 4
    assert max(counts) <= 3 * min(counts)  # in turn: nobody is served at another's cost
    figures = json.loads(served.ask("GET", "/api/status")[1])
    assert figures["predictions_per_second"] > 0
    assert figures["p95_delay_ms"] > 0
    wait_for(lambda: clients_of(served) == 0)
