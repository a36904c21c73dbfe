"""
Writes the dashboards as JSON, and copies them and the rules into the Helm chart.

    python grafana/make.py            # after each change in boards or rules
    python grafana/make.py --check    # names what was forgotten; a test does this
"""  # noqa: INP001 - a script, no package

import json
import sys
from pathlib import Path
from typing import Any

from boards import overview, step_group, workflow
from grafana_foundation_sdk.cog.encoder import JSONEncoder

HERE = Path(__file__).parent
ROOT = HERE.parent
CHART = ROOT / "helm" / "fleet" / "files"
PAGES = (overview.build(), workflow.build(), step_group.build())


def files() -> dict[Path, str]:
    """Return the text of each file that is made."""
    dashboards = {f"dashboards/{page.name}.json": _json(page.build()) for page in PAGES}
    rules = {f"rules/{path.name}": path.read_text() for path in (HERE / "rules").glob("*.yaml")}
    made = {HERE / name: text for name, text in dashboards.items()}
    return made | {CHART / name: text for name, text in (dashboards | rules).items()}


def stale() -> list[Path]:
    """Return the files that are missing, differ from what is made, or are made no more."""
    wanted = files()
    folders = {path.parent for path in wanted}
    there = {path for folder in folders for path in folder.glob("*") if path.is_file()}
    differing = {path for path, text in wanted.items() if not _is(path, text)}
    sources = set((HERE / "rules").glob("*"))
    return sorted(differing | (there - wanted.keys() - sources))


def write() -> None:
    """Bring every file to what is made."""
    wanted = files()
    for path in stale():
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def _json(dashboard: Any) -> str:
    plain = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    return json.dumps(_visible(plain), indent=2, sort_keys=True) + "\n"


def _visible(value: Any) -> Any:
    """Take out the library's default that hides links and annotations in a menu."""
    if isinstance(value, list):
        return [_visible(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _visible(each) for name, each in value.items() if each != "inControlsMenu"}


def main() -> None:
    """Write, or with --check only look."""
    changed = stale()
    for path in changed:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if "--check" in sys.argv:
        sys.exit(1 if changed else 0)
    write()


if __name__ == "__main__":
    main()
