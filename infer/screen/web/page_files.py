"""The files of the page, as they lie in `page/`."""

from pathlib import Path

from hueglass.infer.errors import HueglassError

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
"""What the page may consist of; nothing else is served."""


def read_page(folder: Path = PAGE) -> dict[str, bytes]:
    """The files of the page by name: read once, so that no request ever names a path. HueglassError without any."""
    files = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file() and path.suffix in TYPES}
    if "index.html" not in files:
        raise HueglassError(f"{folder}: no index.html here, expected the page")
    return files
