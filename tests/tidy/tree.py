"""The files that the rules look at, in memory, so that a plant is a tree of its own."""

import dataclasses

# Only for these the content is read; what else there is, is known by its path.
TEXT_SUFFIXES = {
    ".cc", ".h", ".py", ".java", ".sh", ".md", ".txt", ".api", ".record", ".yaml", ".yml", ".json", ".ini", ".cmake",
    ".toml", "",
}  # fmt: skip
CODE_SUFFIXES = {".cc", ".h", ".py", ".java", ".sh", ".api", ".record", ".cmake"}


@dataclasses.dataclass(frozen=True)
class Violation:
    path: str
    line: int
    rule: str
    what: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.what}"


@dataclasses.dataclass(frozen=True)
class File:
    path: str
    # None: not text.
    text: "str | None"

    @property
    def directory(self):
        return self.path.rpartition("/")[0]

    @property
    def name(self):
        return self.path.rpartition("/")[2]

    @property
    def stem(self):
        return self.name.partition(".")[0]

    @property
    def suffix(self):
        stem, dot, suffix = self.name.rpartition(".")
        return dot + suffix if stem else ""

    @property
    def lines(self):
        return (self.text or "").splitlines()

    @property
    def is_cpp(self):
        return self.suffix in (".cc", ".h")

    @property
    def is_bash(self):
        return self.text is not None and self.text.startswith("#!") and "bash" in self.lines[0]

    @property
    def is_python(self):
        return self.suffix == ".py" or (
            self.text is not None and self.text.startswith("#!") and "python" in self.lines[0]
        )

    @property
    def is_code(self):
        return self.suffix in CODE_SUFFIXES or self.is_bash or self.is_python


class Tree:
    def __init__(self, files):
        self.files = files

    @classmethod
    def read(cls, root, paths):
        return cls([cls._read_file(root, path) for path in paths])

    @staticmethod
    def _read_file(root, path):
        file = File(path, None)
        if file.suffix not in TEXT_SUFFIXES:
            return file
        try:
            return File(path, (root / path).read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            return file

    def with_suffix(self, *suffixes):
        return [f for f in self.files if f.suffix in suffixes and f.text is not None]
