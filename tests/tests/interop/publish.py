"""Publishes a repository with python-tuf: publish.py FOLDER METADATA_FOLDER KIND CONSISTENT

Three roots, each with other keys; two keys a role, both of which must sign; a target in a folder;
fields that nobody knows.
"""

import datetime
import hashlib
import json
import os
import sys

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

folder, metadata, kind, consistent = sys.argv[1:]
consistent = consistent == "true"
expires = datetime.datetime(2999, 1, 1, tzinfo=datetime.timezone.utc)
roles = ["root", "timestamp", "snapshot", "targets"]
generate = {
    "ed25519": CryptoSigner.generate_ed25519,
    "rsa": CryptoSigner.generate_rsa,
    "ecdsa": CryptoSigner.generate_ecdsa,
}
extra = {"x-unknown": {"list": [1, None, True, "\u00e4\"\\\n"], "empty": {}}}


def pair(kind):
    other = {"ed25519": "ecdsa", "rsa": "ed25519", "ecdsa": "rsa"}[kind]
    return [generate[kind](), generate[other]()]


def write(name, document):
    with open(os.path.join(metadata, name), "wb") as file:
        file.write(document.to_bytes(JSONSerializer(compact=kind != "rsa")))


os.makedirs(metadata)
signers = {role: pair(kind) for role in roles}
root = Root(expires=expires, consistent_snapshot=consistent, unrecognized_fields=extra)
for version in (1, 2, 3):
    old = list(signers["root"])
    if version > 1:
        for role in (["root", "timestamp"], ["root", "snapshot", "targets"])[version - 2]:
            for signer in signers[role]:
                root.revoke_key(signer.public_key.keyid, role)
            signers[role] = pair(kind)
    root.version = version
    for role in roles:
        for signer in signers[role]:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = 2
    document = Metadata(root)
    ids = set()
    for signer in old + signers["root"]:
        if signer.public_key.keyid not in ids:
            ids.add(signer.public_key.keyid)
            document.sign(signer, append=True)
    write(f"{version}.root.json", document)

manifest = json.dumps({
    "updates": [{
        "variant": "demo", "arch": os.path.basename(metadata), "version": "1.7.0",
        "max_version": "1.7.0", "waves": {},
        "images": {"boot": "b", "root": "r", "hash": "h"},
    }],
    "migrations": {},
}).encode()
targets = Targets(version=7, expires=expires, unrecognized_fields=extra)
for name, content in {
    "manifest.json": manifest,
    "plain.bin": bytes(range(256)) * 1000,
    "some dir/sub/file.bin": b"in a folder",
    "empty": b"",
}.items():
    facts = TargetFile.from_data(name, content, ["sha256", "sha512"])
    facts.unrecognized_fields = {"custom": {"note": "\u20ac"}, **extra}
    targets.targets[name] = facts
    start, _, end = name.rpartition("/")
    if consistent:
        end = hashlib.sha256(content).hexdigest() + "." + end
    path = os.path.join(folder, "targets", start, end)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def publish(role, signed):
    document = Metadata(signed)
    for signer in signers[role]:
        document.sign(signer, append=True)
    write(f"{signed.version}.{role}.json" if consistent and role != "timestamp" else f"{role}.json", document)
    return document


listed = publish("targets", targets).to_bytes(JSONSerializer(compact=kind != "rsa"))
described = MetaFile(7, len(listed), {"sha256": hashlib.sha256(listed).hexdigest()}, extra)
snapshot = Snapshot(version=5, expires=expires, meta={"targets.json": described}, unrecognized_fields=extra)
publish("snapshot", snapshot)
# Without length and digest, as the specification allows.
timestamp = Timestamp(version=9, expires=expires, snapshot_meta=MetaFile(5), unrecognized_fields=extra)
publish("timestamp", timestamp)
