#!/bin/sh
# The client of the public matrix: `client.sh URL`, or `client.sh "-s URL -t 1"` with all of it in one argument.
set -eu
url=http://localhost:8080/offer
test=0
# shellcheck disable=SC2048,SC2086 # it is to be split
set -- $*
while [ $# -gt 0 ]; do
    case $1 in
    -s) url=$2; shift 2 ;;
    -t) test=$2; shift 2 ;;
    *) url=$1; shift ;;
    esac
done
case $test in
# Is the peer connected? Most servers send no media back, so what comes after does not count.
0) visavis probe "$url" --audio --duration 100ms --json | tee /dev/stderr | grep -q '"connected_ms":[0-9]' ;;
# Does the data channel echo?
1) exec visavis probe "$url" --json ;;
*) echo "there is no test $test" >&2; exit 1 ;;
esac
