"""An authority of the tests' own and certificates that it signed, made by OpenSSL."""

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str) -> Path:
    """Make `name.pem` and its key; return the former."""
    certificate = folder / f"{name}.pem"
    _openssl("req", "-x509", *_KEY, "-keyout", folder / f"{name}.key", "-out", certificate, "-subj", f"/CN={name}")
    return certificate


def make_certificate(authority: Path, name: str, alternatives: str) -> Path:
    """Make `name.pem` and `name.key` beside the authority, for hosts such as `DNS:localhost`."""
    folder = authority.parent
    request, certificate, extension = (folder / f"{name}.{kind}" for kind in ("csr", "pem", "ext"))
    extension.write_text(f"subjectAltName={alternatives}\n")
    _openssl("req", *_KEY, "-keyout", folder / f"{name}.key", "-out", request, "-subj", f"/CN={name}")
    signer = ("-CA", authority, "-CAkey", authority.with_suffix(".key"), "-CAcreateserial")
    _openssl("x509", "-req", "-in", request, *signer, "-out", certificate, "-extfile", extension)
    return certificate


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
