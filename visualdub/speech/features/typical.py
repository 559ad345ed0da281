"""What speech is like on average, for recordings that hold too little of it to tell.

The mean levels (`mel.Level`) of eight recordings of 4.5 to 12 s by eight speakers, read and spoken freely in
English, French, German, Italian, Japanese, Korean, Russian and Spanish.
"""

from __future__ import annotations

import numpy as np

MEL = np.array(
    [
        *(-11.9, -10.5, -9.5, -9.7, -10.2, -10.4, -10.5, -11.1, -12.1, -12.8),
        *(-13.4, -14.3, -14.7, -14.8, -14.9, -15.2, -15.1, -15.0, -15.1, -15.2),
        *(-15.3, -15.5, -15.3, -15.1, -15.3, -15.5, -15.6, -15.5, -15.8, -15.9),
        *(-16.0, -16.0, -16.0, -16.0, -16.0, -16.0, -16.0, -16.0, -16.0, -16.0),
    ],
    np.float32,
)  # (BANDS,) nepers of power, with the loud frames at `mel.LOUDNESS`
