"""A small certificate authority made with the openssl command line: ECDSA P-256, SPIFFE names."""

import os
import subprocess

TRUST_DOMAIN = "cluster.local"


def _openssl(*arguments, cwd):
    result = subprocess.run(
        ["openssl", *arguments], cwd=cwd, capture_output=True, text=True, timeout=30
    )
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")


class Authority:
    """Certificates in one directory: NAME.pem (leaf), NAME.key, and the root as CA.pem."""

    def __init__(self, directory, name="ca"):
        self.directory = directory
        self.name = name
        os.makedirs(directory, exist_ok=True)
        self._key(name)
        _openssl(
            "req", "-x509", "-new", "-key", f"{name}.key", "-sha256", "-days", "30",
            "-subj", f"/O=mesh/CN={name} root", "-out", f"{name}.pem",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=directory,
        )

    def _key(self, name):
        _openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", f"{name}.key", cwd=self.directory,
        )

    def path(self, file):
        return os.path.join(self.directory, file)

    @property
    def root(self):
        return self.path(f"{self.name}.pem")

    def issue(self, name, uri=None, dns=(), days=2, file=None):
        """Issues a leaf for `spiffe://cluster.local/ns/default/sa/NAME` unless told otherwise."""
        file = file or name
        uri = uri or f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"
        names = [f"URI:{uri}"] + [f"DNS:{n}" for n in (dns or [f"{name}.default.svc"])]
        self._key(file)
        _openssl(
            "req", "-new", "-key", f"{file}.key", "-subj", f"/O=mesh/CN={name}",
            "-out", f"{file}.csr", cwd=self.directory,
        )
        with open(self.path(f"{file}.ext"), "w") as extensions:
            extensions.write(
                "basicConstraints=critical,CA:FALSE\n"
                "keyUsage=critical,digitalSignature\n"
                "extendedKeyUsage=serverAuth,clientAuth\n"
                f"subjectAltName={','.join(names)}\n"
            )
        _openssl(
            "x509", "-req", "-in", f"{file}.csr", "-CA", f"{self.name}.pem",
            "-CAkey", f"{self.name}.key", "-set_serial", str(int.from_bytes(os.urandom(8)) >> 1),
            "-days", str(days), "-sha256", "-extfile", f"{file}.ext", "-out", f"{file}.pem",
            cwd=self.directory,
        )
        return self

    def pair(self, name):
        """The `tls_certificates` entry of an Envoy file for this leaf."""
        return {
            "certificate_chain": {"filename": self.path(f"{name}.pem")},
            "private_key": {"filename": self.path(f"{name}.key")},
        }


def mesh(directory):
    """The usual cast: one mesh root with client, server, intruder; a foreign root with `rogue`,
    who claims to be the client."""
    authority = Authority(directory)
    for name in ("client", "server", "intruder"):
        authority.issue(name)
    Authority(directory, "foreign").issue("client", file="rogue")
    return authority
