"""Where packages come from is the machine's to say: no address of a registry or a mirror stands in the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# With brackets around a dot each, so that this file is not found.
HOSTS = re.compile(
    r"registry[.]npmjs|registry[.]yarnpkg|npmmirror[.]com|unpkg[.]com|jsdelivr[.]net"
    r"|(deb|ftp|http|archive|security|snapshot|packages|cdn)[.](\w+[.])?(debian|ubuntu)[.](org|com)"
    r"|pypi[.]org|pypi[.]python[.]org|pythonhosted[.]org|conda[.]anaconda|proxy[.]golang|crates[.]io"
)


def test_no_file_names_a_registry_or_a_mirror():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    found = []
    for name in filter(None, tracked.stdout.split("\0")):
        path = REPOSITORY / name
        if not path.is_file():  # deleted, and not yet committed
            continue
        for number, line in enumerate(path.read_bytes().decode("utf-8", "ignore").splitlines(), start=1):
            if HOSTS.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found


def test_the_search_finds_what_it_is_for():
    assert HOSTS.search("https://" + "registry." + "npmjs.org/x")
    assert HOSTS.search("http://" + "deb." + "debian.org/debian")
    assert HOSTS.search("http://" + "archive." + "ubuntu.com/ubuntu")
    assert not HOSTS.search("a Debian mirror, or the registry that npm's configuration names")
