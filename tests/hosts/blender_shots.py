"""Runs inside Blender: every shot is a strip, dubbed by the operator of the strip's menu.

    python blender_shots.py '{"folder": ..., "service": "", "shots": [{"name": ..., "clip": ..., ...}, ...]}'

Prints as JSON the movie above each strip, and whether removing them all brings the timeline back.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy

from plugin_blender import host

APART = 1000  # frames of the scene between the beginnings of two clips


def state() -> list[tuple[Any, ...]]:
    """Where every strip is."""
    editor = bpy.context.scene.sequence_editor
    return sorted((s.name, s.channel, s.frame_final_start, s.frame_final_end) for s in editor.strips_all)


def main() -> dict[str, Any]:
    """Dub every shot."""
    asked = json.loads(sys.argv[1])
    host.register()
    editor = bpy.context.scene.sequence_editor_create()
    strips = []
    for number, shot in enumerate(asked["shots"]):
        at = 1 + APART * number  # the scene's frame that would show the clip's first
        strip = editor.strips.new_movie(shot["name"], shot["clip"], 1, at, fit_method="ORIGINAL")
        strip.frame_final_start, strip.frame_final_end = at + shot["start"], at + shot["end"]
        strips.append(strip)
    before, movies = state(), {}
    for number, (strip, shot) in enumerate(zip(strips, asked["shots"], strict=True)):
        editor.active_strip = strip
        at = 1 + APART * number
        leave = ", ".join(f"{at + start}-{at + end - 1}" for start, end in shot["skip"])
        options = {name: shot[name] for name in ("actor", "dialogue")}
        options.update({name: asked[name] for name in ("folder", "service")})
        bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", leave=leave, **options)
        movies[shot["name"]] = bpy.path.abspath(editor.active_strip.filepath)
    for strip in strips:
        editor.active_strip = strip
        bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
    return {"movies": movies, "undone": state() == before, "version": bpy.app.version_string}


print("SAID " + json.dumps(main()))
