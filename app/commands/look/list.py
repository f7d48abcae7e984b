"""The command `look list`."""


def list_looks() -> None:
    """The looks that come with hueglass."""
    from hueglass.infer.model.look import embedded_looks, find_look
    from hueglass.infer.model.manifest import EMBEDDED, read_manifest

    manifest = read_manifest(EMBEDDED)
    for name in embedded_looks():
        print(f"{name:16} {', '.join(find_look(name, manifest).names)}")
