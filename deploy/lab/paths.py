"""Where the lab keeps its things: every path below `.lab/`, in one place.

Owns names only. Nothing here touches the disk, so any module and any test may import it.
"""

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class LabPaths:
    """The folders and files of one lab, which lives wholly below `base`."""

    base: Path
    project: Path

    @property
    def root(self) -> Path:
        """The Debian root file system that the real servers run in."""
        return self.base / "root"

    @property
    def root_stamp(self) -> Path:
        """Says which recipe `root` was built from."""
        return self.root / "etc" / "evercall-recipe"

    @property
    def etc(self) -> Path:
        """Rendered configuration."""
        return self.base / "etc"

    @property
    def var(self) -> Path:
        """Data that must survive a restart: databases, the broker's queues, generated audio."""
        return self.base / "var"

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def run(self) -> Path:
        """Sockets and process ids of what runs now."""
        return self.base / "run"

    @property
    def bin(self) -> Path:
        """Wrappers by which our services call tools that exist only inside the root file system."""
        return self.base / "bin"

    @property
    def settings(self) -> Path:
        return self.base / "settings.toml"

    @property
    def secrets(self) -> Path:
        return self.base / "secrets.json"

    @property
    def lock(self) -> Path:
        """Held while one command changes the lab, so that two never do at once."""
        return self.base / "lock"

    @property
    def supervisor_config(self) -> Path:
        return self.etc / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def venv_python(self) -> Path:
        return self.project / ".venv" / "bin" / "python"


def lab_paths(project: Path = PROJECT) -> LabPaths:
    """The lab of a checkout."""
    return LabPaths(base=project / ".lab", project=project)
