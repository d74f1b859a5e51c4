#!/usr/bin/env python3
"""Makes record.json: consistency proofs and a signed note, computed without any of the console's code.

The tree follows RFC 6962 §2.1 by its recursive definition over hashlib; the signature is OpenSSL's.
Run it in this folder only to make the vectors anew: the key differs each time, the proofs do not.
"""
import base64
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path


def sha(data):
    return hashlib.sha256(data).digest()


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(leaves):
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    k = split(len(leaves))
    return sha(b"\1" + root(leaves[:k]) + root(leaves[k:]))


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return subproof(m, leaves[:k], whole) + [root(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [root(leaves[:k])]


def b64(data):
    return base64.b64encode(data).decode()


def signed_note(text, name):
    with tempfile.TemporaryDirectory() as folder:
        key, message = Path(folder, "key.pem"), Path(folder, "message")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
        spki = subprocess.run(
            ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True
        ).stdout
        message.write_bytes(text.encode())
        signature = subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message], check=True, capture_output=True
        ).stdout
    public = b"\1" + spki[-32:]
    key_id = sha(name.encode() + b"\n" + public)[:4]
    return {
        "key": f"{name}+{key_id.hex()}+{b64(public)}",
        "note": f"{text}\n\u2014 {name} {b64(key_id + signature)}\n",
    }


leaves = [f"event {idx}".encode() for idx in range(130)]
pairs = [(m, n) for n in range(1, 18) for m in range(1, n + 1)]
pairs += [(1, 130), (64, 130), (65, 130), (127, 130), (128, 130), (129, 130), (100, 101)]
origin = "palisade.example/record"
vectors = {
    "roots": {str(n): b64(root(leaves[:n])) for n in sorted({size for pair in pairs for size in pair})},
    "proofs": [
        {"from": m, "to": n, "hashes": [b64(h) for h in subproof(m, leaves[:n], True)]} for m, n in pairs
    ],
    "signed": signed_note(f"{origin}\n130\n{b64(root(leaves))}\n", origin),
}
Path("record.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
