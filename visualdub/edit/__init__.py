"""What is to be dubbed: shots and their dialogue cues, planned before a pixel is read."""

from visualdub.edit.shot import DialogueCue, Shot, plan_shot

__all__ = ["DialogueCue", "Shot", "plan_shot"]
