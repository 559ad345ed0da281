"""From recorded dialogue to the motion of a mouth.

In the order of a dub: `features` (the input features of the speech model), `phones` (which phone is heard
when, from the same features, and where lips touch in it), `script` and `alignment` (the same where the words
are known; `ipa` names the phones), `predict` (the speech model itself), `activity` (where the dialogue
speaks, where the filmed mouth moves), `style` (how one actor speaks),
`closure` (lips that touch and part), `performance` (the motion blended over the tracked performance) and
`performance_file` (the same as JSON, to edit). Beside them `sync` measures the A/V offset of a clip.
"""
