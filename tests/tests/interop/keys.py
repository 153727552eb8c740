"""Private keys as updata reads them: keys.py FOLDER FILE:KIND..."""

import os
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

folder = sys.argv[1]
os.makedirs(folder)
for argument in sys.argv[2:]:
    name, kind = argument.split(":")
    encoding = serialization.Encoding.DER
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
        encoding = serialization.Encoding.PEM
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    with open(os.path.join(folder, name), "wb") as file:
        file.write(key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
