"""Visual Dub in DaVinci Resolve: clips of a timeline dubbed as takes, from the host's own Python."""
