"""clang-format over all C++: the repository's .clang-format decides."""

import os
import shutil
import subprocess


def check(root, paths):
    """Returns (passed, failed); without clang-format it says so and counts nothing."""
    program = shutil.which("clang-format")
    files = [p for p in paths if p.endswith((".cc", ".h"))]
    if program is None:
        print("tests/tidy/check: no clang-format here, layout of the code not checked")
        return 0, 0
    if not files:
        return 0, 0
    jobs = os.cpu_count() or 1
    running = [
        subprocess.Popen(
            [program, "--dry-run", "-Werror", "-ferror-limit=1", *files[i::jobs]],
            cwd=root, stderr=subprocess.PIPE, text=True,
        )
        for i in range(min(jobs, len(files)))
    ]  # fmt: skip
    failed = False
    for process in running:
        _, errors = process.communicate()
        lines = [line for line in errors.splitlines() if "error:" in line]
        for line in lines:
            print(line.replace("code should be clang-formatted [-Wclang-format-violations]", "clang-format differs"))
        failed = failed or bool(lines) or process.returncode != 0
    return (0, 1) if failed else (1, 0)
