"""A small certificate authority made with the openssl command line: ECDSA P-256, SPIFFE names."""

import base64
import hashlib
import os
import ssl
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

    def issue(self, name, uri=None, dns=(), days=2, file=None, names=None, subject=None,
              usage="digitalSignature", purpose="serverAuth,clientAuth", is_ca=False, serial=None, signer=None):
        """Issues a leaf for `spiffe://cluster.local/ns/default/sa/NAME` unless told otherwise.

        `names` are the subject alternative names in openssl's words, in place of the usual two.
        `signer` is the file name of another authority in the same directory.
        """
        file = file or name
        signer = signer or self.name
        uri = uri or f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"
        if names is None:
            names = [f"URI:{uri}"] + [f"DNS:{n}" for n in (dns or [f"{name}.default.svc"])]
        self._key(file)
        _openssl(
            "req", "-new", "-key", f"{file}.key", "-subj", subject or f"/O=mesh/CN={name}",
            "-out", f"{file}.csr", cwd=self.directory,
        )
        extensions = [f"basicConstraints=critical,CA:{str(is_ca).upper()}"]
        extensions += [f"keyUsage=critical,{usage}"] if usage else []
        extensions += [f"extendedKeyUsage={purpose}"] if purpose else []
        extensions += [f"subjectAltName={','.join(names)}"] if names else []
        with open(self.path(f"{file}.ext"), "w") as text:
            text.write("\n".join(extensions) + "\n")
        _openssl(
            "x509", "-req", "-in", f"{file}.csr", "-CA", f"{signer}.pem",
            "-CAkey", f"{signer}.key", "-set_serial", str(serial or int.from_bytes(os.urandom(8)) >> 1),
            "-days", str(days), "-sha256", "-extfile", f"{file}.ext", "-out", f"{file}.pem",
            cwd=self.directory,
        )
        return self

    def bundle(self, file, *parts):
        """Joins PEM files of this directory into `file`."""
        with open(self.path(file), "w") as joined:
            for part in parts:
                with open(self.path(part)) as text:
                    joined.write(text.read())
        return self

    def revoke(self, file, *revoked, signer=None):
        """Writes a revocation list of `signer` to `file` that names these leaves."""
        signer = signer or self.name
        database = f"{file}.db"
        with open(self.path(database), "w"), open(self.path(f"{database}.attr"), "w"):
            pass
        with open(self.path(f"{file}.conf"), "w") as text:
            text.write(
                "[ca]\ndefault_ca=d\n[d]\n"
                f"database={database}\ndefault_md=sha256\ndefault_crl_days=30\n"
            )
        common = ["-config", f"{file}.conf", "-cert", f"{signer}.pem", "-keyfile", f"{signer}.key"]
        for name in revoked:
            _openssl("ca", *common, "-revoke", f"{name}.pem", cwd=self.directory)
        _openssl("ca", *common, "-gencrl", "-out", file, cwd=self.directory)
        return self

    def fingerprint(self, name):
        """SHA-256 of a certificate in hexadecimal."""
        with open(self.path(f"{name}.pem")) as text:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text.read())).hexdigest()

    def key_fingerprint(self, name):
        """SHA-256 of a certificate's public key in base64."""
        result = subprocess.run(
            ["openssl", "pkey", "-in", f"{name}.key", "-pubout", "-outform", "DER"],
            cwd=self.directory, capture_output=True, timeout=30, check=True,
        )
        return base64.b64encode(hashlib.sha256(result.stdout).digest()).decode()

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
    unusual(authority)
    return authority


def unusual(authority):
    """Leaves that differ from the usual ones in one thing each."""
    authority.issue("email", names=["email:ops@mesh.test"])
    authority.issue("ip", names=["IP:10.1.2.3", "IP:fd00::7"])
    authority.issue("wild", names=["DNS:*.wild.test", "DNS:wild.test"])
    authority.issue("many", names=["URI:spiffe://a/1", "URI:spiffe://b/2", "DNS:One.Test", "DNS:two.test", "email:m@x.test", "IP:10.0.0.9"])
    authority.issue("nameless", names=[], subject="/CN=nameless.test")
    authority.issue("expired", days=-1)
    authority.issue("revoked")
    authority.issue("encrypting", usage="keyEncipherment")
    authority.issue("serveronly", purpose="serverAuth")
    authority.issue("odd", subject="/O=a, \"b\" c;d/CN=x=y #z", serial=1)
    authority.issue("middle", names=[], usage="keyCertSign,cRLSign", purpose=None, is_ca=True)
    authority.issue("below", signer="middle", file="below-leaf")
    authority.bundle("below.pem", "below-leaf.pem", "middle.pem")
    authority.bundle("below.key", "below-leaf.key")
    authority.revoke("ca.crl", "revoked")
    authority.revoke("middle.crl", signer="middle")
    authority.bundle("both.crl", "ca.crl", "middle.crl")
