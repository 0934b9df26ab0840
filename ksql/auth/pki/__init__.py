"""The cluster's own keys: an authority for each purpose, the leaves that they sign, and who follows them how.

The problem: certificates are what clusters die of. They run out unseen, an authority cannot be replaced without
locking everybody out, and one authority for everything makes the key of a node's certificates the key of the
administrator's. The decision: five authorities (`record.AUTHORITIES`: users, the server, nodes, the front proxy, the
database), each with generations, so that a successor signs at once while the one before it is still believed; the old
one vouches for the new one, so that whoever trusts the old one alone is not lost. One function brings a directory to
what it has to be (`keeping`), by pure decisions (`record`), as often as anybody likes; `certificates` makes and reads
them. Rejected: revocation lists and OCSP (clients fetch neither; what is revoked is refused at the next request by
`ksql.auth.trust`), and asking an operator to run a command in time.

Several servers of one cluster have one directory between them, mounted or copied whole; where it is mounted, what one
of them renews the others take in.

Invariants
1. A key lies in a file of mode 0600 and nowhere else, but for the administrator's in his kubeconfig; the key of an
   operator's own stays where he keeps it.
2. The key of an authority that signs no more is destroyed.
3. No leaf outlives its authority, and no authority is dropped while a leaf that it signed may live, unless the
   operator says so.
4. What is looked at again without need stays as it is, byte for byte.

Words: authority, generation; leaf: a certificate that signs nothing; overlap: how long an authority is believed after
its successor signs; voucher: the certificate by which one authority vouches for the next; given: an operator's own.
"""

from ksql.auth.pki.certificates import (
    AUTHORITY_DAYS,
    CERTIFICATE_DAYS,
    Pair,
    issue_client,
    issue_server,
    make_authority,
)
from ksql.auth.pki.files import write_private
from ksql.auth.pki.keeping import SERVER_NAMES, SERVICE_ADDRESS, Pki, establish, server_names
from ksql.auth.pki.kubeconfigs import kubeconfig, write_kubeconfig
from ksql.auth.pki.record import ADMIN_USER, CLIENTS, NODES, PROXY, PROXY_USER, RENEWAL_DAYS, SERVING, PkiError

__all__ = [
    "ADMIN_USER",
    "AUTHORITY_DAYS",
    "CERTIFICATE_DAYS",
    "CLIENTS",
    "NODES",
    "PROXY",
    "PROXY_USER",
    "RENEWAL_DAYS",
    "SERVER_NAMES",
    "SERVICE_ADDRESS",
    "SERVING",
    "Pair",
    "Pki",
    "PkiError",
    "establish",
    "issue_client",
    "issue_server",
    "kubeconfig",
    "make_authority",
    "server_names",
    "write_kubeconfig",
    "write_private",
]
