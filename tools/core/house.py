"""The files of the book as the checker reads them, and the faults that it finds."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, order=True)
class Fault:
    """One thing to mend: where it is and how to mend it."""

    file: str  # relative to the root, with forward slashes
    line: int
    message: str

    def __str__(self) -> str:
        """Print as `file:line: message`, which editors turn into a link."""
        return f"{self.file}:{self.line}: {self.message}"


@dataclass
class House:
    """A repository, or the small one of a test, and what was found in it."""

    root: Path
    records: Path | None = None  # folder of the labs' records; None before they ran
    ran: list[str] | None = None  # labs that were run; None if all were
    faults: list[Fault] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def blame(self, file: str, line: int, message: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(file, line, message))

    def has(self, file: str) -> bool:
        """Tell whether the file is there."""
        return (self.root / file).is_file()

    def files(self, pattern: str) -> list[str]:
        """Name the files that match, in order."""
        found = sorted(p for p in self.root.glob(pattern) if p.is_file())
        return [path.relative_to(self.root).as_posix() for path in found]

    def read(self, file: str) -> str:
        """Read a file; a byte that is not UTF-8 is a fault and reads as �."""
        if file not in self.texts:
            raw = (self.root / file).read_bytes()
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                line = raw.count(b"\n", 0, error.start) + 1
                what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
                self.blame(file, line, f"{what}, save the file as UTF-8")
            self.texts[file] = raw.decode("utf-8", "replace").replace("\r\n", "\n")
        return self.texts[file]

    def recorded(self, stem: str) -> bool:
        """Tell whether the lab ran and left a record."""
        wanted = self.records and (self.ran is None or stem in self.ran)
        return bool(wanted and (self.records / f"{stem}.json").is_file())

    @cached_property
    def architectures(self) -> list[str]:
        """Name the architectures: each has a snippet."""
        return [Path(file).stem for file in self.files("snippets/[!_]*.py")]
