"""The picture that looks are shown on, where nobody has given one: a frame of the generated street."""

import numpy as np

from hueglass.datasets.street.film import make_street, render_street

SIZE = (480, 270)
"""Width and height."""


def street_picture() -> np.ndarray:
    """The generated street: (H, W, 3) uint8 sRGB."""
    return render_street(make_street(0), 0.0, *SIZE)[0]
