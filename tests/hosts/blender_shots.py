"""Runs inside Blender: every shot of a clip is a strip, dubbed by the operator of the strip's menu.

    python blender_shots.py '{"clip": ..., "shots": [[0, 8], ...], "actor": ..., ...}'

Prints as JSON the movie above each strip, and whether removing them all brings the timeline back.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy

from plugin_blender import host


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
    for start, end in asked["shots"]:
        strip = editor.strips.new_movie(f"shot {start}", asked["clip"], 1, 1, fit_method="ORIGINAL")
        strip.frame_final_start, strip.frame_final_end = 1 + start, 1 + end
        strips.append(strip)
    before, movies = state(), []
    options = {name: asked[name] for name in ("actor", "dialogue", "folder", "service")}
    for strip in strips:
        editor.active_strip = strip
        bpy.ops.sequencer.visual_dub("EXEC_DEFAULT", **options)
        movies.append(bpy.path.abspath(editor.active_strip.filepath))
    for strip in strips:
        editor.active_strip = strip
        bpy.ops.sequencer.visual_dub_remove("EXEC_DEFAULT")
    return {"movies": movies, "undone": state() == before, "version": bpy.app.version_string}


print("SAID " + json.dumps(main()))
