#!/bin/bash
# Every function that reads bytes of others is called by a fuzz target, and every target has a corpus.
#
#   tests/fuzz/check_targets.sh [ROOT]    prints what is missing; 1 if something is
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
missing=0

# Declarations in headers whose names say that they read: X_decode, X_open, X_parse, X_feed.
decoders() {
    grep -hoE '\b(codec|keymsg|value_[a-z]+|envelope|channel|join_[a-z]+|knock|knock_reply|notice|token|stream|seal|seal_public|arp|config|desired|shim_[a-z]+)_(decode|open[a-z_]*|parse[a-z_]*|feed)\(' \
        proto/*/*.h agent/desired/desired.h agent/config/config.h agent/io/arp_frame.h \
        agent/shim/shim.h |
        tr -d '(' | sort -u
    grep -hoE '\blog_(frame|page|query)_read\(' agent/logs/*.h | tr -d '(' | sort -u
}

for name in $(decoders); do
    case $name in
    envelope_open | envelope_parse) user=channel_open ;; # behind it
    value_*_decode) user='value_##NAME##_decode' ;;
    *) user=$name ;;
    esac
    grep -qF "$user(" tests/fuzz/fuzz_*.c || {
        echo "$name: no fuzz target calls it"
        missing=1
    }
done
# Each kind of value that has a decoder is one of the target's.
for name in $(decoders | sed -n 's/^value_\(.*\)_decode$/\1/p'); do
    grep -qE "TRY(_AS)?\\($name[,)]" tests/fuzz/fuzz_value_codec.c || {
        echo "value_${name}_decode: not in fuzz_value_codec.c"
        missing=1
    }
done
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    name=${name#fuzz_}
    [[ -n $(ls -A "tests/fuzz/corpus/$name" 2>/dev/null) ]] || {
        echo "fuzz_$name: no corpus"
        missing=1
    }
done
exit $missing
