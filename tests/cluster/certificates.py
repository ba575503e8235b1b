"""An authority of the tests' own, and the certificates that it gives to servers."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cluster.hosts import give

_DAY = timedelta(days=1)


class Authority:
    """Who trusts `certificate` trusts the servers that it vouches for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.certificate = folder / "authority.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the authority")])
        made = (
            _certificate(self._name, self._name, self._key, datetime.now(UTC) + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def vouch(
        self, folder: Path, *addresses: str, expires_in: timedelta = _DAY
    ) -> tuple[Path, Path]:
        """Write a certificate for a server at these addresses, and its key; say where they are."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, addresses[0])])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(a)) for a in addresses])
        made = (
            _certificate(name, self._name, key, datetime.now(UTC) + expires_in)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate, private_key = folder / "server.crt", folder / "server.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return give(certificate), give(private_key)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    expires_at: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - 10 * _DAY)
        .not_valid_after(expires_at)
    )
