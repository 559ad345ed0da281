"""One clip through the whole pipeline, with a renderer simple enough to know where it drew."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import planes_of, portrait_pictures, write_flat_actor, write_movie, write_wav

from visualdub import dub
from visualdub.actor import load_actor
from visualdub.actor.library import withdraw
from visualdub.cli import run
from visualdub.dub import Output
from visualdub.edit import plan_shot
from visualdub.errors import ActorError
from visualdub.face import tracker as tracking
from visualdub.face.tracker import cached_track
from visualdub.media.source import open_source, probe
from visualdub.records import NO_FACE, read_provenance
from visualdub.render.watermark import WatermarkReader, payload_from_text
from visualdub.timing import FrameRange


def sampled(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A full-size mask at a plane's size: True where any of the pixels of a sample is."""
    sy, sx = mask.shape[0] // shape[0], mask.shape[1] // shape[1]
    return mask.reshape(shape[0], sy, shape[1], sx).any((1, 3))


@pytest.fixture(scope="module")
def dubbed(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip dubbed to FFV1 with a matte, by the command line."""
    folder = tmp_path_factory.mktemp("dubbed")
    wav = write_wav(folder / "new.wav", 1.2)
    args = [
        "dub",
        str(talking),
        "--dialogue",
        str(wav),
        "--actor",
        str(flat_actor),
        "-o",
        str(folder / "out.mkv"),
        "--matte",
        str(folder / "matte.mkv"),
        "--profile",
    ]
    assert run(args) == 0
    return folder


def test_frames_rate_and_size_are_the_sources(talking: Path, dubbed: Path) -> None:
    source, out = probe(talking), probe(dubbed / "out.mkv")
    assert (out.frame_count, out.rate, out.image) == (40, Fraction(25), source.image)
    assert out.image.pix_fmt == "yuv420p"
    assert out.has_audio and probe(dubbed / "matte.mkv").frame_count == 40


def test_every_sample_outside_the_matte_is_the_sources_own(talking: Path, dubbed: Path) -> None:
    source, out, matte = planes_of(talking), planes_of(dubbed / "out.mkv"), planes_of(dubbed / "matte.mkv")
    changed = 0
    for a, b, (m, *_) in zip(source, out, matte, strict=True):
        for x, y in zip(a, b, strict=True):
            outside = ~sampled(m > 0, x.shape)
            np.testing.assert_array_equal(x[outside], y[outside])
            changed += int((x != y).sum())
    assert changed > 40 * 1000  # and inside it, something was drawn


def test_flat_skin_is_where_the_mouth_was(dubbed: Path) -> None:
    """The renderer paints (0.7, 0.5, 0.4): colour is matched to the plate, but no lip, tooth or dark gap is
    left.
    """
    out, matte = planes_of(dubbed / "out.mkv"), planes_of(dubbed / "matte.mkv")
    luma, drawn = out[12][0].astype(int), matte[12][0] == 255
    assert drawn.sum() > 2000
    assert luma[drawn].std() < 12


def test_report_and_provenance_say_what_was_done(talking: Path, dubbed: Path) -> None:
    report = json.loads((dubbed / "out.mkv.report.json").read_text())
    assert report["frames"] == 40 and report["drawn"] == 40 and report["passed"] == []
    assert set(report["stages"]) == {
        "speech",
        "occluders",
        "decode",
        "prepare",
        "render",
        "segment",
        "composite",
        "encode",
    }
    record = read_provenance(dubbed / "out.mkv")
    assert record.synthetic and record.actor == "flat" and record.consent["who"] == "the test suite"
    assert record.source == talking.name and record.dialogue == "new.wav" and record.frames == "0:40"


@pytest.mark.slow
def test_the_watermark_reads_back_from_ffv1(flat_actor: Path, tmp_path: Path) -> None:
    """Bits lie in blocks of the frame's grid: a small mask has none for a few of them, as their certainty
    says.
    """
    clip = write_movie(tmp_path / "large.mkv", portrait_pictures(24, height=600))
    out = Output(tmp_path / "out.mkv", matte=tmp_path / "matte.mkv")
    dub.dub_shot(
        dub.track_shot(plan_shot(clip)), write_wav(tmp_path / "new.wav", 0.8), load_actor(flat_actor), out
    )
    reader = WatermarkReader()
    for frame, matte in zip(
        open_source(out.path).frames(), open_source(tmp_path / "matte.mkv").frames(), strict=True
    ):
        reader.add(np.asarray(frame.planes[0]), matte=np.asarray(matte.planes[0], np.uint8))
    payload = read_provenance(out.path).watermark.payload
    assert payload is not None
    certain = reader.certainty > 4
    assert certain.sum() >= 28
    assert (reader.bits == payload_from_text(payload))[certain].all()


@pytest.mark.slow
def test_no_watermark_leaves_none_and_says_so(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "new.wav", 1.2)
    shot = dub.track_shot(plan_shot(talking, FrameRange(0, 8)))
    dub.dub_shot(shot, wav, load_actor(flat_actor), Output(tmp_path / "out.mkv", watermark=False))
    assert read_provenance(tmp_path / "out.mkv").watermark.on is False


@pytest.mark.slow
def test_a_second_language_does_no_tracking(
    talking: Path, flat_actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dub.track_shot(plan_shot(talking))

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the clip was tracked again")

    monkeypatch.setattr("visualdub.face.tracker.track_clip", forbidden)
    shot = dub.track_shot(plan_shot(talking))
    assert shot.from_cache
    wavs = [write_wav(tmp_path / f"{name}.wav", 1.0) for name in ("fr", "ja")]
    dialogues = [x for w in wavs for x in ("--dialogue", str(w))]
    assert (
        run(
            [
                "dub",
                str(talking),
                *dialogues,
                "--actor",
                str(flat_actor),
                "--only",
                "0:3",
                "-o",
                str(tmp_path / "out.mp4"),
            ]
        )
        == 0
    )
    assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["out-fr.mp4", "out-ja.mp4"]
    assert [probe(tmp_path / f"out-{n}.mp4").frame_count for n in ("fr", "ja")] == [40, 40]


@pytest.mark.slow
def test_a_changed_clip_is_tracked_anew(talking: Path, tmp_path: Path) -> None:
    first, _ = tracking.cached_track(talking)
    other = write_movie(tmp_path / talking.name, portrait_pictures(12)[::-1])  # as no other test's
    second, from_cache = tracking.cached_track(other)
    assert not from_cache and len(second) == 12 and len(first) == 40


@pytest.mark.slow
@pytest.mark.parametrize("blank", [(0, 12), (14, 26), (28, 40)], ids=["start", "middle", "end"])
def test_frames_without_a_face_keep_their_place_and_pixels(blank: tuple[int, int], tmp_path: Path) -> None:
    pictures = portrait_pictures(40)
    for i in range(*blank):
        pictures[i] = np.full_like(pictures[i], 90)
    clip = write_movie(tmp_path / "holes.mkv", pictures)
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(clip)[0])
    wav = write_wav(tmp_path / "new.wav", 1.6)
    assert (
        run(
            ["dub", str(clip), "--dialogue", str(wav), "--actor", str(actor), "-o", str(tmp_path / "out.mkv")]
        )
        == 0
    )
    source, out = planes_of(clip), planes_of(tmp_path / "out.mkv")
    assert len(out) == 40
    for i in range(*blank):
        for x, y in zip(source[i], out[i], strict=True):
            np.testing.assert_array_equal(x, y)
    report = json.loads((tmp_path / "out.mkv.report.json").read_text())
    lost = [FrameRange.parse(p["frames"]) for p in report["passed"] if p["reason"] == NO_FACE]
    assert set(range(*blank)) <= {i for r in lost for i in r}
    assert report["drawn"] >= 20
    clear = (blank[1] + 6) if blank[0] == 0 else blank[0] - 8
    assert (source[clear][0] != out[clear][0]).any()


@pytest.mark.slow
def test_reenact_writes_the_asked_frames_with_their_own_sound(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again.mkv"
    args = [
        "reenact",
        str(talking),
        "--actor",
        str(flat_actor),
        "--frames",
        "10:30",
        "-o",
        str(out),
        "--performance-from",
        "0:10",
    ]
    assert run(args) == 0
    assert probe(out).frame_count == 20 and probe(out).has_audio
    source = planes_of(talking)[10:30]
    np.testing.assert_array_equal(
        source[0][0][:40], planes_of(out)[0][0][:40]
    )  # well above the face: the very frame


@pytest.mark.slow
def test_evaluate_gives_every_measure(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    path = tmp_path / "measures.json"
    assert (
        run(["evaluate", str(talking), "--actor", str(flat_actor), "--frames", "20:40", "--json", str(path)])
        == 0
    )
    table = json.loads(path.read_text())
    assert table["reenactment"]["frames"] == 20 and table["driven"]["by"] == "0:20"
    assert 0.05 < table["reenactment"]["mask_share"] < 0.6
    assert {"psnr_crop", "psnr_mask", "psnr_source_box", "ssim_crop", "sharpness", "flicker", "seam"} <= set(
        table["reenactment"]["composite"]
    )
    assert table["reenactment"]["raw"]["psnr_mask"] < 30  # flat skin is not a mouth
    assert table["adapted_on"] == ["0:5"] and table["unseen"] is False


@pytest.mark.slow
def test_nothing_is_drawn_once_consent_is_withdrawn(
    talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(talking)[0])
    withdraw(actor, "2026-02-03")
    wav = write_wav(tmp_path / "new.wav", 1.0)
    assert (
        run(
            [
                "dub",
                str(talking),
                "--dialogue",
                str(wav),
                "--actor",
                str(actor),
                "-o",
                str(tmp_path / "out.mkv"),
            ]
        )
        == 2
    )
    assert "withdrew consent on 2026-02-03" in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()
    with pytest.raises(ActorError):
        load_actor(actor)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid_brbk7n.mpg", "studio_a.mp4", "portrait_1080x1920_a.mp4"])
def test_real_clips_keep_their_frames(name: str, clips: Path, tmp_path: Path) -> None:
    shot = dub.track_shot(plan_shot(clips / name, FrameRange(0, 12)))
    actor = load_actor(write_flat_actor(tmp_path / "flat.actor", shot.track))
    dub.dub_shot(shot, write_wav(tmp_path / "new.wav", 2.0), actor, Output(tmp_path / "out.mkv"))
    source, out = probe(clips / name), probe(tmp_path / "out.mkv")
    assert (out.frame_count, out.rate, out.image) == (12, source.rate, source.image)
    first = next(iter(open_source(clips / name).frames()))
    np.testing.assert_array_equal(np.asarray(first.planes[0])[:8], planes_of(tmp_path / "out.mkv")[0][0][:8])


@pytest.mark.slow
def test_dub_prints_json_alone_on_stdout(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = write_wav(tmp_path / "long.wav", 3.0)
    capsys.readouterr()
    args = [
        "dub",
        str(talking),
        "--dialogue",
        str(wav),
        "--actor",
        str(flat_actor),
        "-o",
        str(tmp_path / "out.mp4"),
        "--only",
        "0:3",
        "--json",
    ]
    assert run(args) == 0
    (report,) = json.loads(capsys.readouterr().out)["outputs"]
    assert report["frames"] == 40 and report["notes"] == [
        "no speech is heard in long.wav; the mouth rests",  # it is a tone
        "long.wav is 1.40 s longer than the clip; its end is not heard",
    ]
    assert probe(tmp_path / "out.mp4").frame_count == 40
