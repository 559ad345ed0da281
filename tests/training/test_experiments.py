"""The experiments' tables: made once, resumed, worked by hand, beside the paper's numbers."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from training.core.config import GeneratorConfig, adapt_config
from training.experiments import ablation, frames, speed
from training.experiments.study import (
    RUNS,
    RunRecord,
    Study,
    Variant,
    long_enough,
    measured_at,
    require_subjects,
    run_once,
)
from training.experiments.subjects import Row, Subject, append_rows, read_records, read_rows, subjects
from training.experiments.tables import (
    iterations_to,
    iterations_to_stay,
    markdown,
    mean_and_deviation,
    mean_of_all,
    times,
    value_at,
)
from training.prior_file import Prior, load_prior, save_prior
from training.renderer.discriminator import Discriminator
from training.renderer.generator import Generator
from visualdub.errors import BadInput
from visualdub.timing import FrameRange

TINY = GeneratorConfig(width=0.0625)
CURVE = [(0.0, 20.0), (10.0, 24.0), (30.0, 23.0), (50.0, 27.0)]


def person(clip: Path, learned: int = 12, name: str = "portrait") -> Subject:
    return Subject(name, clip, learned, FrameRange(35, 40))


def study(output: Path, name: str) -> Study:
    return Study(name, output, generator=TINY, command=f"python -m training.experiments.{name}")


def with_prior(output: Path, name: str) -> Study:
    """A study whose prior is a network that has learned nothing."""
    networks = Generator(TINY).state_dict(), Discriminator(TINY.window, 128, TINY.width / 2).state_dict()
    save_prior(output / "prior.safetensors", Prior(TINY, *networks))
    return replace(
        study(output, name),
        prior_file=output / "prior.safetensors",
        prior=load_prior(output / "prior.safetensors"),
    )


def rows_of(
    subject: str, variant: str, points: dict[int, float], learned: int = 100, seed: int = 0
) -> list[Row]:
    return [
        Row(subject, variant, learned, seed, step, step / 2, value, value - 6)
        for step, value in points.items()
    ]


# ---- by hand -----------------------------------------------------------------------------------------------


def test_iterations_are_read_off_between_measurements() -> None:
    assert iterations_to(CURVE, 22) == 5  # halfway from 20 to 24
    assert iterations_to(CURVE, 24) == 10
    assert iterations_to(CURVE, 26) == 45  # three quarters from 23 to 27
    assert iterations_to(CURVE, 20) == 0 and iterations_to(CURVE, 12) == 0  # it starts there
    assert iterations_to(CURVE, 27.01) is None
    assert iterations_to_stay(CURVE, 23.5) == 32.5  # it falls below once more; an eighth from 23 to 27
    assert iterations_to_stay(CURVE, 23) == 7.5 and iterations_to_stay(CURVE, 20) == 0
    assert iterations_to_stay(CURVE[:3], 23.5) is None
    assert value_at(CURVE, 40) == 25 and value_at(CURVE, 50) == 27 and value_at(CURVE, 51) is None


def test_means_say_how_many_they_are_of() -> None:
    assert mean_and_deviation([1, 3]) == "2.00 ± 1.41"  # sample standard deviation: the square root of 2
    assert mean_and_deviation([1, None, 3], 0) == "2 ± 1 (2 of 3)"
    assert mean_and_deviation([5.0]) == "5.00" and mean_and_deviation([None]) == "–"
    assert mean_of_all([1, 2]) == 1.5 and mean_of_all([1, None]) is None and mean_of_all([]) is None
    assert times(1000, 250) == "4.0x" and times(1000, 0) == "at once" and times(1000, None) == "–"
    assert markdown(["a", "b"], [[1, 2]]) == "| a | b |\n|---|---:|\n| 1 | 2 |\n"
    assert measured_at(200) == [0, 10, 20, 30, 40, 50, 75, 100, 150, 200] and measured_at(15) == [0, 10, 15]


def test_table_3_compares_the_prior_with_scratch_and_the_paper() -> None:
    rows = [
        *rows_of("ann", "scratch", {0: 20, 100: 24, 300: 26, 1000: 28}),
        *rows_of("ann", "prior", {0: 22, 50: 26, 100: 27}),
        *rows_of("ben", "scratch", {0: 20, 100: 22, 300: 25, 1000: 29}),
        *rows_of("ben", "prior", {0: 23, 50: 25, 100: 31}),
    ]
    lines = speed.reached_table(rows, ["ann", "ben"]).splitlines()
    assert lines[2] == "| 100 | 24.00, 25 (4.0x) | 22.00, 0 (at once) | 12 ± 18 | 8.0x |"  # 25 and 0: 12.5
    assert lines[3] == "| 300 | 26.00, 50 (6.0x) | 25.00, 50 (6.0x) | 50 ± 0 | 6.0x |"
    assert lines[4] == "| 1000 | 28.00, not reached | 29.00, 83 (12.0x) | 83 (1 of 2) | – |"
    assert len(lines) == 5  # nobody ran for 3000
    table = speed.threshold_table(rows, ["ann", "ben"])
    assert "| 26 | 3000 | 300 | 10.0x | 388 ± 124 | 54 ± 6 | 7.2x | 300 / 50 | 475 / 58 |" in table
    for slow, fast in ((2200, 200), (3000, 300), (6200, 300), (9800, 400), (18000, 700), (40000, 1600)):
        assert f"| {slow} | {fast} |" in table
    clock = speed.clock_table(rows, ["ann", "ben"], ["scratch", "prior"]).splitlines()
    assert clock[2] == "| 1 | 23.25 ± 1.34 | – |"  # step 120: 24.2, 22.3


def test_table_5_sets_few_frames_with_the_prior_against_many_without() -> None:
    rows = [
        *rows_of("ann", "scratch", {0: 20, 9: 24}, 25),
        *rows_of("ann", "scratch", {0: 20, 9: 26.5}, 250),
        *rows_of("ann", "prior", {0: 20, 9: 27}, 25),
    ]
    assert (
        frames.contest_table(rows, ["ann"])
        .splitlines()[2]
        .startswith("| ann | 25 | 250 | 27.00 | 26.50 | 0.50 |")
    )
    table = frames.frames_table(rows, ["ann"], ["scratch", "prior"], "psnr_crop")
    assert "| 250 | 12.33 | 11.88 | 26.50 | – | 26.50 / – |" in table and "| 1000 | 11.78 | 11.21 |" in table


def test_table_4_holds_the_papers_figures() -> None:
    rows = rows_of("ann", "anchor", {0: 20, 9: 29})
    table = ablation.variants_table(rows, ["ann"], ["anchor"])
    assert (
        "| 29.10 | 0.899 | 5.76 | – |" in table
        and "| 28.95 | 0.897 | 5.88 | 29.00 | 23.00 | 29.00 |" in table
    )
    measured = [
        ablation.Finished("ann", "full", 100, s, 9, ablation.PLAIN, 28.0 + s, 22, 0.9, 0.8, 1, math.nan)
        for s in (0, 1)
    ]
    text = ablation.finished_table(measured)
    assert (
        "| full, without post-processing | 28.20 | 0.888 | 5.28 | 28.50 | 22.00 | 0.900 | 0.800 | 1.00 | – |"
        in text
    )


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="subject 'zoe' is not known; expected some of hill"):
        subjects(tmp_path, ["zoe"])
    with pytest.raises(BadInput, match="variant 'best' is not known"):
        speed.variants(["best"], 5, 5, None)
    assert [v.config.random_texture for v in speed.variants(["scratch", "prior"], 5, 5, 3, random=True)] == [
        True
    ] * 3
    chosen, lines = ablation.variants(list(ablation.LABELS), 5, None)
    assert [v.name for v in chosen] == ["anchor", "free", "scratch"] and "--rehearsal" in lines[0]
    anchor = adapt_config(True, False, steps=5).anchor
    assert anchor > 0 and [(v.config.anchor, v.prior) for v in chosen] == [
        (anchor, True),
        (0.0, True),
        (0.0, False),
    ]
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="has the columns a,b; expected subject"):
        read_rows(tmp_path / "odd.csv")


# ---- on a clip ---------------------------------------------------------------------------------------------


def test_clips_that_are_too_short_are_reported(talking: Path) -> None:
    usable, lines = long_enough([person(talking), person(talking, 41, "long")])
    assert [s.name for s in usable] == ["portrait"]
    assert lines == ["long is left out: its clip has 40 frames, frames 0:41 and 35:40 are needed"]
    with pytest.raises(BadInput, match="no subject is left to measure; long is left out"):
        require_subjects([], lines)
    people, said = frames.fitting(person(talking), [10, 15, 16], tested=5)
    assert [(s.learned, s.tested) for s in people] == [(10, FrameRange(35, 40)), (15, FrameRange(35, 40))]
    assert "last 5 frames, 35:40" in said[0] and "16 frames" in said[1] and "at most 15" in said[1]
    assert frames.fitting(person(talking), [25])[0] == []  # not even the 50 that are tested


@pytest.mark.slow
def test_a_run_is_made_once_and_recorded(
    talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, subject = study(tmp_path, "speed"), person(talking)
    chosen = speed.variants(["scratch"], 2, 2, None)
    speed.run(mine, [subject], chosen, ["ben is left out"])
    rows = read_rows(mine.table)
    assert [r.step for r in rows] == [0, 2] and all(r.psnr_crop > r.psnr_mask > 5 for r in rows)
    run = read_records(RunRecord, tmp_path / RUNS)[0]
    assert (run.steps, run.seed, run.tested, run.width, run.prior) == (2, 0, "35:40", 0.0625, "none")
    assert run.machine and run.threads >= 1 and run.wall_seconds >= run.seconds > 0
    before = mine.table.read_bytes(), (tmp_path / RUNS).read_bytes()
    speed.run(mine, [subject], chosen)
    assert (mine.table.read_bytes(), (tmp_path / RUNS).read_bytes()) == before
    assert "done already" in capsys.readouterr().out
    with pytest.raises(BadInput, match="of 2 steps; expected 3"):
        run_once(mine, subject, speed.variants(["scratch"], 3, 3, None)[0], 0, [0, 3])
    page = (tmp_path / "speed.md").read_text()
    assert "40000 | 1600" in page and run.machine in page and "python -m training.experiments.speed" in page
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_frames_leave_page_and_plot(tmp_path: Path) -> None:
    mine = study(tmp_path, "frames")
    append_rows(
        mine.table,
        [*rows_of("ann", "scratch", {0: 20, 9: 24}, 25), *rows_of("ann", "prior", {0: 20, 9: 27}, 50)],
    )
    frames.write(mine, ["ann is tested on its last 50 frames, 150:200."])
    page = (tmp_path / "frames.md").read_text()
    assert "- ann is tested on its last 50 frames" in page and "17.71 | 11.37" in page
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_actor_is_finished_with_and_without_post_processing(talking: Path, tmp_path: Path) -> None:
    mine, subject = with_prior(tmp_path, "ablation"), person(talking)
    chosen = [Variant("anchor", adapt_config(True, False, steps=1), True)]
    ablation.run(mine, [subject], chosen, ["anchor"])
    ablation.run(mine, [subject], chosen, ["anchor"])  # nothing left to do
    finished = {f.output: f for f in read_records(ablation.Finished, tmp_path / ablation.FINISHED)}
    assert list(finished) == [ablation.RAW, ablation.COMPOSITE, ablation.PLAIN]
    assert all(f.psnr_crop > 10 and 0 < f.ssim_crop <= 1 and f.steps == 1 for f in finished.values())
    with (tmp_path / RUNS).open(newline="") as f:
        assert [line["prior"] for line in csv.DictReader(f)] == [mine.prior.hash[:12] if mine.prior else ""]
    page = (tmp_path / "ablation.md").read_text()
    assert "anchor, without post-processing | 28.20 | 0.888 | 5.28" in page
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")
