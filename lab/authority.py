# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for the devices of one lab."""

import datetime
import ipaddress
import pathlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509

from lab.embedded import plan as embedded

# A lab may be kept for a while, and nobody renews anything in it.
LIFETIME = datetime.timedelta(days=365)


class Authority:
    """Signs certificates; its own is ``certificate``, to be trusted."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._own = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> str:
        return _pem(self._own)

    def write(self, directory: pathlib.Path, name: str, address: str) -> None:
        """Write a certificate for an address, and its key, as NAME.crt/key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.IPAddress(ipaddress.ip_address(address))
        made = (
            _builder(_named(name), self._name, key)
            .add_extension(
                x509.SubjectAlternativeName([alternative]), critical=False
            )
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        embedded.write_secret(directory / f'{name}.key', private.decode())
        embedded.write_secret(directory / f'{name}.crt', _pem(made))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
