"""The report of `evaluate pairs`: one page with a table, charts and every picture, and contact sheets.

The page needs no network and no server; its pictures lie beside it in `pictures/`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from hueglass.datasets.benchmark import OFFICIAL
from hueglass.infer.files import whole_file
from hueglass.infer.media.images import read_image, write_image
from hueglass.train.evaluate import METRICS, UNTOUCHED, Scores, best, means, standard_errors

from .page import filled, tile

PICTURES = "pictures"
"""Where they lie beside the page, reduced; what is measured is measured at full size."""
ROWS_PER_SHEET = 10
TILE, STRIP = (320, 214), 30
DIGITS = {"swd": 2, "edge": 3, "resid": 3, "dE": 2, "halo": 2}


@dataclass(frozen=True)
class PairFacts:
    """The size of a pair's content, and the regions that both of its sides have."""

    width: int
    height: int
    regions: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Facts by pair, and scores by method and pair; a method may lack pairs."""

    pairs: dict[str, PairFacts]
    methods: dict[str, Scores]

    def complete(self) -> list[str]:
        """Methods that have every pair."""
        return [name for name, scores in self.methods.items() if len(scores) == len(self.pairs)]

    def on_the_pairs_of(self, name: str) -> dict[str, Scores]:
        """What a method that lacks pairs and the complete ones score on the pairs that it has."""
        names = [other for other in self.methods if other in (name, *self.complete())]
        return {other: {pair: self.methods[other][pair] for pair in self.methods[name]} for other in names}


def columns(methods: list[str]) -> dict[str, str]:
    """The pictures that are shown of a pair, in order, and the stem of each one's file. Untouched is the content."""
    rest = [name for name in methods if name not in (UNTOUCHED, OFFICIAL)]
    stems: dict[str, str] = {}
    for name in ("content", "style", OFFICIAL, *rest):
        stem = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "method"
        stems[name] = stem if stem not in stems.values() else f"{stem}-{len(stems)}"
    return stems


def count_text(count: int, total: int) -> str:
    """How many pairs a method has: "39", or "12 of 39"."""
    return str(count) if count == total else f"{count} of {total}"


def picture_file(pair: str, stem: str) -> Path:
    """Where a picture of a pair lies, seen from the page."""
    return Path(PICTURES) / f"{pair}-{stem}.jpg"


def write_report(folder: Path, report: Report) -> None:
    """index.html and sheetN.png in `folder`, where the pictures lie already. HueglassError for a full disk."""
    with whole_file(folder / "index.html") as temporary:
        temporary.write_text(_page(report), encoding="utf-8")
    names = list(report.pairs)
    for i in range(0, len(names), ROWS_PER_SHEET):
        sheet = _sheet(folder, report, names[i : i + ROWS_PER_SHEET])
        write_image(folder / f"sheet{i // ROWS_PER_SHEET}.png", sheet)


def _page(report: Report) -> str:
    parts = {
        "title": f"{len(report.methods)} methods on {len(report.pairs)} pairs",
        "tables": "".join(_tables(report)),
        "charts": "".join(_chart(metric, report) for metric in METRICS),
        "metrics": "".join(f'<option value="{metric.lower()}">{metric}</option>' for metric in METRICS),
        "methods": "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(report.methods)),
        "pairs": "".join(_pair(name, i, report) for i, name in enumerate(report.pairs)),
    }
    return filled("report.html", parts)


def _tables(report: Report) -> Iterator[str]:
    complete = report.complete()
    yield _table(report.methods, f"over {len(report.pairs)} pairs, or as many of them as stated", complete)
    for name, scores in report.methods.items():
        if name not in complete:
            chosen = report.on_the_pairs_of(name)
            yield _table(chosen, f"on the {len(scores)} pairs of {name}", list(chosen))


def _table(methods: dict[str, Scores], caption: str, competing: list[str]) -> str:
    total = max(map(len, methods.values()))
    winners = best({name: means(methods[name]) for name in competing})
    heads = "".join(f'<th scope="col"><button type="button">{h}</button></th>' for h in ("method", "pairs", *METRICS))
    rows = []
    for name, scores in methods.items():
        mean, error = means(scores), standard_errors(scores)
        cells = "".join(_cell(m, mean[m], error[m], winners.get(m) == name) for m in METRICS)
        count = f'<td data-value="{len(scores)}">{count_text(len(scores), total)}</td>'
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{count}{cells}</tr>')
    body = "".join(rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cell(metric: str, mean: float, error: float | None, is_best: bool) -> str:
    spread = "" if error is None else f" <small>± {error:.{DIGITS[metric]}f}</small>"
    mark = ' class="best"' if is_best else ""
    return f'<td{mark} data-value="{mean:.6g}">{mean:.{DIGITS[metric]}f}{spread}</td>'


LABELS, PLOT, LINE, TOP = 240, 400, 20, 24
"""Lay-out of a chart, in its own units: room for names, for values, a method's height, room for the ticks."""


def _chart(metric: str, report: Report) -> str:
    """Every pair's value as a dot, a row for each method, with mean and standard error."""
    values = [score[metric] for scores in report.methods.values() for score in scores.values()]
    low, high = min(0.0, *values), max(1e-3, *values)
    bottom = TOP + LINE * len(report.methods)
    parts = []
    for tick in ticks(low, high):
        x = _place(tick, low, high)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="12" text-anchor="middle">{tick:g}</text>')
    for row, (name, scores) in enumerate(report.methods.items()):
        middle = TOP + LINE * row + LINE // 2
        parts.append(f'<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        parts += [_dot(metric, name, pair, i, report, (low, high), middle) for i, pair in enumerate(report.pairs)]
        mean, error = means(scores)[metric], standard_errors(scores)[metric] or 0.0
        x, left, right = (_place(value, low, high) for value in (mean, mean - error, mean + error))
        parts.append(f'<path class="mean" d="M{x} {middle - 7}V{middle + 7}M{left} {middle + 7}H{right}"/>')
    size = f"0 0 {LABELS + PLOT + 20} {bottom + 4}"
    picture = f'<svg viewBox="{size}" role="img" aria-label="{metric} of every pair">{"".join(parts)}</svg>'
    return f"<figure><figcaption><b>{metric}</b></figcaption>{picture}</figure>"


def _place(value: float, low: float, high: float) -> str:
    return f"{LABELS + PLOT * (value - low) / (high - low):.1f}"


def _dot(
    metric: str, name: str, pair: str, index: int, report: Report, limits: tuple[float, float], middle: int
) -> str:
    """A link to the pair; nothing where the method has none."""
    if pair not in report.methods[name]:
        return ""
    value = report.methods[name][pair][metric]
    title = f"<title>{escape(name)}, pair {escape(pair)}: {value:.{DIGITS[metric]}f}</title>"
    return f'<a href="#pair-{index}"><circle cx="{_place(value, *limits)}" cy="{middle}" r="3">{title}</circle></a>'


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers that lie within [low, high]."""
    span = high - low
    power = 10.0 ** np.floor(np.log10(span / 3))
    step = next(s * power for s in (5, 2, 1) if 3 * s * power <= span * (1 + 1e-9))
    counts = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    return [float(np.round(count * step, 12)) + 0.0 for count in counts]  # -0.0 reads odd


def _pair(name: str, index: int, report: Report) -> str:
    facts = report.pairs[name]
    text = f"{facts.width}x{facts.height}, regions: {', '.join(facts.regions)}"
    figures = "".join(
        _figure(column, stem, name, report)
        for column, stem in columns(list(report.methods)).items()
        if column not in report.methods or name in report.methods[column]
    )
    return (
        f'<section class="pair" id="pair-{index}"><h3>Pair {escape(name)}</h3>'
        f'<p class="note">{escape(text)}</p><div class="shots">{figures}</div></section>\n'
    )


def _figure(column: str, stem: str, pair: str, report: Report) -> str:
    """A picture, and below it what it scored: the content as the untouched method."""
    method = UNTOUCHED if column == "content" else column
    score = report.methods.get(method, {}).get(pair, {})
    data = "".join(f' data-{metric.lower()}="{value:.6g}"' for metric, value in score.items())
    if score:
        data += f' data-method="{list(report.methods).index(method)}"'
    numbers = ", ".join(f"{metric} {value:.{DIGITS[metric]}f}" for metric, value in score.items())
    source = quote(picture_file(pair, stem).as_posix())
    return (
        f'<figure data-column="{stem}"{data}><button type="button">'
        f'<img loading="lazy" src="{source}" alt="{escape(column)}, pair {escape(pair)}"></button>'
        f"<figcaption><b>{escape(column)}</b><span>{numbers}</span></figcaption></figure>"
    )


def _sheet(folder: Path, report: Report, pairs: list[str]) -> np.ndarray:
    """A row for each pair below a strip that names the columns; what a method lacks is grey."""
    shown = columns(list(report.methods))
    rows = [np.hstack([_label(column) for column in shown])]
    for pair in pairs:
        tiles = []
        for column, stem in shown.items():
            there = column not in report.methods or pair in report.methods[column]
            file = folder / picture_file(pair, stem)
            tiles.append(tile(read_image(file), TILE, 0) if there else np.full((*TILE[::-1], 3), 128, np.uint8))
        _write_on(tiles[0], pair, 20, 255)
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def _label(text: str) -> np.ndarray:
    strip = np.full((STRIP, TILE[0], 3), 255, np.uint8)
    _write_on(strip, text, STRIP - 10, 0)
    return strip


def _write_on(image: np.ndarray, text: str, y: int, grey: int) -> None:
    """Text with an outline in the opposite grey, small enough for the picture's width."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.55
    width = cv2.getTextSize(text, font, scale, 1)[0][0]
    scale *= min(1.0, (image.shape[1] - 16) / width)
    for shade, thickness in ((255 - grey, 3), (grey, 1)):
        cv2.putText(image, text, (8, y), font, scale, (shade,) * 3, thickness, cv2.LINE_AA)
