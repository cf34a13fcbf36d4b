"""The source files that the lints look at: tracked or new, but never ignored, files of the tree."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = ("base", "mmu", "cpu", "devices", "vmm", "machine", "frontend")


def files(folders, endings):
    """Paths relative to ROOT below the given folders with one of the endings, sorted."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "--"] + list(folders),
            cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):  # a release archive, not a checkout
        listed = [os.path.relpath(os.path.join(folder, name), ROOT)
                  for top in folders
                  for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names]
    return sorted(path for path in set(listed)
                  if path.endswith(endings) and os.path.isfile(os.path.join(ROOT, path)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()
