#!/bin/sh
# certificates.sh FOLDER: a certificate authority, a server and a client, by openssl. What is there is kept.
set -eu
cd "$1"
[ ! -e client.ovpn ] || exit 0

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=lab' -keyout ca.key -out ca.crt 2>/dev/null
}

# certificate NAME EXTENDED-KEY-USAGE
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  printf 'keyUsage=digitalSignature\nextendedKeyUsage=%s\n' "$2" >"$1.ext"
  openssl x509 -req -days 3650 -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

# inline NAME: the three files as they stand in a configuration
inline() {
  for part in "ca ca.crt" "cert $1.crt" "key $1.key"; do
    # shellcheck disable=SC2086 # two words: the tag and its file
    set -- "$1" $part
    printf '<%s>\n' "$2"
    cat "$3"
    printf '</%s>\n' "$2"
  done
}

umask 077
authority
certificate server serverAuth
certificate client clientAuth
{
  cat /lab/server.ovpn
  inline server
} >server.ovpn
{
  cat /lab/client.ovpn
  inline client
} >client.ovpn.new
mv client.ovpn.new client.ovpn
