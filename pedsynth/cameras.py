"""The cameras of each domain: crop sizes, light, blur and scenes, which differ between the three benchmarks."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Camera:
    """How pictures of one camera look. Ranges are (low, high), drawn evenly for each picture."""

    width: tuple = (50, 120)  # px of the crop
    ratio: tuple = (2.2, 3.1)  # height / width
    fill: tuple = (0.86, 0.99)  # height of the person as a share of the crop's
    shift: float = 0.06  # largest sideways shift, in widths of the crop
    tilt: tuple = (0.0, 0.2)  # from level to seen from above
    detail: tuple = (0.6, 1.0)  # resolution of the sensor relative to the crop's
    blur: tuple = (0.0, 0.9)  # px
    light: tuple = (0.65, 1.2)
    contrast: tuple = (0.75, 1.1)
    tint: tuple = (0, 0, 0)  # mean shift of red, green and blue
    cast: int = 8  # largest random shift of a channel, added to `tint`
    scene: str = "street"  # a key of `scene.SCENES`
    clutter: int = 6  # things in the background
    passer_by: float = 0.3  # chance of another person behind
    occluder: float = 0.1  # chance of something in front
    jpeg: tuple = (55, 92)


_STREET = Camera(fill=(0.82, 1.06), shift=0.1, detail=(0.25, 0.65), light=(0.55, 1.25), occluder=0.18)
_CAMPUS = Camera(
    width=(64, 64), ratio=(2.0, 2.0), fill=(0.8, 1.2), shift=0.14, tilt=(0.05, 0.2), detail=(0.32, 0.55),
    blur=(0.2, 1.2), light=(0.75, 1.35), contrast=(0.8, 1.1), tint=(6, 4, -8), scene="campus", clutter=4,
    occluder=0.22, jpeg=(80, 95),
)  # fmt: skip
_OLD = Camera(fill=(0.8, 0.96), light=(0.55, 1.1), contrast=(0.7, 1.05), cast=10, jpeg=(70, 95))

CAMERAS = {
    "pa100k": (
        _STREET,
        replace(_STREET, tilt=(0.15, 0.32), scene="square", light=(0.8, 1.25)),
        replace(_STREET, width=(70, 130), light=(0.45, 0.9), blur=(0.2, 1.1), tint=(4, 0, -6)),
        replace(_STREET, scene="hall", tint=(8, 4, -12), tilt=(0.1, 0.28)),
    ),
    "market1501": (
        _CAMPUS,
        replace(_CAMPUS, tint=(-4, 2, 8), light=(0.8, 1.15)),
        replace(_CAMPUS, light=(0.6, 1.0), tint=(10, 6, -14)),
        replace(_CAMPUS, scene="square", light=(1.05, 1.4)),
        replace(_CAMPUS, contrast=(0.7, 0.95), tint=(2, 8, 0)),
        replace(_CAMPUS, detail=(0.25, 0.4), tint=(-6, -2, 6)),  # the sixth, of low resolution
    ),
    "peta": (  # by sub-dataset, in the release's numbering
        replace(_OLD, width=(36, 90), ratio=(1.9, 2.9), tilt=(0.1, 0.3), scene="square"),  # 3DPeS
        replace(_OLD, width=(24, 60), ratio=(2.0, 2.7), detail=(0.5, 0.8), blur=(0.3, 1.0), scene="hall"),  # CAVIAR
        replace(_OLD, width=(80, 80), ratio=(2.0, 2.0), tilt=(0.1, 0.25), light=(0.7, 1.2), scene="campus"),  # CUHK
        replace(_OLD, width=(29, 90), ratio=(2.0, 2.8), detail=(0.4, 0.7), light=(0.4, 0.8), scene="hall"),  # GRID
        replace(_OLD, width=(32, 76), ratio=(2.2, 2.9), tint=(4, 2, -4), detail=(0.5, 0.9), scene="hall"),  # i-LID
        replace(_OLD, width=(64, 64), ratio=(2.0, 2.0), fill=(0.72, 0.84), detail=(0.7, 1.0)),  # MIT
        replace(_OLD, width=(64, 64), ratio=(2.0, 2.0), light=(0.5, 0.9), tint=(-6, -2, 6), tilt=(0.15, 0.3)),  # PRID
        replace(_OLD, width=(54, 150), ratio=(1.8, 2.5), tilt=(0.0, 0.1), scene="square"),  # SARC3D
        replace(_OLD, width=(44, 110), ratio=(2.1, 2.8), tilt=(0.1, 0.25), light=(0.7, 1.2)),  # TownCentre
        replace(_OLD, width=(48, 48), ratio=(2.67, 2.67), detail=(0.6, 0.9), cast=16),  # VIPeR
    ),
    "mixed": (
        Camera(width=(48, 128), ratio=(1.9, 3.2), fill=(0.8, 1.02), shift=0.09, tilt=(0.0, 0.32), detail=(0.4, 1.0),
               cast=16, light=(0.5, 1.3), jpeg=(50, 95)),
        Camera(width=(40, 96), ratio=(1.9, 2.8), fill=(0.75, 1.05), scene="campus", light=(0.8, 1.35), detail=(0.4, 1)),
        Camera(width=(40, 110), ratio=(1.9, 3.0), scene="hall", light=(0.45, 1.0), tilt=(0.0, 0.3), cast=16),
        Camera(width=(48, 110), ratio=(2.0, 3.0), scene="square", tilt=(0.1, 0.32), cast=14),
    ),
}  # fmt: skip
