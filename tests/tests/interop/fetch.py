"""Reads a repository with python-tuf's client: fetch.py METADATA_URL TARGETS_URL ROOT NAME...

Prints name, length and SHA-256 of each target as downloaded and verified.
"""

import hashlib
import os
import sys
import tempfile

from tuf.ngclient import Updater

metadata, targets, root = sys.argv[1:4]
folder = tempfile.mkdtemp()
updater = Updater(folder, metadata, folder, targets, bootstrap=open(root, "rb").read())
updater.refresh()
for name in sys.argv[4:]:
    info = updater.get_targetinfo(name)
    assert info is not None, name
    path = updater.download_target(info, os.path.join(folder, "target"))
    with open(path, "rb") as file:
        content = file.read()
    print(name, len(content), hashlib.sha256(content).hexdigest())
assert updater.get_targetinfo("no-such-target") is None
