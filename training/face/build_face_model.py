"""Builds `visualdub/face/data/face468.npz` from clips: template, jaw hinge, expression basis, UV layout, mask
region.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.sources import files_read
from training.face.topology import BASE, JAW_LINE, Topology, build_topology, folded, unwrap
from visualdub.arrays import smoothstep
from visualdub.face.landmarks import FACE_LEFT, FACE_RIGHT, lip_opening
from visualdub.storage import atomic_path, protect, require_writable, write_json

HELD_OUT = (
    "hill",
    "studio_b",
    "roskam",
    "radio22",
    "webcam",
    "stage",
)  # validation speakers, never in the basis
SPEECH_COMPONENTS, UPPER_COMPONENTS = 28, 12
STABLE = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    109,
    67,
    103,
    54,
    21,
    162,
    151,
    9,
    8,
    168,
    6,
    197,
    195,
    69,
    104,
    68,
    71,
    139,
    34,
    227,
    127,
    299,
    333,
    298,
    301,
    368,
    264,
    447,
    356,
    108,
    337,
    33,
    133,
    362,
    263,
    130,
    359,
    243,
    463,
    190,
    414,
    122,
    351,
    193,
    417,
    245,
    465,
    188,
    412,
    143,
    372,
    35,
    265,
    111,
    340,
    5,
    4,
    1,
)  # do not move with speech
CHIN = (152, 148, 377, 176, 400, 175, 199, 200)
Points = NDArray[np.float64]


def procrustes(points: Points, template: Points, subset: NDArray[np.int64]) -> Points:
    """Move each frame of `points` (n, 468, 3) onto `template` (468, 3) by the similarity that fits `subset`
    best.
    """
    a, b = points[:, subset], template[subset]
    ca, cb = a.mean(1, keepdims=True), b.mean(0)
    a, b = a - ca, b - cb
    u, s, vt = np.linalg.svd(np.einsum("nvi,vj->nij", a, b))
    d = np.ones((len(points), 3))
    d[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = np.einsum("nik,nk,nkj->nij", u, d, vt)
    scale = (s * d).sum(1) / (a**2).sum((1, 2))
    return np.asarray((points - ca) @ rotation * scale[:, None, None] + cb)


def upright(mesh: Points, mirror: NDArray[np.int64]) -> Points:
    """Make a mesh symmetric, centred between the widest points, one face width wide, x right, y down."""
    flipped = mesh[mirror] * [-1, 1, 1]
    mesh = mesh - mesh.mean(0)
    flipped = procrustes(flipped[None], mesh, np.arange(BASE))[0]
    mesh = (mesh + flipped) / 2
    centre = (mesh[FACE_LEFT] + mesh[FACE_RIGHT]) / 2
    right = mesh[FACE_RIGHT] - mesh[FACE_LEFT]
    width = float(np.linalg.norm(right))
    x = right / width
    middle = mesh[10] - mesh[152]
    y = -(middle - x * (middle @ x))
    y /= np.linalg.norm(y)
    return np.asarray((mesh - centre) @ np.stack([x, y, np.cross(x, y)], 1) / width)


def mirror_map(mesh: Points) -> NDArray[np.int64]:
    """(468,) the vertex on the other side of the face, by nearest mirrored position, checked to be its own
    inverse.
    """
    from scipy.optimize import linear_sum_assignment

    mesh = mesh - mesh.mean(0)
    axis = mesh[FACE_RIGHT] - mesh[FACE_LEFT]
    axis = axis / np.linalg.norm(axis)
    flipped = mesh - 2 * (mesh @ axis)[:, None] * axis
    _, pairs = linear_sum_assignment(((flipped[:, None] - mesh[None]) ** 2).sum(-1))
    if not (pairs[pairs] == np.arange(BASE)).all():
        raise ValueError("the template is too lopsided to pair left and right vertices")
    return np.asarray(pairs)


def align_clips(clips: list[Points]) -> tuple[Points, list[Points]]:
    """Generalised Procrustes over all clips on vertices that speech does not move: (template, aligned
    clips).
    """
    stable = np.array(STABLE)
    template = clips[0].mean(0)
    for _ in range(6):
        aligned = [procrustes(c, template, stable) for c in clips]
        mean = np.mean([a.mean(0) for a in aligned], 0)
        template = upright(mean, mirror_map(mean))
    return template, [procrustes(c, template, stable) for c in clips]


def neutral_of(clip: Points) -> Points:
    """Mean of the frames whose lips are closest together: (n, 468, 3) -> (468, 3)."""
    opening = lip_opening(clip)
    return np.asarray(clip[opening <= np.quantile(opening, 0.15)].mean(0))


def hinge(
    mesh: Points, angle: NDArray[np.float64], weights: NDArray[np.float64], joint: NDArray[np.float64]
) -> Points:
    """Displacement (..., V, 3) of `mesh` (V, 3) when the jaw turns by `angle` (...) about the x axis through
    `joint` (3,).
    """
    r = mesh[:, 1:] - joint[1:]
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    dy = (c - 1) * r[:, 0] - s * r[:, 1]
    dz = s * r[:, 0] + (c - 1) * r[:, 1]
    return np.asarray(np.stack([0 * dy, dy, dz], -1) * weights[:, None])


def fit_hinge(
    neutrals: list[Points], moved: list[Points], mirror: NDArray[np.int64]
) -> tuple[Points, NDArray[np.float64]]:
    """Soft weights (468,) and joint offset (3,), alternating angle per frame (from the chin) and weight per
    vertex.

    z takes a small part only: MediaPipe guesses it.
    """
    offset = np.array(
        [0.0, -0.02, 0.06]
    )  # jaw joint against the middle between the widest points, face widths
    trust = np.array([0.0, 1.0, 0.1])
    weights = np.zeros(BASE)
    weights[list(CHIN)] = 1
    for _ in range(8):
        top, bottom = np.zeros(BASE), np.full(BASE, 1e-9)
        for neutral, clip in zip(neutrals, moved, strict=True):
            joint = (neutral[FACE_LEFT] + neutral[FACE_RIGHT]) / 2 + offset
            unit = hinge(neutral, np.array(1e-3), np.ones(BASE), joint) / 1e-3
            d = clip - neutral
            w = weights[list(CHIN)][:, None]
            pull = unit[list(CHIN)] * w * trust
            angle = np.einsum("nvi,vi->n", d[:, list(CHIN)], pull) / (pull * unit[list(CHIN)] * w).sum()
            top += np.einsum("n,nvi,vi->v", angle, d, unit * trust) / len(clip)
            bottom += (angle**2).mean() * (unit**2 * trust).sum(1)
        weights = np.clip(top / bottom, 0, 1.0)
        weights = (weights + weights[mirror]) / 2
        weights /= weights[list(CHIN)].mean()
        weights = np.clip(weights, 0, 1.1)
    weights[list(STABLE)] = 0
    return weights, offset


def speech_region(template: Points) -> NDArray[np.float64]:
    """(468,) how much a vertex belongs to speech: 1 on mouth, chin and lower cheeks, 0 from the eyes up."""
    nose, eyes = template[2, 1], template[[33, 263], 1].mean()
    return smoothstep((template[:, 1] - (eyes + 0.12)) / (nose - 0.04 - (eyes + 0.12)))


def basis_of(residuals: list[Points], region: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(count, 468, 3) principal components of `region` x residual, each scaled to one standard deviation; z
    damped.
    """
    trust = np.array([1.0, 1.0, 0.4])
    covariance = np.zeros((BASE * 3, BASE * 3))
    for r in residuals:
        x = (r * region[:, None] * trust).reshape(len(r), -1)
        covariance += x.T @ x / len(r)
    values, vectors = np.linalg.eigh(covariance / len(residuals))
    top = vectors[:, ::-1][:, :count] * np.sqrt(values[::-1][:count])
    return np.asarray(top.T.reshape(count, BASE, 3) / trust)


def angles_of(
    neutral: Points, clip: Points, weights: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) jaw angle of each aligned frame, least squares over the vertices that the hinge moves."""
    joint = (neutral[FACE_LEFT] + neutral[FACE_RIGHT]) / 2 + offset
    unit = hinge(neutral, np.array(1e-3), weights, joint) / 1e-3 * [0, 1, 0.1]
    return np.asarray(np.einsum("nvi,vi->n", clip - neutral, unit) / (unit**2).sum())


def mask_weight(topology: Topology, rest: Points) -> NDArray[np.float64]:
    """(V,) signed: above 0 inside the region to draw. Below the nose, over lips, cheeks and chin, part of the
    skirt.
    """
    nose, chin = rest[2], rest[152]
    height = chin[1] - nose[1]
    down = (rest[:, 1] - nose[1]) / height  # 0 at the base of the nose, 1 at the chin
    side = np.abs(rest[:, 0])
    top = down - 0.04
    across = (0.39 - side) * 2.5
    inside = np.minimum(top, across)
    skirt = topology.parts == 1
    depth = 0.09 * np.clip(
        down[list(JAW_LINE)] * 1.6 - 0.6, 0.0, 1
    )  # how far below the line the region reaches
    rings = np.flatnonzero(skirt).reshape(-1, len(JAW_LINE))
    for ring in rings:
        inside[ring] = np.minimum((depth - topology.skirt_depth[ring]) * 3, inside[list(JAW_LINE)])
    inside[topology.parts >= 2] = 1.0
    return np.asarray(inside)


def build(clips: dict[str, Points]) -> tuple[dict[str, NDArray[np.generic]], dict[str, object]]:
    """The model's arrays and the record of what they were built from. clips: name -> (n, 468, 3) landmarks in
    pixels.
    """
    template, aligned = align_clips(list(clips.values()))
    mirror = mirror_map(template)
    neutrals = [neutral_of(a) for a in aligned]
    weights, offset = fit_hinge(neutrals, aligned, mirror)
    residuals, angles = [], []
    for neutral, clip in zip(neutrals, aligned, strict=True):
        angle = angles_of(neutral, clip, weights, offset)
        joint = (neutral[FACE_LEFT] + neutral[FACE_RIGHT]) / 2 + offset
        residuals.append(clip - neutral - hinge(neutral, angle, weights, joint))
        angles.append(angle)
    region = speech_region(template)
    speech = basis_of(residuals, region, SPEECH_COMPONENTS)
    upper = basis_of(residuals, 1 - region, UPPER_COMPONENTS)
    rest = upright(np.mean(neutrals, 0), mirror)
    topology = build_topology(rest)
    full = np.concatenate([rest, topology.anchors @ rest + topology.offsets])
    jaw = np.concatenate(
        [
            weights,
            np.where(
                topology.jaw_share >= 2,
                weights[list(CHIN)].mean(),
                topology.jaw_share * (topology.anchors @ weights),
            ),
        ]
    )
    basis = np.concatenate([speech, upper])
    basis = np.concatenate([basis, np.einsum("ev,kvi,e->kei", topology.motion, basis, topology.follows)], 1)
    opened = full + hinge(full, np.array(0.05), jaw, offset)
    uv = unwrap(topology, opened)
    limit = float(np.mean([np.quantile(a, 0.995) for a in angles]))
    arrays: dict[str, NDArray[np.generic]] = {
        "triangles": topology.triangles,
        "uv": uv,
        "template": full,
        "anchors": topology.anchors,
        "offsets": topology.offsets,
        "parts": topology.parts,
        "jaw_weights": jaw,
        "jaw_joint": offset,
        "jaw_limit": np.array(limit),
        "basis": basis,
        "n_speech": np.array(SPEECH_COMPONENTS),
        "stable": np.array(STABLE, np.int32),
        "mask_weight": mask_weight(topology, full),
    }
    spoken = [r * region[:, None] for r in residuals]
    lost = sum(float(((s - _project(s, speech)) ** 2).sum()) for s in spoken) / sum(
        float((s**2).sum()) for s in spoken
    )
    record: dict[str, object] = {
        "name": "face468-1",
        "clips": {k: len(v) for k, v in clips.items()},
        "held_out_speakers": list(HELD_OUT),
        "jaw_limit_radians": round(limit, 4),
        "speech_components": SPEECH_COMPONENTS,
        "upper_components": UPPER_COMPONENTS,
        "speech_variance_kept": round(1 - lost, 4),
        "folded_triangles": int(folded(topology.triangles, uv).sum()),
    }
    return arrays, record


def _project(x: Points, basis: NDArray[np.float64]) -> Points:
    flat, b = x.reshape(len(x), -1), basis.reshape(len(basis), -1)
    return np.asarray((np.linalg.lstsq(b.T, flat.T, rcond=None)[0].T @ b).reshape(x.shape))


def read_clips(folder: Path) -> dict[str, Points]:
    """Landmarks (n, 468, 3) of the most present face of every clip in `folder`, validation speakers left
    out.
    """
    from visualdub.face.detect import choose_face, find_faces
    from visualdub.media.source import open_source
    from visualdub.media.square import shown_rgb

    listed = {c["file"]: c for c in json.loads((folder / "clips.json").read_text())}
    clips = {}
    for name, entry in sorted(listed.items()):
        if entry["speaker"] in HELD_OUT:
            continue
        with open_source(folder / name) as source:
            faces, count = find_faces(shown_rgb(f) for f in source.frames())
        points = choose_face(faces, None, name).dense(count)[:, :BASE]
        clips[name] = points[~np.isnan(points[:, 0, 0])].astype(np.float64)
    return clips


def keep_signs(basis: NDArray[np.float64], earlier: NDArray[np.float64]) -> NDArray[np.float64]:
    """`basis` (K, V, 3) with each component turned the way of `earlier`: eigenvectors have no sign of their
    own, and actors and speech models made with the earlier build stay valid.
    """
    if basis.shape != earlier.shape:
        return basis
    sign = np.sign((basis * earlier).sum((1, 2)))
    return np.asarray(basis * np.where(sign == 0, 1, sign)[:, None, None])


def main() -> None:
    """`python -m training.face.build_face_model CLIPS_FOLDER OUT.npz`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    written = (options.out, options.out.with_suffix(".json"))
    protect(files_read([options.clips]), written)
    for path in written:
        require_writable(path)
    arrays, record = build(read_clips(options.clips))
    if options.out.exists():
        with np.load(options.out, allow_pickle=False) as earlier:
            arrays["basis"] = keep_signs(np.asarray(arrays["basis"]), earlier["basis"])
    with atomic_path(options.out) as temporary, temporary.open("wb") as f:
        np.savez_compressed(
            f, **{k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
        )
    write_json(options.out.with_suffix(".json"), record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
