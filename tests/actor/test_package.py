"""An actor package is written whole, read with suspicion, and gone when forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visualdub import storage as cache
from visualdub.actor import Actor, ActorRecord, Consent, SourceFrames, actor_folder, load_actor, write_package
from visualdub.actor.library import find_actor, forget, list_actors, withdraw
from visualdub.actor.record import load_record
from visualdub.errors import ActorError, BadInput, OutputError
from visualdub.speech.style import SpeechStyle

NETWORKS = ("renderer.onnx", "texture.safetensors", "renderer.safetensors")


def make_record(name: str = "ada") -> ActorRecord:
    return ActorRecord(
        name=name,
        consent=Consent("Ada Lovelace", "2026-01-31", "tests, and nothing else"),
        frames=(SourceFrames("ada.mp4", "feed", 10, 60),),
        steps=7,
        size="small",
        width=0.25,
        window=5,
        face_model="face468-1",
    )


def make_style() -> SpeechStyle:
    return SpeechStyle((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 4.5, "face468-1")


def make_actor(path: Path) -> Path:
    rng = np.random.default_rng(1)
    with actor_folder(path) as folder:
        write_package(
            folder,
            make_record(path.name.removesuffix(".actor")),
            rng.random((468, 3)),
            0.02,
            np.arange(4.0),
            rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8),
            make_style(),
        )
        for name in NETWORKS:
            (folder / name).write_bytes(name.encode())
    return path


def test_round_trip_keeps_every_number(tmp_path: Path) -> None:
    actor = load_actor(make_actor(tmp_path / "ada.actor"))
    rng = np.random.default_rng(1)
    assert isinstance(actor, Actor)
    np.testing.assert_array_equal(actor.identity, rng.random((468, 3)))
    assert actor.rest_jaw == 0.02
    np.testing.assert_array_equal(actor.rest_expression, [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(actor.references, rng.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8))
    assert actor.style == make_style()
    assert actor.record.consent.scope == "tests, and nothing else"
    assert actor.record.frames[0].frame_count == 50
    assert actor.renderer_path.read_bytes() == b"renderer.onnx"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ada.actor"]


def test_the_offset_of_each_clip_is_kept_and_records_from_before_are_read() -> None:
    frames = (SourceFrames("a.mp4", "feed", 0, 9, -67), SourceFrames("b.mp4", "beef", 0, 9))
    values = json.loads(json.dumps(replace(make_record(), frames=frames).to_json()))
    assert ActorRecord.from_json(values, "actor.json").frames == frames
    for old in values["frames"]:
        del old["av_offset_ms"]
    read = ActorRecord.from_json({**values, "av_offset_ms": None}, "actor.json")
    assert [f.av_offset_ms for f in read.frames] == [None, None] and read.name == "ada"


def test_a_failed_write_leaves_the_old_package_and_nothing_else(tmp_path: Path) -> None:
    path = make_actor(tmp_path / "ada.actor")
    before = (path / "actor.json").read_bytes()
    with pytest.raises(KeyboardInterrupt), actor_folder(path) as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert (path / "actor.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ada.actor"]


def test_an_incomplete_package_is_never_renamed_into_place(tmp_path: Path) -> None:
    with pytest.raises(ActorError, match=r"actor\.json"), actor_folder(tmp_path / "ada.actor"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"sea")
    with pytest.raises(ActorError, match="not an actor package"), actor_folder(tmp_path / "holiday"):
        pass
    assert (tmp_path / "holiday" / "beach.jpg").read_bytes() == b"sea"


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="file"), actor_folder(tmp_path / "file" / "ada.actor"):
        pass


@pytest.mark.parametrize(
    "name", ["actor.json", "identity.npz", "style.safetensors", "references/01.png", *NETWORKS]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = make_actor(tmp_path / "ada.actor")
    (path / name).unlink()
    with pytest.raises(ActorError, match=name) as caught:
        load_actor(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["actor.json", "identity.npz", "style.safetensors", "references/01.png", *NETWORKS]
)
def test_a_foreign_file_is_named(tmp_path: Path, name: str) -> None:
    path = make_actor(tmp_path / "ada.actor")
    (path / name).write_bytes(b"something else entirely")
    with pytest.raises(ActorError, match=name) as caught:
        load_actor(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["identity.npz", "style.safetensors", "references/01.png"])
def test_a_foreign_file_is_refused_by_its_content_too(tmp_path: Path, name: str) -> None:
    path = make_actor(tmp_path / "ada.actor")
    (path / name).write_bytes(b"something else entirely")
    data = json.loads((path / "actor.json").read_text())
    del data["files"]
    (path / "actor.json").write_text(json.dumps(data))
    with pytest.raises(ActorError, match=name):
        load_actor(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = make_actor(tmp_path / "ada.actor")
    data = json.loads((path / "actor.json").read_text())
    (path / "actor.json").write_text(json.dumps({**data, "schema": 99}))
    with pytest.raises(ActorError, match="99"):
        load_record(path)


def test_withdrawn_consent_stops_loading_and_keeps_the_record(tmp_path: Path) -> None:
    path = make_actor(tmp_path / "ada.actor")
    withdraw(path, "2026-02-01")
    with pytest.raises(ActorError, match="Ada Lovelace withdrew consent on 2026-02-01"):
        load_actor(path)
    assert load_record(path).consent.withdrawn == "2026-02-01"


def test_forget_removes_package_cache_and_leftovers_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    path = make_actor(tmp_path / "ada.actor")
    other = make_actor(tmp_path / "bob.actor")
    mine, kept = cache.entry("tracks", "feed", "auto", ".npz"), cache.entry("tracks", "beef", "auto", ".npz")
    for p in (mine, kept):
        cache.store_entry(p, lambda f: f.write(b"track"))
    (tmp_path / "ada.run").mkdir()
    removed = forget(path)
    assert {p.name for p in removed} == {"ada.actor", "ada.run", mine.name}
    assert not path.exists() and not mine.exists() and not (tmp_path / "ada.run").exists()
    assert kept.exists() and load_actor(other).record.name == "bob"


def test_a_package_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_actor(tmp_path / "ada.actor")
    before = (path / "actor.json").read_bytes()
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError("no room")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no room"):
        make_actor(path)
    assert (path / "actor.json").read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_run_folder_with_other_files_keeps_those(tmp_path: Path) -> None:
    path = make_actor(tmp_path / "ada.actor")
    run = tmp_path / "ada.run" / "0123456789ab"
    run.mkdir(parents=True)
    for name in ("checkpoint.safetensors", "best.safetensors", "sheet.png"):
        (run / name).write_bytes(b"of the person")
    (tmp_path / "ada.run" / "notes.txt").write_text("mine")
    assert len(forget(path)) == 4
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "ada.run" / "notes.txt"]


def test_find_and_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_actor(tmp_path / "ada.actor")
    (tmp_path / "broken.actor").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_actor("ada") == Path("ada.actor")
    assert find_actor(str(tmp_path / "ada.actor")) == tmp_path / "ada.actor"
    with pytest.raises(ActorError, match="nobody"):
        find_actor("nobody")
    found = dict(list_actors(tmp_path))
    assert isinstance(found[tmp_path / "ada.actor"], ActorRecord)
    assert isinstance(found[tmp_path / "broken.actor"], ActorError)


def test_consent_names_who_when_and_scope() -> None:
    assert Consent.parse("Ada, 2026-01-31, film, trailer") == Consent("Ada", "2026-01-31", "film, trailer")
    for text in ("", "Ada", "Ada, 2026-01-31", "Ada,,film"):
        with pytest.raises(BadInput, match="who, when, scope"):
            Consent.parse(text)
