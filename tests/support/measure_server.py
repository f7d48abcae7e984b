"""How 20 clients fare, and what memory the server takes. Run by hand, in `tests/`:

python -m support.measure_server SECONDS [regions]
"""

import asyncio
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np

from .web_server import many, process


def measure(seconds: float, *arguments: str) -> None:
    """Prints, for 20 clients at 15 thumbnails a second, their delays, and the server's memory over the time."""

    def memory(pid: int) -> float:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]

    with process(*arguments) as (running, served):
        taken, done = [], threading.Event()

        def watch() -> None:
            while not done.wait(5):
                taken.append(round(memory(running.pid)))
                print(f"{taken[-1]} MB", served.ask("GET", "/api/status")[1].decode(), flush=True)

        watching = threading.Thread(target=watch)
        watching.start()
        delays = asyncio.run(many(served, 20, 15, seconds))
        done.set()
        watching.join()
        counts, every = [len(times) for times in delays], 1000 * np.concatenate(delays)
        late = np.percentile(every, 95)
        print(f"grids a client {min(counts)} to {max(counts)}, {len(every) / seconds:.0f} a second in all")
        print(f"from thumbnail to grid {np.median(every):.0f} ms, 95 % below {late:.0f} ms; memory {taken} MB")


if __name__ == "__main__":
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as `hueglass serve` sets it for itself
    measure(float(sys.argv[1]), *sys.argv[2:])
