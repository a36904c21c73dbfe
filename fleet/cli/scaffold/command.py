"""What `fleet init` does: write the package, and say what to do next."""

import shlex
from pathlib import Path

from fleet.cli.scaffold import new_package
from fleet.cli.shared import terminal


def write(name: str, folder: Path) -> None:
    """Write the package *name* into *folder*, and print the folder."""
    files = new_package.write(name, folder)
    terminal.echo(folder)
    terminal.say(_next(name, folder, len(files)))


def _next(name: str, folder: Path, files: int) -> str:
    commands = [
        *([] if folder.resolve() == Path.cwd() else [(f"cd {shlex.quote(str(folder))}", "")]),
        ("pip install -e '.[test]'", ""),
        ("pytest", "in memory, and on Kafka"),
        ("fleet dev up", "a Kafka that stays"),
        (f"faust -A {name}.flows worker -l info", "leave it running"),
        ("fleet run hello name=Ada", "in another terminal"),
        (f"fleet draw {name}.flows:Hello", "a picture of it"),
    ]
    width = max(len(command) for command, _ in commands)
    lines = [
        f"  {command:{width}}  {f'# {why}' if why else ''}".rstrip() for command, why in commands
    ]
    return "\n".join([f"Wrote {files} files. Next:", "", *lines])
