"""What killed agents leave in /sys/fs/cgroup."""

from pathlib import Path


def remove_groups(folder):
    """Those of agents whose run_dir lies below @folder; what is in use stays."""
    name = "covey" + str(folder).replace("/", "-")
    for group in sorted(Path("/sys/fs/cgroup").glob(f"**/{name}*"), key=str, reverse=True):
        for path in [*group.glob("*/"), group]:
            try:
                path.rmdir()
            except OSError:
                pass
