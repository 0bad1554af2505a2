"""A small file system of its own to fill: ext4 in a loop-mounted file, or a tmpfs where there are no loop devices."""

from __future__ import annotations

import os
import pathlib
import subprocess


class SmallDisk:
    """Needs root. `directory` is where it is mounted, inside `place`."""

    def __init__(self, place: pathlib.Path, mib: int):
        self.directory = place / "disk"
        self.directory.mkdir()
        self.kind = "ext4 in a loop-mounted file"
        image = place / "image"
        with open(image, "wb") as file:
            file.truncate(mib << 20)
        # Without the blocks that are root's: the broker under test may be root.
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        if _runs(["mount", "-o", "loop", str(image), str(self.directory)]):
            return
        self.kind = "tmpfs"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", str(self.directory)], check=True)

    def free_bytes(self) -> int:
        status = os.statvfs(self.directory)
        return status.f_bavail * status.f_frsize

    @property
    def filler(self) -> pathlib.Path:
        return self.directory / "filler"

    def fill_up_to(self, free_bytes: int) -> None:
        """Leaves that much."""
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, self.free_bytes() - free_bytes))

    def take_the_rest(self) -> None:
        """What fits in no larger piece, down to the last block."""
        with open(self.filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free_filler(self) -> None:
        self.filler.unlink()

    def unmount(self) -> None:
        _runs(["umount", str(self.directory)])


def why_not() -> str | None:
    """Why no small disk can be made here; None if one can."""
    if os.geteuid() != 0:
        return "needs root, to mount a small file system"
    return None


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
