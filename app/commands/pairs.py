"""The command `pairs`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import UsageError


def pairs(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with photos/ or camvid/ (train, train_label).")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="MANIFEST", help="Where the manifest goes.")],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pairs.")] = 0,
) -> None:
    """Draw pairs of similar pictures in different colours: the manifest that `targets` works through."""
    from hueglass.datasets.pairs import draw_pairs, write_pairs
    from hueglass.infer.files import writable_place

    if not data.is_dir():
        raise UsageError(f"{data}: no such folder, expected the data")
    writable_place(out)
    drawn = draw_pairs(data, count, seed)
    write_pairs(out, drawn)
    labelled, graded = (sum(getattr(p, key) is not None for p in drawn) for key in ("label_kind", "grade_seed"))
    print(f"{out}: {len(drawn)} pairs, {labelled} with regions, {graded} with a graded style")
