#!/bin/bash
# The verifier of the test server: --auth-user-pass-verify "verify.sh LOG" via-file. Writes down every attempt.
#   joe     password "right"
#   sally   password "right" and the code 123456, as a static challenge (SCRV1)
#   crv     password "right", then the code 8675309, as a dynamic challenge (CRV1)
log=$1
{ read -r user; read -r password; } <"$2"
printf '%s %s\n' "$user" "$password" >>"$log"
base64_of() { printf %s "$1" | base64 -w0; }
case "$user $password" in
  'joe right') exit 0 ;;
  "sally SCRV1:$(base64_of right):$(base64_of 123456)") exit 0 ;;
  'crv right')
    printf 'CRV1:R,E:state1:%s:Enter: the code' "$(base64_of crv)" >"${auth_failed_reason_file:?}"
    exit 1
    ;;
  'crv CRV1::state1::8675309') exit 0 ;;
esac
exit 1
