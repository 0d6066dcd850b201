# shellcheck shell=bash disable=SC2154,SC2034 # ROOT and OUT are vm.sh's
# Inside the machine: vip.py does the rest, and calls guest.sh for what the radio shall do.
export PIS WIFI_RUN ROOT OUT
/usr/bin/python3 -B "$ROOT/tests/wifi/vip.py" "$@"
