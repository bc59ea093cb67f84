"""Clips, decoded one frame after another by PyAV, so that memory does not grow with the length."""

import bisect
import os
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from PIL import Image

from parlib.errors import BadInput

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv")
AHEAD = 100  # frames that are decoded on the way to one wanted; beyond, the decoder starts anew at a key frame


class Clip:
    """A video file of `count` frames, in the order in which they are shown, whatever the time between them.

    Frames are told apart by their times, so that one that cannot be decoded does not shift the others. `size` is
    (width, height) in pixels, upright.

    Raises:
        BadInput: PyAV is not installed, there is no such file, no video in it, or no decoder for it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self.decoder: Iterator[tuple[int, Any]] = iter(())
        self.next = -AHEAD  # number of the frame that `decoder` gives next, or less; at first it gives none
        stamps: list[Any] = []
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            self.base, self.rate = stream.time_base, stream.average_rate or 25
            try:
                for packet in container.demux(stream):
                    if packet.size and not packet.is_discard:
                        stamps.append(packet.pts)
            except _av().FFmpegError as error:
                warnings.warn(f"{self.path} is read up to where it is damaged ({error})", stacklevel=2)
        self.timed = None not in stamps and len(set(stamps)) == len(stamps) > 0
        self.stamps = sorted(stamps) if self.timed else list(range(len(stamps)))
        self.count = len(self.stamps)
        first = next(self._decoded(0), None)
        if first is None:
            raise BadInput(f"{self.path}: no frame can be decoded; {_remedy(self.path)}")
        self.size = _upright(first[1]).size

    def __str__(self):
        return self.path

    def __getstate__(self):
        return {**vars(self), "decoder": iter(()), "next": -AHEAD}  # an open file does not travel to a worker

    def seconds(self, number: int) -> float:
        """When a frame is shown, from the start of the clip."""
        passed = self.stamps[number] - self.stamps[0]
        return float(passed * self.base if self.timed else passed / self.rate)

    def frame(self, number: int) -> Image.Image:
        """Frame `number`, from 0, as upright RGB; asking in order decodes each once. BadInput if it is damaged."""
        if not self.next <= number < self.next + AHEAD:
            self.decoder = self._decoded(number)
        for at, frame in self.decoder:
            self.next = at + 1
            if at == number:
                return _upright(frame)
            if at > number:
                break
        self.next = -AHEAD  # the decoder has passed what was wanted, or has ended
        raise BadInput(f"{self.path}: frame {number} of {self.count} (from 0) cannot be decoded: it is damaged")

    def _decoded(self, first):
        """(number, frame) of every frame that can be decoded, from the last key frame before `first` on."""
        with _opened(self.path) as container:
            stream, counted = container.streams.video[0], 0
            if first and self.timed:
                container.seek(self.stamps[first], stream=stream)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    frames = packet.decode() if packet is not None else ()
                except _av().error.DecoderNotFoundError as error:
                    raise BadInput(f"{self.path}: no decoder for it; {_remedy(self.path)}") from error
                except _av().FFmpegError:
                    continue  # its frames are missed by whoever wants them
                if packet is None:
                    return
                for frame in frames:
                    number = bisect.bisect_left(self.stamps, frame.pts) if self.timed else counted
                    counted += 1
                    if number < self.count and (not self.timed or self.stamps[number] == frame.pts):
                        yield number, frame


class Frame(NamedTuple):
    """One frame of a clip, a place to cut people out of; as a path it is the clip's."""

    clip: Clip
    number: int  # from 0

    def __fspath__(self) -> str:
        return self.clip.path

    def __str__(self) -> str:
        return f"{self.clip} frame {self.number}"


def _av():
    try:
        import av
    except ImportError:
        raise BadInput("clips need PyAV: pip install 'parlib[video]', or pip install av") from None
    return av


def _opened(path):
    if not os.path.isfile(path):
        raise BadInput(f"no clip {path}")
    try:
        container = _av().open(path)
    except _av().FFmpegError as error:
        raise BadInput(f"{path} is no clip that can be read ({error}); {_remedy(path)}") from error
    if not container.streams.video:
        raise BadInput(f"{path}: there is no video in it")
    return container


def _remedy(path):
    return f"write it anew: ffmpeg -i {os.path.basename(path)} -c:v libx264 new.mp4"


def _upright(frame):
    return frame.to_image().rotate(frame.rotation, expand=True) if frame.rotation else frame.to_image()
