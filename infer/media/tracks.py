"""Copies the sound and the subtitles of one file into another, packet for packet, in step with new pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import av.container

from hueglass.infer.errors import HueglassError

from .containers import clock_origin, open_container, picture_stream, read_packets

_COPIED = ("audio", "subtitle")
_OWN_METADATA = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""What an output says of itself, and must not take from the input."""


class CopiedTracks:
    """The sound and subtitle tracks of `source`, added to `output`, which is not yet being written.

    Packets are unchanged; timestamps keep their place on the clock of the pictures. Titles, languages and
    chapters come along. `left_out` names the tracks that do not: further pictures, data, subtitles that the output
    cannot hold.
    HueglassError for sound that it cannot hold; UsageError and HueglassError as `open_container`.
    """

    def __init__(self, source: str | os.PathLike[str], output: av.container.OutputContainer, place: Path) -> None:
        self._source = Path(source)
        self._place = place
        self._output = output
        self._input = open_container(source)
        self.left_out: list[str] = []
        try:
            self._tracks = self._add_tracks()
        except BaseException:
            self.close()
            raise
        self._copy_description()
        origin = clock_origin(self._input)
        self._shift = {i: round(origin / self._input.streams[i].time_base) for i in self._tracks}
        self._packets = self._read()
        self._next = next(self._packets, None)

    def late_clocks(self) -> list[int]:
        """Ticks per second of the tracks that start after 0."""
        late = [s for s in (self._input.streams[i] for i in self._tracks) if (s.start_time or 0) > self._shift[s.index]]
        return [s.codec_context.sample_rate if s.type == "audio" else s.time_base.denominator for s in late]

    def close(self) -> None:
        self._input.close()

    def copy_until(self, time: float | None) -> None:
        """Writes the packets that are due up to `time` in seconds; None: all that are left."""
        while self._next is not None and (time is None or self._next.dts * self._next.time_base <= time):
            packet = self._next
            packet.stream = self._tracks[packet.stream_index]
            self._output.mux_one(packet)
            self._next = next(self._packets, None)

    def _read(self) -> Iterator[av.Packet]:
        """Whole packets of the copied tracks, in order, moved to the clock of the pictures."""
        last = dict.fromkeys(self._tracks, float("-inf"))
        # What cannot be read is passed over, as it is for the pictures: whoever reads them reports it.
        for packet in read_packets(self._input, lambda: None):
            track = packet.stream_index
            if track not in self._tracks or packet.is_corrupt or packet.pts is None:
                continue
            packet.dts = (packet.pts if packet.dts is None else packet.dts) - self._shift[track]
            packet.pts -= self._shift[track]
            if packet.dts >= last[track]:  # after damage some files go back, which no output can hold
                last[track] = packet.dts
                yield packet

    def _add_tracks(self) -> dict[int, av.stream.Stream]:
        tracks: dict[int, av.stream.Stream] = {}
        pictures = picture_stream(self._input)
        for stream in self._input.streams:
            if stream.type in _COPIED:
                try:
                    tracks[stream.index] = self._add(stream)
                    continue
                except ValueError:
                    if stream.type == "audio":
                        raise HueglassError(
                            f"{self._place}: cannot hold the {stream.name or 'unknown'} sound of "
                            f"{self._source}, expected an .mkv output, or .mp4 for aac and mp3"
                        ) from None
            if pictures is None or stream.index != pictures.index:
                self.left_out.append(f"{stream.type} track {stream.index} ({stream.name or 'unknown'})")
            stream.discard = av.stream.Discard.all
        return tracks

    def _add(self, stream: av.stream.Stream) -> av.stream.Stream:
        """The output's track for `stream`; ValueError if it cannot hold its codec."""
        track = self._output.add_stream_from_template(stream)
        track.metadata.update(stream.metadata)
        track.disposition = stream.disposition
        return track

    def _copy_description(self) -> None:
        metadata = self._input.metadata.items()
        self._output.metadata.update({k: v for k, v in metadata if k.lower() not in _OWN_METADATA})
        chapters = self._input.chapters()
        if chapters:
            self._output.set_chapters(chapters)
