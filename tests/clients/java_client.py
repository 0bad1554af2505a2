"""Java's clients: many calls in one JVM (java/Worker.java), and the command line tools in one JVM each."""

from __future__ import annotations

import pathlib
import subprocess

from broker import KAFKA
from client import ClientError, WorkerClient

SOURCE = pathlib.Path(__file__).with_name("java") / "Worker.java"
TOOL_TIMEOUT_S = 120


class JavaClient(WorkerClient):
    name = "java"

    def command(self) -> list[str]:
        classpath = subprocess.run(
            [str(KAFKA), "classpath"], check=True, capture_output=True, text=True
        ).stdout.strip()
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", classpath, str(SOURCE)]


def run_tool(tool: str, *arguments: str, stdin: bytes = b"") -> str:
    """Runs one of Kafka's tools; returns its standard output; raises ClientError if it failed."""
    done = subprocess.run(
        [str(KAFKA), "tool", tool, *arguments],
        input=stdin,
        capture_output=True,
        timeout=TOOL_TIMEOUT_S,
        check=False,
    )
    output = done.stdout.decode(errors="surrogateescape")
    errors = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise ClientError(f"{tool} exited {done.returncode}\n{output}\n{errors}")
    return output
