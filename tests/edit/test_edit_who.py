"""Who speaks where nobody says so: by the faces in a shot, and by the sound that it was filmed with."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, rgb_of, write_flat_actor, write_movie
from numpy.typing import NDArray
from otio_text import clip, media, timeline, track, write
from PIL import Image
from scipy.io import wavfile

from visualdub.cli import run
from visualdub.demo.run import ENGLISH, FRENCH, counting_motion
from visualdub.edit.cast import Cast, Role, read_cast
from visualdub.edit.dialogue import sound_lines, track_lines
from visualdub.edit.media import MediaFinder
from visualdub.edit.plan import DUB, KEEP, EditPlan, PlannedShot, PlanOptions, Speaking, plan_edit
from visualdub.edit.reading import read_edit
from visualdub.edit.shot import plan_shot
from visualdub.edit.who import Enrolled, People, Sound, Unclear, decide, looks_of, original_sounds
from visualdub.errors import BadInput, NoFace
from visualdub.face.crop import stable_crop, warp_crop
from visualdub.face.tracker import cached_track
from visualdub.timing import FrameRange

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")

COUNT, RATE = 75, 25.0
Pictures = list[NDArray[np.uint8]]


def sound(path: Path, recording: Path, faster: float = 1.0) -> Path:
    """The start of a recording, as long as the pictures, played faster."""
    rate, samples = wavfile.read(recording)
    places = np.arange(round(COUNT / RATE * rate)) * faster
    wavfile.write(path, rate, np.interp(places, np.arange(len(samples)), samples).astype(samples.dtype))
    return path


def wide(left: Pictures, right: Pictures) -> Pictures:
    return [np.ascontiguousarray(np.hstack([a, b])) for a, b in zip(left, right, strict=True)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: `anna.actor` and `ben.actor`, whose colours are other; `both.mkv`, in which Anna speaks and
    Ben listens; `listen.mkv`, the same with another sound; `mute.mkv`, Anna alone without any.
    """
    folder = tmp_path_factory.mktemp("who")
    anna = portrait_pictures(COUNT, 240, counting_motion(ENGLISH, Fraction(25), COUNT))
    ben = [np.ascontiguousarray(anna[0][..., ::-1])] * COUNT
    words, others = sound(folder / "own.wav", ENGLISH), sound(folder / "other.wav", FRENCH, 1.4)
    write_movie(folder / "both.mkv", wide(anna, ben), audio=words)
    write_movie(folder / "listen.mkv", wide(anna, ben), audio=others)
    write_movie(folder / "mute.mkv", anna)
    actors = folder / "actors"
    actors.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(folder / "cache"))
        for name, pictures in (("anna", anna), ("ben", ben)):
            Image.fromarray(pictures[0]).save(folder / f"{name}.png")
            movie = write_movie(folder / f"{name}.mkv", pictures[:6])
            seen = cached_track(movie)[0]
            crop = warp_crop(pictures[0], stable_crop(seen).affine[0])
            write_flat_actor(actors / f"{name}.actor", seen, references=crop[None])
    return folder


@pytest.fixture(autouse=True)
def scenes_cache(scene: Path, own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracks of the scene are made once."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(scene / "cache"))


def people(scene: Path, movie: str) -> People:
    return People(plan_shot(scene / movie))


def who(scene: Path, movie: str, *actors: str) -> str:
    """Who speaks in a movie, of the actors of these names, or why it is not clear."""
    enrolled = Enrolled(scene / "actors")
    candidates = [c for c in enrolled.candidates(Role(None)) if c.name in actors]
    try:
        candidate, why = people(scene, movie).speaker(candidates)
    except Unclear as e:
        return str(e)
    assert candidate.role.actor == str(scene / "actors" / f"{candidate.name}.actor")
    return f"{candidate.name}: {why}"


@pytest.mark.slow
def test_the_face_whose_mouth_fits_the_original_sound_speaks(scene: Path) -> None:
    assert who(scene, "both.mkv", "anna", "ben").startswith("anna: the mouth fits the original sound")
    assert "nobody's mouth fits its original sound" in who(scene, "listen.mkv", "anna", "ben")
    speaker = people(scene, "both.mkv").number_of_speaker()[0]
    said = who(scene, "both.mkv", "ben")
    assert said.startswith(f"person {speaker} speaks in it, who is none of the actors (ben is seen)")


def test_a_face_alone_speaks_where_the_sound_cannot_tell(scene: Path) -> None:
    said = who(scene, "mute.mkv", "anna", "ben")
    assert said == "anna: nobody else is seen, and the original sound cannot tell (it has no sound)"


def test_nobody_who_is_not_alike_is_ever_taken(scene: Path) -> None:
    said = who(scene, "mute.mkv", "ben")
    assert said.startswith("the people in it are none of the actors: the most alike is ben with ")
    assert "in another light or year --cast says who speaks" in said


def test_whoever_speaks_and_is_no_actor_is_drafted(scene: Path) -> None:
    """Where drafts are wanted; who is an actor is not, and nobody is drafted for a named actor's words."""
    enrolled = Enrolled(scene / "actors", drafts=True)
    unknown = enrolled.to_draft([Speaking(Role("x"), ()), Speaking(Role(None, dialogue="A"), ())])
    assert unknown == Role(None, dialogue="A")
    assert enrolled.to_draft([Speaking(Role("x"), ())]) is None
    assert Enrolled(scene / "actors").to_draft([Speaking(Role(None), ())]) is None
    anna, ben = (next(c for c in enrolled.candidates(Role(None)) if c.name == n) for n in ("anna", "ben"))
    alone = people(scene, "mute.mkv")
    drafted = alone.speaker([ben], unknown)[0]
    assert (drafted.name, drafted.role) == ("person 0", unknown)
    assert alone.speaker([], unknown)[0].role == unknown
    assert alone.speaker([anna, ben], unknown)[0] == anna
    named = Role(None, person="100,100")
    assert alone.speaker([], named)[0].role == named
    with pytest.raises(BadInput, match="7"):
        alone.speaker([], Role(None, person="7"))


@pytest.mark.slow
def test_of_two_people_the_one_who_speaks_is_drafted(scene: Path) -> None:
    """By the sound that the shot was filmed with; where nobody's mouth fits it, nobody is."""
    both = people(scene, "both.mkv")
    number = both.number_of_speaker()[0]
    drafted = both.speaker([], Role(None))[0].role
    face = cached_track(scene / "both.mkv", face=drafted.person)[0]
    assert drafted.actor is None and face.person == number
    with pytest.raises(Unclear, match="nobody's mouth fits"):
        people(scene, "listen.mkv").speaker([], Role(None))


def test_a_face_that_is_like_two_actors_is_refused(scene: Path) -> None:
    twin = scene / "actors" / "anna_older.actor"
    twin.symlink_to(scene / "actors" / "anna.actor")
    try:
        said = who(scene, "mute.mkv", "anna", "anna_older", "ben")
    finally:
        twin.unlink()
    assert said.startswith("a face in it is like anna (") and "--cast says who speaks" in said


def test_a_picture_says_who_is_whom(scene: Path, tmp_path: Path) -> None:
    cast = tmp_path / "cast.toml"
    for name in ("anna", "ben"):
        (tmp_path / f"{name}.png").write_bytes((scene / f"{name}.png").read_bytes())
    cast.write_text(
        f'[[cast]]\nperson = "ben.png"\nactor = "{scene}/actors/anna.actor"\n'
        f'[[cast]]\nperson = "anna.png"\nactor = "{scene}/actors/ben.actor"\n'
    )
    (shot,) = planned(scene, tmp_path, read_cast(cast)).shots
    (speaking,) = shot.speaking
    assert speaking.role.actor == f"{scene}/actors/ben.actor", "whom the cast file has play Anna"
    assert speaking.role.looks == tmp_path / "anna.png" and shot.action == DUB
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(NoFace, match=r"black\.png: no face"):
        looks_of(tmp_path / "black.png")
    with pytest.raises(BadInput, match=r"both\.mkv shows 2 people; expected one"):
        looks_of(scene / "both.mkv")
    for text, said in (
        ('[[cast]]\nperson = "carl.png"\nactor = "x"', "the person 'carl.png'; expected a number"),
        ('[[cast]]\nperson = "anna.png"', "shows a person and names no actor"),
    ):
        cast.write_text(text)
        with pytest.raises(BadInput, match=said):
            read_cast(cast)


@pytest.mark.slow
def test_the_sound_that_the_edit_plays_beside_a_mute_shot_tells_too(scene: Path, tmp_path: Path) -> None:
    """The camera recorded none; its sound lies on a track of its own, a little into the recording."""
    rate, words = wavfile.read(scene / "own.wav")
    late = np.concatenate([np.zeros(rate // 2, words.dtype), words])
    wavfile.write(tmp_path / "production.wav", rate, late)
    pictures = write_movie(tmp_path / "silent.mkv", rgb_of(scene / "both.mkv", FrameRange(0, COUNT)))
    shot = clip("silent", 10, 60, RATE, reference=media(str(pictures), 0, COUNT, RATE))
    production = clip("p", 22.5, 60, RATE, reference=media(str(tmp_path / "production.wav"), 0, 100, RATE))
    new = clip("n", 0, 60, RATE, reference=media(str(scene / "other.wav"), 0, COUNT, RATE))
    sounds = track(production, kind="Audio", name="prod"), track(new, kind="Audio", name="new")
    edit = read_edit(write(tmp_path / "a.otio", timeline(track(shot), *sounds)))
    enrolled, (lines, _) = Enrolled(scene / "actors"), track_lines(edit, "new")
    plan = plan_edit(edit, MediaFinder(edit.path), lines, PlanOptions(Cast(), undecided=True))
    (heard,) = original_sounds(plan.shots[0], edit, sound_lines(edit))
    assert heard == Sound(tmp_path / "production.wav", 0.5)
    (found,) = decide(plan, enrolled).shots
    assert roles(found) == [("anna", None)] and "fits the original sound" in found.notes[-1]


def planned(scene: Path, folder: Path, cast: Cast, names: tuple[str, ...] = ("new",)) -> EditPlan:
    """The plan of an edit that shows `both.mkv`, with a dialogue track for each of `names`."""
    words = [
        track(
            clip(n, 0, COUNT, RATE, reference=media(str(scene / "own.wav"), 0, COUNT, RATE)),
            kind="Audio",
            name=n,
        )
        for n in names
    ]
    for sounds in words:
        sounds["metadata"] = {"visualdub": {"role": "dub"}}
    picture = clip("both", 0, COUNT, RATE, reference=media(str(scene / "both.mkv"), 0, COUNT, RATE))
    edit = read_edit(write(folder / "a.otio", timeline(track(picture), *words)))
    enrolled = Enrolled(scene / "actors")
    lines, _ = track_lines(edit, "dub")
    options = PlanOptions(cast, known=enrolled.known, undecided=True)
    return decide(plan_edit(edit, MediaFinder(edit.path), lines, options), enrolled)


def roles(shot: PlannedShot) -> list[tuple[str, str | None]]:
    return [(Path(s.role.actor or "?").stem, s.role.dialogue) for s in shot.speaking]


@pytest.mark.slow
def test_a_plan_names_who_speaks_or_why_nobody_does(scene: Path, tmp_path: Path) -> None:
    (found,) = planned(scene, tmp_path, Cast()).shots
    assert roles(found) == [("anna", None)] and found.action == DUB
    assert found.notes[-1].startswith("anna speaks: the mouth fits the original sound")
    (named,) = planned(scene, tmp_path, Cast(), ("Ben", "ANNA")).shots
    assert roles(named) == [("anna", "anna"), ("ben", "ben")]
    anna, ben = (str(scene / "actors" / f"{n}.actor") for n in ("anna", "ben"))
    (said,) = planned(scene, tmp_path, Cast(actor=ben)).shots
    assert roles(said) == [("ben", None)] and not any("speaks:" in n for n in said.notes)
    cast = tmp_path / "cast.toml"
    cast.write_text(f'[[cast]]\nactor = "{anna}"\n[[cast]]\nactor = "{ben}"\n')
    assert roles(planned(scene, tmp_path, read_cast(cast)).shots[0]) == [("anna", None)]
    cast.write_text('[[cast]]\nperson = "300,100"\n')
    assert roles(planned(scene, tmp_path, read_cast(cast)).shots[0]) == [("ben", None)]
    places = (anna, "300,100"), (ben, "100,100")  # the other way round: the cast is believed
    cast.write_text("".join(f'[[cast]]\nactor = "{a}"\nperson = "{p}"\n' for a, p in places))
    (turned,) = planned(scene, tmp_path, read_cast(cast)).shots
    assert roles(turned) == [("ben", None)] and turned.speaking[0].role.person == "100,100"
    cast.write_text('[[cast]]\nperson = "7"\n')
    (missing,) = planned(scene, tmp_path, read_cast(cast)).shots
    assert missing.action == KEEP and "7" in missing.reason


@pytest.mark.slow
def test_the_command_finds_the_actor_in_a_folder(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(scene, tmp_path, Cast())
    here = ["dub", str(tmp_path / "a.otio"), "--dialogue-track", "new", "--plan"]
    assert run([*here, "--actors", str(scene / "actors")]) == 0
    assert "anna speaks: the mouth fits" in capsys.readouterr().out
    assert run([*here, "--actors", str(tmp_path)]) == 0
    assert "1 clips: 0 dubbed, 1 left alone" in capsys.readouterr().out
