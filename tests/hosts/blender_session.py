"""Runs inside Blender: a strip is dubbed by the add-on's own operator, rendered, undone. Prints JSON.

python blender_session.py '{"clip": ..., "actor": ..., "dialogue": ..., "folder": ..., "service": ...}'
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import bpy

from plugin_blender import dubbing, host

ASKED = json.loads(sys.argv[1])
OUT = ASKED["out"]


def state() -> list[Any]:
    """Everything that the sequencer holds, as plain values."""
    editor = bpy.context.scene.sequence_editor
    strips = sorted(editor.strips_all, key=lambda s: s.name)
    return [(s.name, plain(s), plain(s.transform), plain(s.crop)) for s in strips]


def plain(struct: Any) -> dict[str, str]:
    keys = [p.identifier for p in struct.bl_rna.properties if p.type not in ("POINTER", "COLLECTION")]
    return {k: repr(getattr(struct, k)) for k in keys}


def changed(now: list[Any], then: list[Any]) -> set[str]:
    """Names of what is another in the strip below."""
    (a,), (b,) = ([s[1:] for s in part if s[0] == "plate"] for part in (now, then))
    return {key for x, y in zip(a, b, strict=True) for key in x if x[key] != y[key]}


def render(frame: int, name: str) -> str:
    scene = bpy.context.scene
    scene.frame_set(frame)
    scene.render.filepath = os.path.join(OUT, f"{name}.png")
    bpy.ops.render.render(write_still=True)
    return scene.render.filepath


def set_up() -> Any:
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = ASKED["size"]
    scene.render.resolution_percentage, scene.render.fps = 100, 25
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGB"
    scene.render.dither_intensity = 0
    scene.view_settings.view_transform = "Standard"
    editor = scene.sequence_editor_create()
    strip = editor.strips.new_movie("plate", ASKED["clip"], 1, 101, fit_method="ORIGINAL")
    strip.frame_final_start, strip.frame_final_end = 111, 117  # frames 10 to 15 of the clip
    editor.active_strip = strip
    return strip


def refused(**options: Any) -> str:
    """What the operator says where it does nothing."""
    before = state()
    try:
        bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", **options)
    except RuntimeError as e:
        assert state() == before
        return str(e).strip()
    return "it was not refused"


def killed(after_s: float, **options: Any) -> str:
    """What the operator says where its bridge is killed in the middle; the timeline has to be as it was."""
    plain_connect, timers = dubbing.connect, list[threading.Timer]()

    def connect(endpoint: str = "") -> Any:
        bridge = plain_connect(endpoint)
        timers.append(threading.Timer(after_s, bridge._process.kill))
        timers[-1].start()
        return bridge

    dubbing.connect = connect
    try:
        return refused(**options)
    finally:
        dubbing.connect = plain_connect
        timers[0].join()


def main() -> dict[str, Any]:
    host.register()
    menu = [f.__name__ for f in bpy.types.SEQUENCER_MT_context_menu._dyn_ui_initialize()]
    strip = set_up()
    window = bpy.context.window_manager.windows[0]
    options = {k: ASKED[k] for k in ("actor", "dialogue", "folder", "service")}
    said: dict[str, Any] = {"version": bpy.app.version_string, "menu": menu}
    said["refused"] = [
        refused(**{**options, "dialogue": ""}),
        refused(**{**options, "actor": "", "quality": "draft"}),
        refused(**{**options, "dialogue": ASKED["dialogue"] + ".gone"}),
        *(killed(seconds, **options) for seconds in (0.0, 0.3, 0.6)),
    ]
    with bpy.context.temp_override(window=window, screen=window.screen):  # an area would draw
        bpy.ops.ed.undo_push(message="the strip")
        before = state()
        said["plate"] = render(112, "plate")
        assert bpy.ops.sequencer.visual_dub.poll()
        said["ended"] = list(bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", True, **options))
        made = bpy.context.scene.sequence_editor.active_strip
        said["strip"] = [made.channel, made.frame_final_start, made.frame_final_end, made[host.MARK]]
        said["movie"] = bpy.path.abspath(made.filepath)
        said["frames"] = [render(f, f"dub{f}") for f in range(111, 117)]
        said["changed"] = sorted(changed(state(), before))
        after = state()
        bpy.ops.ed.undo()
        said["undone"] = state() == before
        said["again"] = render(112, "again")
        bpy.ops.ed.redo()
        said["redone"] = state() == after
        bpy.context.scene.sequence_editor.active_strip = bpy.context.scene.sequence_editor.strips["plate"]
        bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
        said["removed"] = state() == before
        said["can_remove"] = bpy.ops.sequencer.visual_dub_remove.poll()
        said["in_meta"] = in_meta(options)
        said["drafted"] = drafted(options)
        strip = bpy.context.scene.sequence_editor.strips["plate"]
        strip.frame_final_end = 200
        said["refused"].append(refused(**options))
    host.unregister()
    said["alone"] = alone(said["movie"], len(said["frames"]))
    return said


def in_meta(options: dict[str, Any]) -> list[Any]:
    """The strips of a meta strip while a strip in it has a dub, and whether it goes again."""
    editor = bpy.context.scene.sequence_editor
    strip = editor.strips["plate"]
    meta = editor.strips.new_meta("meta", 5, 111)
    strip.move_to_meta(meta)
    meta.select, editor.active_strip = False, strip
    alone = state()
    bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", **options)
    found = sorted((s.name, s.channel, s.frame_final_start) for s in meta.strips)
    editor.active_strip = strip
    bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
    gone = state() == alone
    meta.separate()
    editor.active_strip = editor.strips["plate"]
    return [found, gone]


def drafted(options: dict[str, Any]) -> list[Any]:
    """A draft without an actor: the quality that is kept of it, what is not offered again, whether it was
    dubbed.
    """
    editor = bpy.context.scene.sequence_editor
    editor.active_strip = editor.strips["plate"]
    more = {"actor": "", "quality": "draft", "consent": "Ada, today, tests"}
    bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", True, **{**options, **more})  # as from the menu
    made = editor.active_strip.name == "plate dubbed"
    bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
    last = bpy.context.window_manager.operator_properties_last("sequencer.visual_dub")
    once = [p.identifier for p in last.bl_rna.properties if p.is_skip_save and p.identifier in options | more]
    return [last.quality, once, made]


def alone(movie: str, count: int) -> list[str]:
    """The dubbed movie by itself, without the add-on."""
    editor = bpy.context.scene.sequence_editor
    for strip in list(editor.strips):
        editor.strips.remove(strip)
    editor.strips.new_movie("alone", movie, 1, 1, fit_method="ORIGINAL")
    return [render(f, f"alone{f}") for f in range(1, count + 1)]


print("SAID " + json.dumps(main()))
