"""A client's session, as the client meets it: hello, thumbnails, grids, looks, and what ends it."""

import contextlib
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.streets import picture_of_street
from support.web_server import (
    LOOKS,
    SHAPE,
    SIZE,
    Served,
    clients_of,
    connect,
    deaf_client,
    exceptions,
    grid_of,
    message,
    pictures,
    predicted,
    same,
    set_look,
    stylizer,
    wait_for,
)

from hueglass.infer.frame import Frame
from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import no_regions
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.screen.web import server, session, tls
from hueglass.infer.smoothing import SECONDS_ALONE, Steadying


def test_hello_says_what_the_page_has_to_know(served: Served, bundle: ModelBundle) -> None:
    with connect(f"ws://127.0.0.1:{served.port}/ws", origin=served.origin) as client:
        hello = json.loads(client.recv(10))
    assert (hello["type"], hello["size"], hello["grid"]) == ("hello", SIZE, list(SHAPE))
    assert hello["model"] == bundle.manifest.model
    assert [look["name"] for look in hello["looks"]] == LOOKS
    assert json.loads(served.ask("GET", "/api/looks")[1]) == {"looks": hello["looks"]}


def test_grids_are_those_of_the_runtime(served: Served, bundle: ModelBundle) -> None:
    reference = stylizer(bundle, "sunset")
    shots = [*pictures(0, 4), *pictures(5, 3)]  # a cut lies between
    with served.client() as client:
        for i, pixels in enumerate(shots):
            grid = predicted(client, i + 7, i / 15, pixels)
            assert same(grid, reference.predict(Frame(pixels, round(1000 * i / 15) / 1000, i)))
    # The smoother was at work, and the cut was seen.
    bare = Stylizer(bundle, reference.look)
    assert not same(bare.predict(Frame(shots[-1], 0, 0)), grid)
    assert reference.smoother is not None
    assert reference.smoother.weight < 1


def test_regions_are_found_smoothed_and_spared(start: Callable[..., Served], bundle: ModelBundle) -> None:
    """With a segmenter, of each client's frames and of what is uploaded."""
    settings = StylizerSettings(bundle.segmenter, Strength(1.0, {"sky": 0.0}), Steadying(smoothing=0.2))
    street, evening = (picture_of_street(seed, 0.0, 512, 512) for seed in (0, 3))
    # Farther apart than the period in which regions are found once.
    shots = [bundle.thumbnail(np.roll(street, 4 * i, 1)) for i in range(4)]
    photograph = cv2.imencode(".png", evening)[1].tobytes()
    served = start(settings=settings)
    reference = settings.stylizer(bundle, looks.find_look("sunset", bundle.manifest))
    with served.client() as client:
        for i, pixels in enumerate(shots):
            grid = predicted(client, i, i / 4, pixels)
            assert same(grid, reference.predict(Frame(pixels, i / 4, i)))
        set_look(client, served.post(photograph, "image/png")[1]["name"], 0)
        own = predicted(client, 9, 9.0, shots[0])
    assert not same(grid, stylizer(bundle, "sunset").predict(Frame(shots[-1], 0, 0)))
    image = cv2.cvtColor(evening, cv2.COLOR_RGB2BGR)  # OpenCV wrote it as if it were BGR
    assert bundle.segmenter is not None
    look = looks.make_look(bundle, "photo", image, find_regions(bundle.segmenter, bundle.thumbnail(image)))
    assert len(look.names) > 2
    again = settings.stylizer(bundle, reference.look)
    for i, pixels in enumerate(shots):
        again.predict(Frame(pixels, i / 4, i))
    again.fade_to(look, 0)
    assert same(own, again.predict(Frame(shots[0], 9.0, 9)))


def test_a_look_at_once_and_one_by_a_fade(start: Callable[..., Served], bundle: ModelBundle) -> None:
    """Frame by frame, without a memory, so that every grid can be told from its frame."""
    served = start(settings=StylizerSettings(steady=Steadying(None)))
    sunset, moonlight = (looks.find_look(name, bundle.manifest) for name in ("sunset", "moonlight"))
    frames, bare = pictures(1, 8), Stylizer(bundle, sunset)

    def plain(pixels: np.ndarray, look: looks.Look) -> np.ndarray:
        task = looks.assign(look, no_regions(bundle.manifest.thumbnail // 2), bundle.manifest.slots)
        return bare.bundle.predict(pixels, task).coefficients

    with served.client() as client:
        predicted(client, 0, 0.0, frames[0])
        assert set_look(client, "moonlight", 0) == {"type": "look", "name": "moonlight"}
        assert same(predicted(client, 1, 0.1, frames[1]), plain(frames[1], moonlight))
        set_look(client, "sunset", 1.0)  # begins at 0.1
        smoother = Smoother(SECONDS_ALONE)
        smoother.update(plain(frames[1], moonlight), 0.1)
        for i, weight in ((2, 0.25), (3, 0.5), (4, 0.9), (5, 1.0), (6, 1.0)):
            seconds = 0.1 + weight + (1.0 if i == 6 else 0.0)
            look = looks.mix_looks(moonlight, sunset, weight, "between")
            expected = smoother.update(plain(frames[i], look), seconds)
            assert same(predicted(client, i, seconds, frames[i]), expected)


def test_a_scene_is_remembered_through_a_change_of_looks(served: Served, bundle: ModelBundle) -> None:
    """As the stylizer does it: of one shot, by two looks, at once and by a fade."""
    moonlight, winter = (looks.find_look(name, bundle.manifest) for name in ("moonlight", "winter"))
    reference, alone = stylizer(bundle, "sunset"), Stylizer(bundle, winter)
    with served.client() as client:
        for i, pixels in enumerate(pictures(1, 12)):
            if i in (3, 5):
                look, fade = (moonlight, 0.0) if i == 3 else (winter, 0.25)
                set_look(client, look.name, fade)
                reference.fade_to(look, fade)
            grid = predicted(client, i, i / 10, pixels)
            assert same(grid, reference.predict(Frame(pixels, i / 10, i)))
    assert reference.look is winter
    assert not same(grid, alone.predict(Frame(pictures(1, 12)[-1], 0, 0)))


def test_clients_do_not_see_each_other(served: Served, bundle: ModelBundle) -> None:
    references = [stylizer(bundle, name) for name in LOOKS]
    shots = [pictures(10 + i, 5) for i in range(3)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in LOOKS]
        for client, name in zip(clients, LOOKS, strict=True):
            set_look(client, name, 0)
        for k in range(5):
            for i, client in enumerate(clients):
                seconds = 0.05 * k * (i + 1)
                grid = predicted(client, k, seconds, shots[i][k])
                assert same(grid, references[i].predict(Frame(shots[i][k], round(1000 * seconds) / 1000, k)))


def test_of_a_fast_client_only_the_newest_counts(served: Served) -> None:
    pixels = pictures(2, 1)[0]
    with served.client() as client:
        for i in range(40):
            client.send(message(i, i / 1000, pixels))
        answered = []
        while not answered or answered[-1] != 39:
            answered.append(grid_of(client, client.recv(20))[0])
        assert answered == sorted(set(answered))
        assert len(answered) < 40
        with pytest.raises(TimeoutError):
            client.recv(0.3)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"", 1007),
        (b"\0" * 100, 1007),
        (b"\0" * (8 + SIZE * SIZE * 3 - 1), 1007),
        (b"\0" * (8 + SIZE * SIZE * 3 + 1), 1009),
        ("x" * 1025, 1009),
        ("\N{SNOWMAN}" * 400, 1009),
        ("no JSON", 1007),
        ("[" * 1000, 1007),
        ("{}", 1007),
        ('{"type": "quit"}', 1007),
        ('{"type": "look", "name": 3}', 1007),
        ('{"type": "look", "name": "sunset", "fade": NaN}', 1007),
        ('{"type": "look", "name": "sunset", "fade": -1}', 1007),
        ('{"type": "look", "name": "sunset", "fade": 1e9}', 1007),
        ('{"type": "look", "name": "sunset", "more": 1}', 1007),
    ],
)
def test_messages_that_do_not_fit_end_the_connection(served: Served, wrong: str | bytes, code: int) -> None:
    with served.client() as client, served.client() as other:
        with contextlib.suppress(exceptions.ConnectionClosed):
            client.send(wrong)
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            client.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        assert closed.value.rcvd.reason
        predicted(other, 1, 0.0, pictures(0, 1)[0])


def test_a_huge_message_ends_the_connection(served: Served) -> None:
    """While it is still being sent: of the close code nothing may arrive."""
    with served.client() as client, served.client() as other:
        with pytest.raises(exceptions.ConnectionClosed):  # noqa: PT012
            client.send(b"\0" * (1 << 24))
            client.recv(10)
        predicted(other, 1, 0.0, pictures(0, 1)[0])


def test_an_unknown_look_is_said_to_be_one(served: Served) -> None:
    with served.client() as client:
        answer = set_look(client, "../secret", 0.1)
        assert answer["type"] == "error"
        assert "no look named" in answer["message"]
        predicted(client, 1, 0.0, pictures(0, 1)[0])


def test_a_prediction_that_fails_is_said_once_and_the_next_may_work(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, pixels = start(), pictures(0, 1)[0]
    with served.client() as client, monkeypatch.context() as broken:
        broken.setattr(ModelBundle, "predict", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
        client.send(message(1, 0.0, pixels))
        assert json.loads(client.recv(10))["type"] == "error"
        client.send(message(2, 0.1, pixels))
        with pytest.raises(TimeoutError):
            client.recv(0.5)
        broken.undo()
        predicted(client, 3, 0.2, pixels)
    assert capfd.readouterr().err == "hueglass: no prediction: RuntimeError: out of memory\n"


def test_no_more_clients_than_allowed(start: Callable[..., Served]) -> None:
    served = start(max_clients=2)
    with served.client() as first, served.client():
        with connect(f"ws://127.0.0.1:{served.port}/ws", origin=served.origin) as third:
            with pytest.raises(exceptions.ConnectionClosed) as closed:
                third.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        predicted(first, 1, 0.0, pictures(0, 1)[0])
    wait_for(lambda: clients_of(served) == 0)
    with served.client():
        assert clients_of(served) == 1


@pytest.mark.parametrize("secure", [False, True])
def test_who_does_not_read_is_dropped_and_others_are_served(
    capfd: pytest.CaptureFixture[str],
    start: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    secure: bool,
) -> None:
    monkeypatch.setattr(session, "SEND_SECONDS", 1.0)
    pixels, pem = pictures(0, 1)[0], ""
    if secure:
        certificate, key = tls._self_signed(["127.0.0.1"])
        (tmp_path / "own.pem").write_bytes(certificate + key)
        pem = certificate.decode()
    served = start(certificate=tmp_path / "own.pem" if secure else None)
    with served.client(certificate=pem) as other, deaf_client(served, pem) as send:
        answered, end = 0, time.monotonic() + 60
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while time.monotonic() < end:
                send(message(1, 0.0, pixels))
                predicted(other, answered, answered / 30, pixels)
                answered += 1
        assert time.monotonic() < end
        assert answered > 5
        for i in range(5):
            predicted(other, i, 60.0 + i, pixels)
    assert capfd.readouterr().err == "hueglass: a client did not read for 1 s: dropped\n"


def test_who_is_dropped_with_messages_unread_goes_without_a_word(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over TLS, where the way is gone when the server finds that it may read on, or that its patience ends."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    certificate, key = tls._self_signed(["127.0.0.1"])
    (tmp_path / "own.pem").write_bytes(certificate + key)
    served, pixels = start(certificate=tmp_path / "own.pem"), pictures(0, 1)[0]
    sessions = served.server._service.sessions
    for _ in range(10):
        with contextlib.suppress(exceptions.ConnectionClosed), served.client(certificate.decode()) as client:
            predicted(client, 0, 0.0, pixels)
            (only,) = sessions
            for i in range(8):
                client.send(message(i + 1, 0.0, pixels))
            only._loop.call_soon_threadsafe(only.drop)
            while True:
                client.recv(10)
        wait_for(lambda: not sessions)
    time.sleep(0.6)
    assert capfd.readouterr().err == ""
