"""The only module that touches Blender: two operators of the sequencer, and their place in the strip's menu.

The timeline changes once the dubbed movie is whole, in one step of undo; until then nothing is touched.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import bpy

from plugin_blender.dubbing import Asked, Dubbed, DubError, StripFacts, Task
from visualdub.wire.requests import DRAFT, FINAL

MARK = "visual_dub"  # a property of a strip of ours: the name of the strip that it lies above
POLL_S = 0.2
HIGHEST = 128  # channels that the sequencer has
LOOKS = (
    "blend_type",
    "blend_alpha",
    "color_saturation",
    "color_multiply",
    "use_flip_x",
    "use_flip_y",
    "alpha_mode",
)
PLACES = ("offset_x", "offset_y", "scale_x", "scale_y", "rotation", "origin", "filter")
CROPS = ("min_x", "max_x", "min_y", "max_y")

_file = ""  # that was open when the dialog was shown last

# ---- strips ------------------------------------------------------------------------------------------------


def facts_of(strip: Any) -> StripFacts:
    """What matters of a strip. Raises `DubError` for one that is no movie."""
    if strip is None or strip.type != "MOVIE":
        raise DubError("no strip of a movie is active; click on one first")
    retimed = len(strip.retiming_keys) > 0 or strip.use_reverse_frames or strip.strobe > 1
    return StripFacts(
        strip.name,
        _absolute(strip.filepath),
        strip.frame_start,
        strip.frame_final_start,
        strip.frame_final_end,
        strip.animation_offset_start,
        strip.frame_duration,
        retimed,
    )


def add_above(scene: Any, strip: Any, dubbed: Dubbed) -> Any:
    """Put the dubbed movie above a strip, as it is placed and looks; the new strip, which is then active."""
    editor = scene.sequence_editor
    span = strip.frame_final_start, strip.frame_final_end
    strips = _beside(editor, strip)
    channel = _free_channel(strips, strip.channel + 1, span)
    name = f"{strip.name} dubbed"
    made = strips.new_movie(
        name, _as_written(dubbed.path), channel, strip.frame_final_start, fit_method="ORIGINAL"
    )
    made.frame_final_end = strip.frame_final_end
    for names, ours, theirs in (
        (LOOKS, made, strip),
        (PLACES, made.transform, strip.transform),
        (CROPS, made.crop, strip.crop),
    ):
        for key in names:
            setattr(ours, key, getattr(theirs, key))
    made.colorspace_settings.name = strip.colorspace_settings.name
    made[MARK] = strip.name
    for other in editor.strips_all:
        other.select = other == made
    editor.active_strip = made
    return made


def _as_written(path: str) -> str:
    """A path as the file keeps it: relative to a saved file, as Blender's own dialogs do by default."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        return str(bpy.path.relpath(path))
    return path


def _beside(editor: Any, strip: Any) -> Any:
    """The strips among which a strip lies: the timeline's, or those of a meta strip."""
    metas = [s for s in editor.strips_all if s.type == "META"]
    return next((m.strips for m in metas if strip.name in m.strips), editor.strips)


def _free_channel(strips: Any, lowest: int, span: tuple[int, int]) -> int:
    """The lowest channel from `lowest` on that is free between two frames of the scene."""
    taken = {s.channel for s in strips if s.frame_final_start < span[1] and s.frame_final_end > span[0]}
    free = next((c for c in range(lowest, HIGHEST + 1) if c not in taken), None)
    if free is None:
        raise DubError("no channel is free above the strip; remove or move one")
    return free


def dubs_of(editor: Any, strip: Any) -> list[Any]:
    """The strips of ours that lie above a strip, or the strip itself where it is one of ours."""
    if strip.get(MARK) is not None:
        return [strip]
    return [
        s
        for s in _beside(editor, strip)
        if s.get(MARK) == strip.name
        and s.frame_final_start < strip.frame_final_end
        and s.frame_final_end > strip.frame_final_start
    ]


def default_folder() -> str:
    """Where dubbed movies go: beside the file. Empty where it was never saved."""
    return os.path.join(os.path.dirname(bpy.data.filepath), "visualdub") if bpy.data.filepath else ""


def dialogue_beside(editor: Any, strip: Any) -> str:
    """The recording of a selected strip of sound that begins with `strip`; empty where there is none."""
    for other in _beside(editor, strip):
        at_start = (
            other.type == "SOUND" and other.select and other.frame_final_start == strip.frame_final_start
        )
        if at_start and other.frame_start == other.frame_final_start:
            return _absolute(other.sound.filepath)
    return ""


def _absolute(path: str) -> str:
    """A path as files are opened: Blender's begin with // beside the file."""
    return os.path.abspath(str(bpy.path.abspath(path)))


def _scene(context: Any) -> Any:
    """The scene of the sequencer, which may be another one than the window's since Blender 5."""
    return getattr(context, "sequencer_scene", None) or context.scene


# ---- the operators -----------------------------------------------------------------------------------------


class SEQUENCER_OT_visual_dub(bpy.types.Operator):  # type: ignore[misc]
    """Let the actor of the active strip speak other dialogue; the dub is put above the strip"""

    bl_idname = "sequencer.visual_dub"
    bl_label = "Visual Dub"
    bl_options: ClassVar = {"UNDO"}  # no panel that adjusts the last operation: each change would be a dub

    dialogue: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Dialogue",
        description="The recording that the actor is to speak; it begins with the strip's first frame",
        subtype="FILE_PATH",
    )
    actor: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Actor",
        description="An actor of the service's library by name, or the path of an .actor folder",
    )
    quality: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Quality",
        description="How much time is spent on it",
        items=(
            (FINAL, "Final", "As good as it gets; needs an actor"),
            (DRAFT, "Draft", "Rougher and there soon; without an actor, out of the clip's own other frames"),
        ),
        default=FINAL,
    )
    consent: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Consent",
        description="Who consented to a draft without an actor, when and to what, with commas between",
        options={"SKIP_SAVE"},  # whose consent it was is not known of another strip
    )
    leave: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Leave alone",
        description="Frames of the strip that stay as they are, as 27-32, 40, in the scene's frames",
        options={"SKIP_SAVE"},  # those of one strip are not another's
    )
    folder: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Folder",
        description="Where the dubbed movie goes; beside this file by default. The service must be allowed"
        " to write"
        " there: vdub serve --root",
        subtype="DIR_PATH",
    )
    service: bpy.props.StringProperty(  # type: ignore[valid-type]
        name="Service",
        description="The address of the service, as vdub serve prints it; the one on this machine by default",
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Whether the menu entry can be clicked."""
        editor = _scene(context).sequence_editor
        strip = editor.active_strip if editor else None
        return strip is not None and strip.type == "MOVIE"

    def invoke(self, context: Any, event: Any) -> Any:
        """Ask what to dub with, in a dialog; what was chosen last is offered again, a folder in the same file
        alone.
        """
        global _file
        editor = _scene(context).sequence_editor
        self.dialogue = dialogue_beside(editor, editor.active_strip) or self.dialogue
        if bpy.data.filepath != _file or not self.folder:
            self.folder = default_folder() or self.folder
        _file = bpy.data.filepath
        return context.window_manager.invoke_props_dialog(self, width=500)

    def execute(self, context: Any) -> Any:
        """Dub: behind the window, or, without one, until it is done."""
        if self.options.is_repeat or self.options.is_repeat_last:  # what is repeated cannot go on behind
            self.report({"ERROR"}, "a dub is not repeated; choose Visual Dub... in the strip's menu")
            return {"CANCELLED"}
        scene = _scene(context)
        try:
            strip = scene.sequence_editor.active_strip
            facts = facts_of(strip)
            asked = self._read(facts)
            asked.fields()
        except DubError as e:
            self.report({"ERROR"}, str(e))
            return {"CANCELLED"}
        self._scene, self._strip, self._task = scene.name, facts.name, Task(asked, self.service.strip())
        if bpy.app.background:
            self._task.run()
            return self._finish(context)
        self._task.start()
        self._timer = context.window_manager.event_timer_add(POLL_S, window=context.window)
        context.window_manager.progress_begin(0, 100)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> Any:
        """Show how far it is; Esc stops it. Everything else goes on as usual."""
        if event.type == "ESC" and event.value == "PRESS":
            self._task.stop()
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if self._task.outcome is None:
            stage, done, total = self._task.far
            context.window_manager.progress_update(100 * done // total if total else 0)
            count = f" {done}/{total}" if total else ""
            context.workspace.status_text_set(f"Visual Dub: {stage}{count}   |   Esc: stop")
            return {"PASS_THROUGH"}
        self._end_showing(context)
        return self._finish(context)

    def cancel(self, context: Any) -> None:
        """What Blender calls where it ends the operator itself: another file is opened, a window closed."""
        self._task.stop()
        self._end_showing(context)

    def _end_showing(self, context: Any) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)

    def _read(self, facts: StripFacts) -> Asked:
        """What the properties ask for."""
        actor = self.actor.strip()
        path = _absolute(actor)
        return Asked(
            facts.path,
            facts.clip_range(),
            _absolute(self.dialogue) if self.dialogue else "",
            path if actor and os.path.isdir(path) else actor,
            _absolute(self.folder) if self.folder else default_folder(),
            facts.clip_ranges(self.leave),
            self.quality,
            self.consent.strip(),
        )

    def _finish(self, context: Any) -> Any:
        """In the main thread: put the result above the strip, or say why there is none."""
        outcome, asked, scene = self._task.outcome, self._task.asked, bpy.data.scenes.get(self._scene)
        if not isinstance(outcome, Dubbed):
            self.report({"ERROR"} if outcome else {"INFO"}, outcome or "stopped; nothing has changed")
            return {"CANCELLED"}
        editor = scene.sequence_editor if scene else None  # the artist may have gone on to another scene
        strip = editor.strips_all.get(self._strip) if editor else None
        if strip is None or facts_of(strip).path != asked.clip:
            self.report({"ERROR"}, f"{self._strip} is gone or changed; the dub lies in {outcome.path}")
            return {"CANCELLED"}
        try:
            if facts_of(strip).clip_range() != asked.frames:
                raise DubError(f"{self._strip} was trimmed meanwhile; the dub lies in {outcome.path}")
            made = add_above(scene, strip, outcome)
        except DubError as e:
            self.report({"ERROR"}, str(e))
            return {"CANCELLED"}
        notes = "".join(f"; {note}" for note in outcome.notes)
        self.report({"INFO"}, f"{made.name}: {outcome.drawn} of {outcome.frames} frames dubbed{notes}")
        return {"FINISHED"}


class SEQUENCER_OT_visual_dub_remove(bpy.types.Operator):  # type: ignore[misc]
    """Take the dubs above the active strip away; the dubbed movies stay on the disk"""

    bl_idname = "sequencer.visual_dub_remove"
    bl_label = "Remove Visual Dub"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Whether the menu entry can be clicked."""
        editor = _scene(context).sequence_editor
        return bool(editor and editor.active_strip and dubs_of(editor, editor.active_strip))

    def execute(self, context: Any) -> Any:
        """Remove them; the strip below is active then."""
        editor = _scene(context).sequence_editor
        below = editor.strips_all.get(editor.active_strip.get(MARK, editor.active_strip.name))
        for strip in dubs_of(editor, editor.active_strip):
            _beside(editor, strip).remove(strip)
        if below is not None:
            below.select, editor.active_strip = True, below
        return {"FINISHED"}


CLASSES = (SEQUENCER_OT_visual_dub, SEQUENCER_OT_visual_dub_remove)


def draw_menu(self: Any, context: Any) -> None:
    """Our entries in the menu of a strip, at a right click and in the bar."""
    self.layout.separator()
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator(SEQUENCER_OT_visual_dub.bl_idname, text="Visual Dub...")
    self.layout.operator(SEQUENCER_OT_visual_dub_remove.bl_idname)


def register() -> None:
    """What Blender calls when the add-on is switched on."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.SEQUENCER_MT_context_menu.append(draw_menu)
    bpy.types.SEQUENCER_MT_strip.append(draw_menu)


def unregister() -> None:
    """What Blender calls when the add-on is switched off."""
    bpy.types.SEQUENCER_MT_strip.remove(draw_menu)
    bpy.types.SEQUENCER_MT_context_menu.remove(draw_menu)
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
