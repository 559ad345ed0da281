"""Finds the clips to pack: folders of clips and HDTF as published, in one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.data.hdtf import hdtf_lists, hdtf_sources
from training.data.sources import Source, folder_sources
from visualdub.errors import BadInput


def find_sources(folders: Sequence[Path]) -> list[Source]:
    """The clips of all folders, sorted by name, each once, every `name` unique.

    A folder with HDTF's lists is read as HDTF, any other as a folder of clips. Raises `BadInput` for a folder
    that is missing or holds no clip, and for a list that cannot be read.
    """
    by_content: dict[tuple[Path, tuple[int, int] | None], Source] = {}
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder; expected a folder of clips")
        lists = hdtf_lists(folder)
        sources = list(hdtf_sources(folder, lists) if lists else folder_sources(folder))
        if not sources:
            raise BadInput(f"{folder} holds no clips; expected files such as .mp4, .mov or .mkv")
        for source in sources:
            by_content.setdefault((source.path.resolve(), source.seconds), source)
    return _with_unique_names(sorted(by_content.values(), key=lambda s: (s.name, str(s.path))))


def _with_unique_names(sources: list[Source]) -> list[Source]:
    """The same sources; where two have one name (two suffixes, two folders), the later gets a number."""
    taken: set[str] = set()
    named = []
    for source in sources:
        name, number = source.name, 2
        while name.lower() in taken:  # some file systems do not tell capitals apart
            name, number = f"{source.name}-{number}", number + 1
        taken.add(name.lower())
        named.append(replace(source, name=name))
    return named
