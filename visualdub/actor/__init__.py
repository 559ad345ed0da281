"""The actor package: one folder holds everything that renders one person; deleting it removes the person."""

from visualdub.actor.package import Actor, actor_folder, load_actor, write_package
from visualdub.actor.record import ActorRecord, Consent, SourceFrames

__all__ = ["Actor", "ActorRecord", "Consent", "SourceFrames", "actor_folder", "load_actor", "write_package"]
