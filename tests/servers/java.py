"""How the servers written in Java are started: light, and from the jars that `tests/servers/setup` fetched."""

import shutil
from pathlib import Path

from tests.servers.process import ServerFailed


def java(
    jars: str, main: str, *arguments: str, folder: Path, max_heap: str, properties: tuple[str, ...] = ()
) -> list[str]:
    """A `java` command that unpacks its native libraries in `folder`.

    The quick compiler and the serial collector start fastest and need least.
    """
    program = shutil.which("java")
    if program is None:
        raise ServerFailed("java is not on this machine: run tests/servers/setup")
    light = (
        f"-Xmx{max_heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        f"-Djava.io.tmpdir={folder}",
        "-Djava.net.preferIPv4Stack=true",
    )
    return [program, *light, *properties, "-cp", jars, main, *arguments]


def all_jars(*folders: Path) -> str:
    return ":".join(f"{folder}/*" for folder in folders)
