"""The plug-in for Nuke: a node that shows dubbed frames over their plate, and how the frames come to it.

`host` alone touches Nuke; the rest takes plain values. Python 3.7 and the standard library, the service
through `vdub bridge`: whatever Python a Nuke has, nothing is compiled for it. `path` holds what lies in
Nuke's own path.
"""
