"""Verifies every metadata file in a folder with securesystemslib: signatures.py ROOT FOLDER

The signed form is its own canonical JSON. Prints the names of the files.
"""

import json
import os
import sys

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signature

with open(sys.argv[1], "rb") as file:
    root = json.load(file)["signed"]
for name in sorted(os.listdir(sys.argv[2])):
    with open(os.path.join(sys.argv[2], name), "rb") as file:
        document = json.load(file)
    signed = document["signed"]
    role = root["roles"][signed["_type"]]
    message = encode_canonical(signed).encode()
    valid = set()
    for signature in document["signatures"]:
        keyid = signature["keyid"]
        assert keyid in role["keyids"], (name, keyid)
        key = Key.from_dict(keyid, json.loads(json.dumps(root["keys"][keyid])))
        key.verify_signature(Signature(keyid, signature["sig"]), message)
        valid.add(keyid)
    assert len(valid) >= role["threshold"], name
    assert signed["spec_version"].startswith("1."), name
    print(name)
