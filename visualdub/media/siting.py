"""The chroma siting of a movie: what its pictures declare, and the default of the standard where none do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import av.filter
import av.logging

from visualdub.media.frame import ChromaSiting

_DECLARED = re.compile(r"\bpts_time:.* cl:(\w+)")
_log_level = threading.Lock()


def picture_siting(picture: av.VideoFrame, codec: str) -> ChromaSiting:
    """Siting of a decoded picture of `codec` (FFmpeg's name), in coded orientation."""
    return declared_siting(picture) or default_siting(codec)


def default_siting(codec: str) -> ChromaSiting:
    """What the standard of `codec` says of pictures that declare no siting: the middle for JPEG and MPEG-1,
    the left luma column for everything else.
    """
    return ChromaSiting.CENTRE if codec in ("mjpeg", "mpeg1video") else ChromaSiting.LEFT


def declared_siting(picture: av.VideoFrame) -> ChromaSiting | None:
    """The siting that container, bitstream or decoder put on a decoded picture; None where they put none.

    PyAV hands out neither `AVFrame.chroma_location` nor the codec context's; FFmpeg's filter "showinfo"
    writes it to the log for the picture that it is given.
    """
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base or Fraction(1, 1000),
    )
    show, sink = graph.add("showinfo", "checksum=0"), graph.add("buffersink")
    source.link_to(show)
    show.link_to(sink)
    graph.configure()
    with _logged(), av.logging.Capture() as lines:
        graph.vpush(picture)
        graph.vpull()
    found = _DECLARED.search("".join(text for _, _, text in lines))
    name = found.group(1) if found else ""
    return ChromaSiting(name) if name in set(ChromaSiting) else None


@contextmanager
def _logged() -> Iterator[None]:
    """FFmpeg's messages reach PyAV meanwhile. There is one level for the whole process: only one picture at a
    time is asked, and the level is put back at once.
    """
    with _log_level:
        before = av.logging.get_level()
        if before is None or before < av.logging.INFO:
            av.logging.set_level(av.logging.INFO)
        try:
            yield
        finally:
            if before is None or before < av.logging.INFO:
                av.logging.set_level(before)
