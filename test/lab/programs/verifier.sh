#!/bin/bash
# Whom the server lets in: auth-user-pass-verify "verifier.sh FOLDER" via-file. FOLDER/attempts gets a line for every
# attempt; FOLDER/answers says what to do, one line each: NAME, tab, PASSWORD, tab, `yes`, `challenge TEXT` or `web URL`
# (which lets in as soon as FOLDER/opened is there). Everything else is refused.
{ read -r user; read -r password; } <"$2"
printf '%s\t%s\n' "$user" "$password" >>"$1/attempts"
while IFS=$'\t' read -r name secret answer; do
  [ "$user/$password" = "$name/$secret" ] || continue
  case $answer in
    yes)
      exit 0
      ;;
    challenge*)
      printf 'CRV1:R,E:state1:%s:%s' "$(printf %s "$user" | base64 -w0)" "${answer#challenge }" >"${auth_failed_reason_file:?}"
      exit 1
      ;;
    web*)
      printf '60\nwebauth\nWEB_AUTH::%s\n' "${answer#web }" >"${auth_pending_file:?}"
      { until [ -e "$1/opened" ]; do sleep 0.05; done; printf 1 >"${auth_control_file:?}"; } <&- >&- 2>&- &
      exit 2
      ;;
  esac
done <"$1/answers"
exit 1
