"""The light on the face: measured against the actor's texture, taken out for the network and put back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import portrait_pictures, write_mean_renderer, write_movie
from numpy.typing import NDArray
from render_scene import SIZE, affine, ellipse, frame, image_of, picture
from safetensors.numpy import save_file

from visualdub.actor.package import RENDERER, TEXTURE, Actor, load_actor, seal
from visualdub.dub import Output, TrackedShot, track_shot, write_performance
from visualdub.edit import plan_shot
from visualdub.errors import InternalError
from visualdub.face.track import Performance
from visualdub.media.transfer import HLG, PQ, transfer_function
from visualdub.media.yuv import planes_to_rgb
from visualdub.render.composite import Layer, composite_shot, feather
from visualdub.render.light import (
    FEWEST,
    ActorLight,
    LightReport,
    beyond_tolerance,
    light_ratio,
    relit,
)
from visualdub.render.match import border_light
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer
from visualdub.timing import FrameRange

CURVE = transfer_function(1)
LitShot = Callable[[NDArray[np.float32]], TrackedShot]
SKIN = np.array([0.7, 0.5, 0.4], np.float32)  # what the flat renderer paints, and its texture


def whole_texture() -> NDArray[np.float32]:
    """Skin-like colours (256, 256, 3) with a range of 1 to 3 in linear light."""
    colours: NDArray[np.float32] = picture(SIZE, SIZE)
    return colours


def straight_uv() -> NDArray[np.float32]:
    """Texture coordinates (256, 256, 2) that lay the texture over the crop, texel on pixel."""
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    return np.asarray(np.stack([x, y], -1), np.float32)


def codes(rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(rgb.clip(0, 1) * 255), np.uint8)


# ---- the ratio ---------------------------------------------------------------------------------------------


def test_a_ratio_of_lights_is_found_in_stops_whatever_a_third_of_the_places_shows() -> None:
    reference = CURVE.to_linear(whole_texture().reshape(-1, 3)[::7])
    plate = reference * np.exp2(np.array([-3, -1, 0.5], np.float32))
    assert light_ratio(plate, reference) == pytest.approx([-3, -1, 0.5], abs=1e-3)
    plate[::3] = 0.01  # hair
    assert light_ratio(plate, reference) == pytest.approx([-3, -1, 0.5], abs=0.1)


def test_what_is_clipped_at_white_says_little() -> None:
    reference = np.repeat(np.linspace(0.1, 0.5, 1000, dtype=np.float32)[:, None], 3, 1)
    plate = np.minimum(4 * reference, 1)  # 5 of 8 places are clipped
    assert light_ratio(plate, reference) == pytest.approx([2, 2, 2], abs=0.2)
    reference[:, 0] *= 3
    plate = np.minimum(4 * reference, 1)  # of red no place is seen below white; it is taken to be as bright
    assert light_ratio(plate, reference) == pytest.approx([2, 2, 2], abs=0.25)
    blown = np.ones_like(reference)  # nothing else is there: as bright as the plate shows
    assert 1.5 < light_ratio(blown, reference)[1] < 2.5


def test_a_black_plate_has_a_finite_light_and_shapes_are_checked() -> None:
    reference = np.full((100, 3), 0.2, np.float32)
    assert light_ratio(0 * reference, reference) == pytest.approx([-12] * 3)
    with pytest.raises(InternalError, match="expected \\(N, 3\\) twice"):
        light_ratio(reference[:0], reference[:0])


def test_small_differences_are_left_alone_and_no_step_lies_between() -> None:
    stops = np.array([0, 0.35, -0.35, 0.5, -0.5, 0.7, -2], np.float32)
    assert beyond_tolerance(stops, 0.35) == pytest.approx([0, 0, 0, 0.3, -0.3, 0.7, -2], abs=1e-6)
    fine = beyond_tolerance(np.linspace(-2, 2, 4001, dtype=np.float32), 0.35)
    assert np.diff(fine).max() < 0.0021 and (np.diff(fine) >= 0).all()


@pytest.mark.parametrize("transfer", [1, PQ, HLG])
def test_more_light_and_as_much_less_is_the_same_picture(transfer: int) -> None:
    curve, stops = transfer_function(transfer), np.array([1.0, -2.0, 0.3], np.float32)
    rgb = whole_texture()
    assert np.abs(relit(relit(rgb, stops, curve), -stops, curve) - rgb).max() < 2e-3
    one = relit(np.full((1, 3), 0.5, np.float32), np.array([0, -2.4, 0], np.float32), CURVE)
    assert one[0] == pytest.approx([0.5, 0.25, 0.5])  # BT.1886: 2.4 stops are half of the code value


# ---- a frame against the texture ---------------------------------------------------------------------------


def test_light_is_measured_around_the_mask_and_taken_out() -> None:
    texture, mask = whole_texture(), ellipse()
    stops = np.array([-2.0, -3.0, -1.5], np.float32)
    crop = codes(relit(texture, stops, CURVE))
    crop[mask > 0] = 255  # the mouth that was filmed
    light = ActorLight(texture, CURVE)
    measured = light.measure(crop, straight_uv(), mask)
    assert measured == pytest.approx(stops, abs=0.03)
    assert measured is not None
    back = light.normalised(crop, measured)
    assert np.abs(back / 255 - texture)[mask == 0].max() < 0.02
    assert back.max() == pytest.approx(1.5 * 255)  # headroom, not the white of a plate 8 times as bright


def test_light_is_not_measured_where_too_little_skin_shows() -> None:
    texture, mask = whole_texture(), ellipse()
    crop = codes(texture)
    assert ActorLight(texture, CURVE).measure(crop, np.full_like(straight_uv(), -1), mask) is None
    unknown = np.full_like(texture, np.nan)
    assert ActorLight(unknown, CURVE).measure(crop, straight_uv(), mask) is None
    unknown[60:100:2, 100 : 100 + 2 * FEWEST : 2] = texture[60:100:2, 100 : 100 + 2 * FEWEST : 2]
    assert ActorLight(unknown, CURVE).measure(crop, straight_uv(), mask) is not None


# ---- the compositor ----------------------------------------------------------------------------------------


def test_a_patch_in_another_light_is_brought_to_the_borders() -> None:
    patch, alpha = picture(SIZE, SIZE), feather(ellipse())
    stops = np.array([-4.0, -2.0, -3.0], np.float32)
    plate = relit(patch, stops, CURVE)
    plate[alpha >= 1] = 1.0  # the filmed mouth is not looked at
    assert border_light(plate, patch, alpha, CURVE) == pytest.approx(stops, abs=0.01)
    close = relit(patch, np.array([0.4, -0.4, 0.2], np.float32), CURVE)
    assert not border_light(close, patch, alpha, CURVE).any()
    assert not border_light(plate, patch, np.zeros_like(alpha), CURVE).any()


def test_lips_lose_their_contrast_with_the_light() -> None:
    """At an eighth of the light, codes of BT.1886 are 0.42 times as far apart; an offset would keep them."""
    patch = np.full((SIZE, SIZE, 3), SKIN, np.float32)
    patch[150:180, 100:156] = SKIN * 0.6
    stops = np.full(3, -3.0, np.float32)
    plate = frame(
        relit(np.full((300, 360, 3), SKIN, np.float32), stops, CURVE), image_of(360, 300, "gbrp10le")
    )
    layer = Layer(plate, patch, feather(ellipse()), affine(1.0, 180, 150))
    ((_, done),) = composite_shot([layer], with_grain=False)
    got = planes_to_rgb(done.frame.planes, plate.image)
    factor = 2 ** (-3 / 2.4)
    assert got[150 + 37, 180] == pytest.approx(SKIN * 0.6 * factor, abs=0.01)  # crop (128, 165), on the lips
    assert got[150 + 7, 180] == pytest.approx(SKIN * factor, abs=0.01)  # crop (128, 135), above them


# ---- a shot ------------------------------------------------------------------------------------------------


def with_texture(flat: Path, folder: Path, write: Callable[[Path], None] | None = None) -> Actor:
    """The flat actor with a texture of the skin that its renderer paints, `write` for another renderer."""
    path = Path(shutil.copytree(flat, folder / "skin.actor"))
    texture = np.full((1, 16, 64, 64), 0.4, np.float32)
    texture[0, :3] = SKIN[:, None, None]
    save_file({"texture": texture}, path / TEXTURE)
    if write is not None:
        write(path / RENDERER)
    seal(path)
    return load_actor(path)


@pytest.fixture(scope="module")
def portrait() -> list[NDArray[np.uint8]]:
    """The first frames of `talking`."""
    pictures: list[NDArray[np.uint8]] = portrait_pictures(10)
    return pictures


@pytest.fixture
def lit_shot(talking: Path, portrait: list[NDArray[np.uint8]], tmp_path: Path) -> LitShot:
    """A function that puts the talking portrait under `gain` (n, 3) of linear light, n up to 10, and returns
    the shot with the track of its own light.
    """

    def under(gain: NDArray[np.float32]) -> TrackedShot:
        pictures = [
            codes(relit(p.astype(np.float32) / 255, np.log2(g), CURVE))
            for p, g in zip(portrait, gain, strict=False)
        ]
        tracked = track_shot(plan_shot(talking, FrameRange(0, len(gain))))
        return replace(tracked, shot=plan_shot(write_movie(tmp_path / "lit.mkv", pictures)))

    return under


def frames_of(tracked: TrackedShot, actor: Actor, light: bool = True) -> list[RenderedFrame]:
    return list(renderer_of(tracked, actor, light).frames())


def renderer_of(tracked: TrackedShot, actor: Actor, light: bool = True) -> ShotRenderer:
    performance = Performance.of_track(tracked.track)
    options = RenderOptions(watermark=False, grain=False, light=light)
    return ShotRenderer(tracked.shot, actor, track=tracked.track, performance=performance, options=options)


def ring_codes(done: RenderedFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean codes of the plate's crop outside the mask's border, above its middle, and of the network's
    picture in its own light inside it.
    """
    plate, mask = done.inputs.plate, done.inputs.mask
    assert plate is not None and mask is not None and done.raw is not None
    grown = cv2.dilate(mask, np.ones((15, 15), np.uint8)) - mask
    grown[int(np.argwhere(mask > 0).mean(0)[0]) :] = 0
    return plate[grown > 0].mean(0), done.raw[mask > 0].mean(0) * 255


@pytest.mark.slow
def test_a_network_that_paints_one_light_is_brought_to_every_frames(
    lit_shot: LitShot, flat_actor: Path, tmp_path: Path
) -> None:
    fade = np.geomspace(1, 0.03, 8, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    fade[6:] = (0.3, 0.05, 0.02)  # a cut to a red gel
    tracked, actor = lit_shot(fade), with_texture(flat_actor, tmp_path)
    for light in (True, False):
        rings = [ring_codes(f) for f in frames_of(tracked, actor, light)]
        off = np.array([np.abs(np.log2(drawn / face)) for face, drawn in rings[2:]])
        assert (off.max() < 0.4) == light, (
            off
        )  # code values within a third; the painted skin is not the face's


@pytest.mark.slow
def test_the_report_names_the_frames_in_another_light(
    lit_shot: LitShot, flat_actor: Path, tmp_path: Path
) -> None:
    gain = np.ones((8, 3), np.float32)
    gain[4:] = 0.05
    tracked, actor = lit_shot(gain), with_texture(flat_actor, tmp_path)
    report = write_performance(
        tracked, Performance.of_track(tracked.track), actor, Output(tmp_path / "out.mkv")
    )
    (note,) = report.notes
    assert re.search(r"actor was adapted in: frames 4:8 up to [45]\.\d stops darker", note)
    assert json.loads((tmp_path / "out.mkv.report.json").read_text())["notes"] == [note]


@pytest.mark.slow
def test_a_network_is_shown_the_actors_light_and_its_picture_is_put_back(
    lit_shot: LitShot, flat_actor: Path, tmp_path: Path
) -> None:
    gain = np.full((5, 3), (0.1, 0.2, 0.4), np.float32)
    tracked = lit_shot(gain)
    done = frames_of(tracked, with_texture(flat_actor, tmp_path, write_mean_renderer))[2]
    plate, shown, mask = done.inputs.plate, done.inputs.crop, done.inputs.mask
    assert plate is not None and shown is not None and mask is not None and done.raw is not None
    assert shown.mean() > 1.4 * plate.mean() and done.inputs.light is not None
    assert np.abs(done.raw * 255 - plate)[mask > 0].mean() < 3  # the mean of five frames of a moving face


def test_in_the_actors_own_light_no_bit_changes(lit_shot: LitShot, flat_actor: Path, tmp_path: Path) -> None:
    """The texture's skin is brought to the portrait's, so that the light is that of the adaptation."""
    tracked = lit_shot(np.ones((5, 3), np.float32))
    actor = with_texture(flat_actor, tmp_path)
    first = frames_of(tracked, actor)[0]
    assert first.inputs.light is not None and actor.colours is not None
    own = relit(actor.colours, first.inputs.light, CURVE)
    actor.__dict__["colours"] = own
    with_light, without = frames_of(tracked, actor), frames_of(tracked, actor, light=False)
    for a, b in zip(with_light, without, strict=True):
        assert a.inputs.normalised is None and np.abs(a.inputs.light).max() < 0.2  # type: ignore[arg-type]
        assert all(np.array_equal(x, y) for x, y in zip(a.frame.planes, b.frame.planes, strict=True))


@pytest.mark.slow
def test_a_range_within_a_fade_is_the_whole_runs(lit_shot: LitShot, flat_actor: Path, tmp_path: Path) -> None:
    fade = np.geomspace(1, 0.03, 10, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    actor = with_texture(flat_actor, tmp_path, write_mean_renderer)
    renderer = renderer_of(lit_shot(fade), actor)
    whole = {f.frame.index: f for f in renderer.frames()}
    for wanted in (FrameRange(3, 4), FrameRange(9, 10)):
        for part in renderer.frames(wanted):
            same = whole[part.frame.index]
            assert all(
                np.array_equal(a, b) for a, b in zip(part.frame.planes, same.frame.planes, strict=True)
            )


def test_the_key_names_the_texture_that_the_light_is_measured_with(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    tracked, actor = track_shot(plan_shot(talking)), with_texture(flat_actor, tmp_path)
    keys = {renderer_of(tracked, a).key(0) for a in (actor, load_actor(flat_actor))}
    assert len(keys) == 2 and load_actor(flat_actor).colours is None


# ---- what is said of it ------------------------------------------------------------------------------------


def test_frames_in_another_light_are_named_with_how_far_it_is_away() -> None:
    report = LightReport()
    assert report.notes() == []
    for i in range(60):
        level = -2.4 if 10 <= i < 20 else -1.5 if 22 <= i < 25 else 0.5
        tint = 1.2 if i >= 50 else 0.0
        report.add(i, None if i == 5 else np.array([level + tint, level, level - tint], np.float32))
    assert report.notes() == [
        "the light is not the one that the actor was adapted in: frames 10:25 up to 2.4 stops darker; frames"
        " 50:60 up to 1.2 stops more red; look at them"
    ]
