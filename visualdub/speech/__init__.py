"""From recorded dialogue to the motion of a mouth.

In the order of a dub: `features` (the input features of the speech model), `predict` (the speech model
itself), `activity` (where the dialogue speaks, where the filmed mouth moves), `style` (how one actor speaks),
`closure` (lips that touch in p, b and m), `performance` (the motion blended over the tracked performance) and
`performance_file` (the same as JSON, to edit). Beside them `phones` labels a recording for people to read,
and `sync` measures the A/V offset of a clip.
"""
