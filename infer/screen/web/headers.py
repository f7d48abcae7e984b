"""The HTTP headers of the page, said once: for what the server answers, and for the static site's `_headers` file."""

CONTENT_POLICY = (
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
"""What the page may load, and from where. WebAssembly is what the site's networks run on."""
PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(CONTENT_POLICY),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
}
"""Of the page, wherever it lies. A page with threads has to be cut off from other origins (COOP, COEP)."""
SERVER_HEADERS = {**PAGE_HEADERS, "Cache-Control": "no-store"}
"""Of every answer of the server: its looks come and go, and a link that holds a token is in nobody's cache. A site's
files stay as they are, and its host knows best for how long."""


def headers_file() -> str:
    """PAGE_HEADERS as a `_headers` file, for hosts that read one: the first line says of which paths."""
    return "".join(["/*\n", *(f"  {name}: {value}\n" for name, value in PAGE_HEADERS.items())])
