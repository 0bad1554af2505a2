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
            [program, "--dry-run", "-Werror", *files[i::jobs]],
            cwd=root, stderr=subprocess.PIPE, text=True,
        )
        for i in range(min(jobs, len(files)))
    ]  # fmt: skip
    failed = False
    for process in running:
        _, errors = process.communicate()
        places = [line.split(": error:")[0] for line in errors.splitlines() if ": error:" in line]
        # The first place in each file is enough: `clang-format -i FILE` mends them all.
        for path, line in {place.split(":")[0]: place.split(":")[1] for place in reversed(places)}.items():
            print(f"{path}:{line}: clang-format: differs")
        failed = failed or process.returncode != 0
    return (0, 1) if failed else (1, 0)
