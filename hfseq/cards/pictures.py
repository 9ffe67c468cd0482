"""The pictures that a card shows where they lie beside it."""

from pathlib import Path

CURVES = "curves"
CONFUSION = "confusion"
COVERAGE = "coverage"
DRAWINGS = "drawings"
CAPTIONS = "captions"
LOOKS = "attention"
FORECASTS = "forecasts"
TITLES = {
    CURVES: "Training curves",
    CONFUSION: "Confusions",
    COVERAGE: "Coverage and accuracy",
    DRAWINGS: "Drawings",
    CAPTIONS: "Pictures and what was written of them",
    LOOKS: "Where each word looks",
    FORECASTS: "Last forecasts",
}


def pictures_in(folder: str | Path) -> dict[str, str]:
    """Return the file and the title of each picture in the folder of a card."""
    files = {f"{name}.png": title for name, title in TITLES.items()}
    return {file: title for file, title in files.items() if (Path(folder) / file).is_file()}
