"""Certificates for the two ends of a hop, as a mesh has them: ECDSA P-256, SPIFFE URIs, one root."""

import os
import subprocess

LEAF = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=URI:spiffe://cluster.local/ns/default/sa/{name},DNS:{name}.default.svc.cluster.local
"""


def issue(directory):
    """Writes ca.pem, and NAME.pem, NAME.key and NAME-all.pem (both) of client and server."""
    root = os.path.join(directory, "ca")
    key(root)
    openssl("req", "-x509", "-new", "-key", root + ".key", "-days", "2", "-subj", "/CN=bench root", "-out", root + ".pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    for name in ("client", "server"):
        leaf = os.path.join(directory, name)
        key(leaf)
        with open(leaf + ".ext", "w") as file:
            file.write(LEAF.format(name=name))
        openssl("req", "-new", "-key", leaf + ".key", "-subj", "/CN=" + name, "-out", leaf + ".csr")
        openssl("x509", "-req", "-in", leaf + ".csr", "-CA", root + ".pem", "-CAkey", root + ".key", "-CAcreateserial",
                "-days", "1", "-extfile", leaf + ".ext", "-out", leaf + ".pem")
        with open(leaf + "-all.pem", "w") as both:
            for part in (".pem", ".key"):
                with open(leaf + part) as file:
                    both.write(file.read())


def key(path):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path + ".key")


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"openssl {arguments[0]} failed:\n{done.stderr}")
