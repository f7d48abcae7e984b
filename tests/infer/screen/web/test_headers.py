"""One list of headers: the static site's `_headers` and the server's answers agree."""

from hueglass.infer.screen.web.headers import CONTENT_POLICY, SERVER_HEADERS, headers_file

SERVER_ALONE = {"Cache-Control"}


def test_the_site_and_the_server_send_the_same() -> None:
    paths, *lines = headers_file().splitlines()
    assert paths == "/*"
    site = dict(line.strip().split(": ", 1) for line in lines)
    assert all(line.startswith("  ") for line in lines)
    assert len(site) == len(lines)
    assert set(SERVER_HEADERS) - set(site) == SERVER_ALONE
    assert site == {name: value for name, value in SERVER_HEADERS.items() if name not in SERVER_ALONE}


def test_what_threads_and_webassembly_need_is_there() -> None:
    assert SERVER_HEADERS["Cross-Origin-Opener-Policy"] == "same-origin"
    assert SERVER_HEADERS["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "script-src 'self' 'wasm-unsafe-eval'" in CONTENT_POLICY
    assert "worker-src 'self' blob:" in CONTENT_POLICY
    assert "camera=(self)" in SERVER_HEADERS["Permissions-Policy"]
