"""The small upright copy of a picture that networks look at."""

from dataclasses import replace

import cv2
import numpy as np

from .frame import Frame, YuvImage
from .orientation import upright
from .resize import resized_square


def thumbnail(image: np.ndarray | YuvImage, size: int, orientation: int = 1) -> np.ndarray:
    """The small upright copy (size, size, 3) uint8 sRGB of a picture, (H, W, 3) uint8 sRGB or Y'CbCr."""
    if isinstance(image, YuvImage):
        luma, cb, cr = (resized_square(plane, size) for plane in image.planes)
        small = cv2.transform(cv2.merge((luma, cb, cr)), 255 * image.rgb_matrix)
    else:
        small = resized_square(image, size)
    return small if orientation == 1 else np.ascontiguousarray(upright(small, orientation))


def upright_frame(frame: Frame[np.ndarray]) -> Frame[np.ndarray]:
    """A frame in RGB as a person sees it."""
    if frame.orientation == 1:
        return frame
    return replace(frame, image=np.ascontiguousarray(upright(frame.image, frame.orientation)), orientation=1)
