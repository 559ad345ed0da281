"""HDTF as published: its lists, line for line, and a small video of two faces."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie

from training.data.discover import find_sources
from training.data.hdtf import Video, hdtf_lists, hdtf_sources, read_part
from training.data.packed import SUFFIX, Dataset, read_whole
from training.data.prepare import Settings, prepare_dataset, track_in_area
from training.data.sources import FaceArea
from visualdub.errors import BadInput, NoFace
from visualdub.timing import FrameRange

# Lines of the published lists, their trailing blanks and their gaps included.
PUBLISHED = {
    "RD_annotion_time.txt": "Radio11.mp4 00:30-01:00 01:30-02:30\nRadio15.mp4 00:35-00:45\n",
    "RD_crop_wh.txt": "Radio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 0 478\n",
    "RD_resolution.txt": "Radio11.mp4 720\nRadio15.mp4 720\n",
    "RD_video_url.txt": (
        "Radio11 https://www.youtube.com/watch?v=XtySvTwIOfw\n"
        "Radio24 https://www.youtube.com/watch?v=cU0JPT3n9B4\n"
    ),
    "WDA_annotion_time.txt": (
        "JamesClyburn1.mp4 00:05-04:40\nNancyPelosi0.mp4 00:05-06:55\nNancyPelosi1.mp4 00:05-01:00\n"
        "WhipJimClyburn.mp4 00:05-04:40"
    ),
    "WDA_crop_wh.txt": (
        "JamesClyburn1_0.mp4 575 808 0 808\nNancyPelosi0_0.mp4 517 766 0 766\nNancyPelosi1_0.mp4 615 733 19"
        " 733\nWhipJimClyburn_0.mp4 583 791 0 791\n"
    ),
    "WDA_resolution.txt": (
        "JamesClyburn1.mp4 1080\nNancyPelosi0.mp4 1080\nNancyPelosi1.mp4 1080\nWhipJimClyburn.mp4 1080\n"
    ),
    "WDA_video_url.txt": (
        "NancyPelosi0 https://www.youtube.com/watch?v=Dtd5jhCLoAk\n"
        "WhipJimClyburn https://www.youtube.com/watch?v=gh3YqnvNdio\n"
        "JamesClyburn1 https://www.youtube.com/watch?v=gh3YqnvNdio&t=5s"
    ),
    "WRA_annotion_time.txt": (
        "KevinMcCarthy1.mp4 00:22-00:45 01:05-01:20 \nMittRomney.mp4 08:10-08:30 00:33-08:53\n"
    ),
    "WRA_crop_wh.txt": (
        "KevinMcCarthy1_0.mp4 412 465 0 465\nKevinMcCarthy1_1.mp4 421 459 14 459\n"
        "MittRomney_0.mp4 614 964 0 964\n"
    ),
    "WRA_resolution.txt": "KevinMcCarthy1.mp4 0\nMittRomney.mp4 1080\n",
}


def _write(folder: Path, lists: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / name).write_text(text)
    return folder


def test_published_lines_are_read(tmp_path: Path) -> None:
    folder = _write(tmp_path, PUBLISHED)
    assert read_part(folder / "RD_annotion_time.txt") == [
        Video(
            "RD",
            "Radio11",
            ((30, 60), (90, 150)),
            {0: (412, 599, 0, 599), 1: (557, 478, 0, 478)},
            720,
            "XtySvTwIOfw",
        ),
        Video("RD", "Radio15", ((35, 45),), {}, 720, ""),
        Video("RD", "Radio24", (), {}, None, "cU0JPT3n9B4"),
    ]
    assert read_part(folder / "WRA_annotion_time.txt")[0] == Video(
        "WRA",
        "KevinMcCarthy1",
        ((22, 45), (65, 80)),
        {0: (412, 465, 0, 465), 1: (421, 459, 14, 459)},
        None,
        "",
    )


def test_every_excerpt_is_a_clip_of_its_person_or_says_why_not(tmp_path: Path) -> None:
    _write(tmp_path / "HDTF_dataset", PUBLISHED)
    for name in (
        "Radio11.mp4",
        "WDA_NancyPelosi0.webm",
        "NancyPelosi1.mp4",
        "WhipJimClyburn.mp4",
        "JamesClyburn1.mp4",
        "MittRomney.mp4",
        "Radio11_0.mp4",
    ):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).touch()
    found = {s.label: s for s in find_sources([tmp_path])}
    usable = {s.name: (s.speaker, s.seconds, s.area) for s in found.values() if not s.refused}
    assert usable == {
        "Radio11_0": ("Radio11", (30, 60), FaceArea(412, 0, 599, 599, 720)),
        "Radio11_1": ("Radio11", (90, 150), FaceArea(557, 0, 478, 478, 720)),
        "NancyPelosi0_0": ("NancyPelosi", (5, 415), FaceArea(517, 0, 766, 766, 1080)),
        "NancyPelosi1_0": ("NancyPelosi", (5, 60), FaceArea(615, 19, 733, 733, 1080)),
        "JamesClyburn1_0": ("JamesClyburn", (5, 280), FaceArea(575, 0, 808, 808, 1080)),
        "WhipJimClyburn_0": (
            "JamesClyburn",
            (5, 280),
            FaceArea(583, 0, 791, 791, 1080),
        ),  # the same video under two names
        "MittRomney_0": ("MittRomney", (490, 510), FaceArea(614, 0, 964, 964, 1080)),
    }
    assert {s.label: s.refused for s in found.values() if s.refused} == {
        "Radio15_0 (00:35-00:45)": "no video Radio15 is in the folder",
        "Radio24": "the list of times names no excerpt of this video",
        "KevinMcCarthy1_0 (00:22-00:45)": "no video KevinMcCarthy1 is in the folder",
        "KevinMcCarthy1_1 (01:05-01:20)": "no video KevinMcCarthy1 is in the folder",
        "MittRomney_1 (00:33-08:53)": "the list of crops has no face for this excerpt",
        "videos/Radio11_0.mp4": "no list of times names this file",
    }
    assert found["NancyPelosi0_0 (00:05-06:55)"].path.name == "WDA_NancyPelosi0.webm"
    assert len({s.name for s in found.values()}) == len(found)


def test_areas_follow_the_size_of_the_video() -> None:
    assert FaceArea(400, 30, 600, 600, 720).in_picture(1080) == (600, 45, 1500, 945)
    assert FaceArea(400, 30, 600, 600, None).in_picture(1080) == (400, 30, 1000, 630)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("RD_annotion_time.txt", "Radio11.mp4 00:30-1min\n", "'00:30-1min' is not an excerpt"),
        ("RD_annotion_time.txt", "Radio11.mp4 00:75-01:80\n", "is not an excerpt"),
        (
            "RD_crop_wh.txt",
            "Radio11_0.mp4 412 599 0\n",
            "'412 599 0' follows a name; expected 4 whole numbers",
        ),
        ("RD_crop_wh.txt", "Radio11_0.mp4 412 599 -3 599\n", "expected 4 whole numbers"),
        ("RD_resolution.txt", "Radio11.mp4 HD\n", "expected 1 whole number$"),
        ("RD_crop_wh.txt", None, "cannot be read"),
    ],
)
def test_lists_of_another_form_name_themselves(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    lists = {k: v for k, v in PUBLISHED.items() if k.startswith("RD_") and k != name} | (
        {name: text} if text else {}
    )
    folder = _write(tmp_path, lists)
    with pytest.raises(BadInput, match=said) as e:
        list(hdtf_sources(folder, hdtf_lists(folder)))
    assert name in str(e.value)


# ---- a video of two faces ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as HDTF: 3 seconds at 25 frames/s; the larger face left, 320 x 376, and a smaller one right,
    200 x 236.
    """
    folder = tmp_path_factory.mktemp("hdtf")
    pictures = []
    for large, small in zip(portrait_pictures(38), portrait_pictures(38, 236), strict=True):
        picture = np.full((376, 560, 3), 128, np.uint8)
        picture[:, :320] = large
        picture[70:306, 560 - small.shape[1] :] = small
        pictures.append(picture)
    write_movie(folder / "TwoFaces0.mkv", (pictures * 2)[:75])
    return _write(
        folder,
        {
            "WDA_annotion_time.txt": (
                "TwoFaces0.mp4 00:01-00:03 00:00-00:02 00:02-00:09\nAbsent.mp4 00:05-00:09\n"
            ),
            "WDA_crop_wh.txt": (
                "TwoFaces0_0.mp4 720 400 140 480\nTwoFaces0_1.mp4 0 640 0 752\nTwoFaces0_2.mp4 0 640 0 752\n"
                "Absent_0.mp4 0 10 0 10\n"
            ),
            "WDA_resolution.txt": "TwoFaces0.mp4 752\n",
        },
    )  # the crops were measured in a picture twice as high


@pytest.mark.slow
def test_an_excerpt_is_packed_with_the_face_in_its_crop(pair: Path, tmp_path: Path) -> None:
    made = prepare_dataset([pair], tmp_path / "set", Settings(frames=60))
    assert [(c.name, c.speaker, c.frames) for c in made.clips] == [
        ("TwoFaces0_0", "TwoFaces", 30),
        ("TwoFaces0_1", "TwoFaces", 30),
    ]
    assert {r.clip: r.reason for r in made.refused} == {
        "Absent_0 (00:05-00:09)": "no video Absent is in the folder",
        "TwoFaces0_2 (00:02-00:09)": (
            "the excerpt ends at 9 s, the video after 3.0 s; it is not the video that was annotated"
        ),
    }
    small, large = (Dataset(tmp_path / "set").open(c, (0, 256, 0, 256)).track for c in made.clips)
    assert small.translation[:, 0].min() > 360 and large.translation[:, 0].max() < 320  # right, left
    assert small.rate == Fraction(25)
    meta, _ = read_whole(tmp_path / "set" / f"TwoFaces0_0{SUFFIX}")
    assert json.loads(meta["recipe"])["tracked"] == "25:55"  # from 1 s on, no more than is packed


@pytest.mark.slow
def test_a_crop_without_a_face_is_refused(pair: Path) -> None:
    with pytest.raises(
        NoFace, match="no face in frames 0:25 has its centre in the published crop, x 320 to 340, y 0 to 20"
    ):
        track_in_area(pair / "TwoFaces0.mkv", FrameRange(0, 25), FaceArea(320, 0, 20, 20, None), 376)
