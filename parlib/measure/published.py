"""Others' numbers, with where they were printed. None of them was run here.

Percent, instance-based scores, threshold and selection as each author chose (most pick the epoch on test). PA-100K and
PETA columns are mA / accuracy / precision / recall / F1 as printed by the authors or by OpenPAR's comparison tables.
"""

from typing import Any

COLUMNS = ("mA", "accuracy", "precision", "recall", "f1")
VLM_PAR_CAVEAT = "metric unclear: the authors' public code computes plain accuracy"

# method, venue, backbone, PA-100K, PETA; None is not printed.
_ROWS: list[Any] = [
    ("DeepMAR", "ACPR 2015", "CaffeNet", (72.70, 70.39, 82.24, 80.42, 81.32), (82.6, 75.07, 83.68, 83.14, 83.41)),
    ("Rethinking-of-PAR", "2021", "R50", (80.21, 79.15, 87.79, 87.01, 87.40), (83.96, 78.65, 87.08, 85.62, 86.35)),
    ("Rethinking-of-PAR + EMA", "2021", "R50", (81.97, 80.20, 88.06, 88.17, 88.11), None),
    ("DRFormer", "NC 2022", "ViT-B", (82.47, 80.27, 87.60, 88.49, 88.04), (89.96, 81.30, 85.68, 91.08, 88.30)),
    ("DAFL", "AAAI 2022", "R50", (83.54, 80.13, 87.01, 89.19, 88.09), (87.07, 78.88, None, None, 86.40)),
    ("VTB", "TCSVT 2022", "ViT-B", (83.72, 80.89, 87.88, 89.30, 88.21), (85.31, 79.60, 86.76, 87.17, 86.71)),
    ("PARFormer-L", "TCSVT 2023", "Swin-L", (84.46, 81.13, 88.09, 91.67, 88.52), (89.32, 82.86, 88.06, 91.98, 89.06)),
    ("SOLIDER", "CVPR 2023", "Swin-B", (86.37, None, None, None, None), None),
    ("HAP", "NeurIPS 2023", "ViT-B", (86.54, None, None, None, None), (88.36, None, None, None, None)),
    (
        "PromptPAR",
        "TCSVT 2024",
        "CLIP ViT-L/14",
        (87.47, 83.78, 89.27, 91.70, 90.15),
        (88.76, 82.84, 89.04, 89.74, 89.18),
    ),
    ("Hulk", "2023", "ViT-L", (88.97, None, None, None, None), None),
    ("FRDL + GOAT", "ICML 2024", "ConvNeXt-B", (89.44, None, None, None, 88.05), (88.59, None, None, None, 89.03)),
    ("PATH", "CVPR 2023", "ViT-L", (90.8, None, None, None, None), None),
    (
        "SequencePAR",
        "PR 2025",
        "CLIP ViT-L/14",
        (None, 83.94, 90.38, 90.23, 90.10),
        (None, 84.92, 90.44, 90.73, 90.46),
    ),
    ("LLM-PAR", "AAAI 2025", "", (91.09, 84.12, 87.73, 94.09, 90.41), (92.25, 84.59, 88.41, 92.94, 90.39)),
]
# The paper's own claim, printed as "mA"; it never enters the mA column.
VLM_PAR_CLAIM = {"pa100k": 92.88, "peta": 93.52, "market1501": 85.38}


# Market-1501 has no table of instance-based scores to copy from: plain accuracy over 30 binaries is what is printed.
_MARKET = {
    "method": "ResNet-50",
    "venue": "",
    "backbone": "R50",
    "scores": {"plain_accuracy": 93.61},
    "protocol": "market-30",
    "caveat": "prints F1 64.92 as the mean over attributes, which is no instance-based F1",
}
# The protocol of `parlib.measure.PROTOCOLS` a row was made with, where its authors' code is known to follow one.
_PROTOCOL = {"DeepMAR": "deepmar", "Rethinking-of-PAR": "rethinking", "Rethinking-of-PAR + EMA": "rethinking"}
_PROTOCOL |= dict.fromkeys(("PromptPAR", "SequencePAR", "LLM-PAR"), "openpar")


def published(benchmark: str) -> list[dict[str, Any]]:
    """Rows for one benchmark: dicts of method, venue, backbone, scores in percent, protocol, caveat.

    A score that was not printed is None or absent; `protocol` is "not stated" where no code says it.
    """
    column = {"pa100k": 3, "peta": 4}.get(benchmark)
    rows: list[dict[str, Any]] = [dict(_MARKET)] if benchmark == "market1501" else []
    for row in _ROWS if column else []:
        if row[column]:
            about: dict[str, Any] = {"method": row[0], "venue": row[1], "backbone": row[2], "caveat": ""}
            about["scores"] = dict(zip(COLUMNS, row[column], strict=True))
            rows.append({**about, "protocol": _PROTOCOL.get(row[0], "not stated")})
    if benchmark in VLM_PAR_CLAIM:
        caveat = f'printed as "mA" {VLM_PAR_CLAIM[benchmark]}; {VLM_PAR_CAVEAT}'
        about = {"method": "VLM-PAR", "venue": "2025", "backbone": "SigLIP 2 frozen", "scores": {}, "caveat": caveat}
        rows.append({**about, "protocol": "not stated"})
    return rows
