"""The add-on for Blender's video sequencer: a strip is dubbed, and the dub lies above it.

`host` alone touches Blender; the rest takes plain values. The service is asked through `vdub bridge`.
"""
