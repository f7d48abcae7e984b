"""The codecs of videos, by name. Light: the command line reads it."""

from enum import StrEnum


class Codec(StrEnum):
    """How the pictures of a video are compressed."""

    H264 = "h264"
    H265 = "h265"
    VP9 = "vp9"
    AV1 = "av1"
