"""Labels that come with data sets, in the names of our regions."""

import numpy as np

from hueglass.infer.regions.regions import REGION_NAMES

_CAMVID = {
    "sky": "sky",
    "building": "building",
    "pole": "other",
    "road": "ground",
    "pavement": "ground",
    "tree": "vegetation",
    "sign": "other",
    "fence": "building",
    "car": "vehicle",
    "pedestrian": "person",
    "bicyclist": "person",
    "unlabelled": "other",
}
UNKNOWN = 255
"""The label of pixels that nobody named."""


def camvid_regions(labels: np.ndarray) -> np.ndarray:
    """CamVid's twelve classes (H, W) uint8 as indices into REGION_NAMES; anything else is "other"."""
    table = np.full(256, REGION_NAMES.index("other"), dtype=np.uint8)
    for index, name in enumerate(_CAMVID.values()):
        table[index] = REGION_NAMES.index(name)
    return table[labels]


def camvid_known(labels: np.ndarray) -> np.ndarray:
    """As `camvid_regions`, but what CamVid leaves unlabelled is UNKNOWN: most of it is house, kerb or parked car."""
    void = list(_CAMVID).index("unlabelled")
    return np.where(labels < void, camvid_regions(labels), np.uint8(UNKNOWN))
