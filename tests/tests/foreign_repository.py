"""A repository as other tools make it: a metadata folder for each variant and architecture, one
folder of targets, consistent snapshots, ed25519 keys, a manifest without our optional fields.

    foreign_repository.py FILES OUT VARIANT... ARCH

FILES holds the targets under their plain names and `manifest.json`; OUT gets `repo/`, `root.json`
and `keys/` with a PKCS#8 file for each key, as `openssl pkey -outform DER` writes it. Every role of
every variant is signed with the same keys."""

import hashlib
import json
import os
import sys
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives import serialization
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

files, out, *variants, arch = sys.argv[1:]
now = datetime.now(timezone.utc).replace(microsecond=0)
os.makedirs(f"{out}/keys")
os.makedirs(f"{out}/repo/targets")
signers = {}
for name in ["root", "root-2", "targets", "snapshot", "timestamp"]:
    signer = CryptoSigner.generate_ed25519()
    key = serialization.load_pem_private_key(signer.private_bytes, None)
    with open(f"{out}/keys/{name}.key", "wb") as file:
        file.write(key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ))
    signers[name] = signer

root = Root(version=1, expires=now + timedelta(days=365), consistent_snapshot=True)
for name, signer in signers.items():
    root.add_key(signer.public_key, name.removesuffix("-2"))
root.roles["root"].threshold = 2


def signed(role, *names):
    metadata = Metadata(role)
    for name in names:
        metadata.sign(signers[name], append=True)
    return metadata.to_bytes(JSONSerializer(compact=False))


root_bytes = signed(root, "root", "root-2")
with open(f"{out}/root.json", "wb") as file:
    file.write(root_bytes)

for variant in variants:
    targets = Targets(version=7, expires=now + timedelta(days=14))
    for name in sorted(os.listdir(files)):
        with open(f"{files}/{name}", "rb") as file:
            content = file.read()
        if name == "manifest.json":
            content = content.replace(b"VARIANT", variant.encode())
        info = TargetFile.from_data(name, content, ["sha256", "sha512"])
        info.unrecognized_fields["custom"] = {"made": "elsewhere", "order": [1, 2, 3]}
        targets.targets[name] = info
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{out}/repo/targets/{digest}.{name}", "wb") as file:
            file.write(content)
    folder = f"{out}/repo/{variant}/{arch}"
    os.makedirs(folder)

    def write(name, content):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(content)
        return content

    content = write("7.targets.json", signed(targets, "targets"))
    snapshot = Snapshot(
        version=6,
        expires=now + timedelta(days=14),
        meta={"targets.json": MetaFile.from_data(7, content, ["sha256"])},
    )
    content = write("6.snapshot.json", signed(snapshot, "snapshot"))
    timestamp = Timestamp(
        version=9,
        expires=now + timedelta(days=7),
        snapshot_meta=MetaFile.from_data(6, content, ["sha256"]),
    )
    write("timestamp.json", signed(timestamp, "timestamp"))
    write("1.root.json", root_bytes)
