#!/usr/bin/env bash
# Makes an authority, a certificate for each node and one for clients, as GRPC_TLS wants them, to try mutual TLS:
#
#   docker/tls/make-certificates.sh <directory> node-1 [node-2 …]
#
# A certificate whose name (SAN) is the id of a node makes its holder that peer; any other certificate of the authority
# makes it a client. Files: ca.pem, ca-key.pem (keep it off the nodes), <name>.pem, <name>-key.pem, client.pem,
# client-key.pem. Then, on each node:
#
#   SPECTOR_GRPC_TLS=on SPECTOR_GRPC_CA=ca.pem SPECTOR_GRPC_CERT=node-1.pem SPECTOR_GRPC_KEY=node-1-key.pem
#
# An authority that is there already is used again, so that certificates can be renewed. Valid for DAYS, by default 90.
set -euo pipefail

if [ "$#" -lt 2 ]; then
  echo "usage: $0 <directory> <node id>..." >&2
  exit 2
fi
directory=$1
shift
days=${DAYS:-90}
umask 077
mkdir -p "$directory"
cd "$directory"

new_key() {
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

if [ ! -f ca-key.pem ]; then
  new_key ca-key.pem
  openssl req -x509 -new -key ca-key.pem -sha256 -days 3650 -subj '/CN=spector example authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out ca.pem
fi

# certificate <name> <subject alternative names>
certificate() {
  new_key "$1-key.pem"
  openssl req -new -key "$1-key.pem" -subj "/CN=$1" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -sha256 -days "$days" -out "$1.pem" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n' "$2") 2>/dev/null
  rm "$1.csr"
}

for node in "$@"; do
  certificate "$node" "DNS:$node,DNS:$node.spector,DNS:localhost,IP:127.0.0.1"
done
certificate client 'DNS:client'
echo "certificates for $* and client in $directory"
