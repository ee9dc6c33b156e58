"""Pictures of published series with the changes that people marked and those that the detector finds.

    KSWATCH_REFERENCE=FOLDER python -m tests.benchmarks.change_points.pictures    # docs/change_points/*.svg

The series are of SAP/performance-regression-data-set (hana/large_2022), CC-BY-4.0; see the README in FOLDER.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kswatch.ci.change_points import change_points
from tests.ci.change_points.scoring import load_scorer

FOLDER = Path(__file__).parents[3] / "docs" / "change_points"
SERIES = {
    "steps": "sap_8330_split1",
    "short_levels": "sap_8984_split2",
    "return": "sap_6920_split2",
    "modes": "sap_4001_split1",
    "modes_unmarked": "sap_4417_split1",
    "rounded": "sap_10715_split2",
    "rare_outliers": "sap_3654_split1",
    "recovery": "sap_8192_split1",
    "trend": "sap_2097_split1",
    "wander": "sap_7099_split1",
    "faint": "sap_5091_split2",
    "many_small": "sap_889_split1",
}
"""Names of the pictures, and of their series."""
WIDTH, HEIGHT, MARGIN = 900, 150, 8


def vertical(at: int, points: int, colour: str, width: float, opacity: float) -> str:
    """A line before the point with this index."""
    x = (at - 0.5) * WIDTH / (points - 1)
    attributes = f'stroke="{colour}" stroke-width="{width}" opacity="{opacity}"'
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}" {attributes}/>'


def picture(series: Sequence[float], marked: Sequence[int], found: Sequence[int]) -> str:
    """An SVG; values beyond the range of most are drawn at its edge."""
    values = np.asarray(series)
    low, high = np.quantile(values, (0.003, 0.997))
    reach = (high - low) * 0.2 or 1.0
    share = (np.clip(values, low - reach, high + reach) - low + reach) / (high - low + 2 * reach)
    ys = HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)
    xs = np.arange(len(values)) * WIDTH / (len(values) - 1)
    path = " ".join(f"{x:.1f},{y:.0f}" for x, y in zip(xs, ys, strict=True))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *(vertical(at, len(values), "#2ca02c", 7, 0.45) for at in marked),
            f'<polyline points="{path}" fill="none" stroke="#333" stroke-width="0.7"/>',
            *(vertical(at, len(values), "#d62728", 1.5, 1) for at in found),
            "</svg>\n",
        ]
    )


def pictures(reference: Path) -> dict[str, str]:
    """By file name."""
    loaded = load_scorer(reference).SETS["sap_human_dev"]()
    by_name = {name: (series, marked) for name, series, (marked,) in loaded}
    return {
        f"{kind}.svg": picture(*by_name[name], change_points(by_name[name][0]))
        for kind, name in SERIES.items()
    }


def main() -> None:
    reference = os.environ.get("KSWATCH_REFERENCE")
    if not reference:
        raise SystemExit("KSWATCH_REFERENCE is unset: it names the folder of published data")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pictures(Path(reference)).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
