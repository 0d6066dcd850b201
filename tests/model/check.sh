#!/bin/bash
# The models of docs/vip.md, checked exhaustively by spin; and each again with a rule dropped, where the
# check has to find a counterexample (what cannot fail proves nothing).
#
#   tests/model/check.sh [--full] [MODEL...]     voters, gateway, lengths, sets; all where none is named
#   tests/model/check.sh --trail MODEL OPTION... prints the counterexample, step by step
#
# Without --full small bounds: about half a minute in all. With it the bounds of docs/vip.md: hours of
# CPU time and up to 8 GiB of memory. Exit status 0: every line came out as it must.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# model | what it must come out as | options. "fails" is searched breadth first, which finds the shortest
# way; "falls" depth first, where that way is long.
quick() {
    cat <<'TABLE'
voters  holds  -DCRASHES=0
voters  holds  -DT=1 -DNV=3
voters  holds  -DNV=2 -DCRASHES=1 -DRELEASES=1
voters  fails  -DCRASHES=0 -DDROP_RULE_1
voters  falls  -DCRASHES=0 -DLONG=3 -DDROP_RULE_1_LENGTH
voters  fails  -DCRASHES=0 -DDROP_RULE_2
voters  falls  -DCRASHES=0 -DLONG=3 -DDROP_RULE_2_NEVER_SHORTER
voters  fails  -DCRASHES=0 -DDROP_RULE_3
voters  fails  -DCRASHES=0 -DDROP_RULE_5
voters  fails  -DCRASHES=0 -DRELEASES=1 -DDROP_RULE_6
voters  fails  -DDROP_RULE_6_RESTART
voters  fails  -DCRASHES=0 -DRELEASES=1 -DDROP_RULE_6_RELEASE
voters  fails  -DCRASHES=0 -DRELEASES=1 -DDROP_RULE_7
voters  fails  -DCRASHES=0 -DRELEASES=1 -DDROP_RULE_7_SESSION
voters  fails  -DRECORD -DRELEASES=1 -DT=1 -DDROP_RULE_7_START
voters  fails  -DDROP_RULE_8
voters  falls  -DRECORD -DRELEASES=1 -DDROP_RULE_8_SESSION
voters  fails  -DRECORD -DDROP_RULE_9
gateway holds  -DSTRICT
gateway holds  -DSOLO
gateway holds  -DLINK
gateway holds  -DREGISTER -DT=4 -DF=2 -DD=3
gateway fails  -DSOLO -DDROP_RULE_15_SILENCE
gateway fails  -DSOLO -DDROP_RULE_15_CLAIM
gateway fails  -DLINK -DDROP_RULE_16
gateway fails  -DREGISTER -DDROP_RULE_18_WAIT
gateway fails  -DREGISTER -DDROP_RULE_18_READ
gateway fails  -DREGISTER -DT=3 -DF=2 -DD=2 -DDROP_RULE_18_CLOSED
lengths holds  -DCRASHES=0
lengths falls  -DCRASHES=0 -DDROP_RULE_18_FITS
lengths falls  -DCRASHES=0 -DLONG=3 -DDROP_RULE_18_TOLD
lengths falls  -DCRASHES=0 -DLONG=3 -DDROP_RULE_18_PEER
sets    holds  -DF=0
sets    fails  -DDROP_RULE_11_ONE_STEP
sets    falls  -DDROP_RULE_11_NUMBER
sets    fails  -DF=0 -DDROP_RULE_11_ADOPTION
sets    fails  -DF=0 -DDROP_RULE_11_WAIT
TABLE
}

full() {
    quick
    cat <<'TABLE'
voters  holds  -DCRASHES=1
voters  fails  -DT=1 -DLONG=2 -DDROP_RULE_8_LENGTH
sets    holds
sets    holds  -DF=2
voters  holds  -DCRASHES=1 -DRELEASES=1 -DRECORD
voters  holds  -DT=3 -DF=2 -DCRASHES=1
voters  holds  -DLONG=3 -DCRASHES=0
voters  holds  -DNC=3 -DCRASHES=0
voters  holds  -DNV=2 -DCRASHES=2 -DRELEASES=2
gateway holds  -DSOLO -DT=3 -DF=2 -DS=2
gateway holds  -DLINK -DT=3 -DF=2 -DS=2
gateway holds  -DREGISTER -DT=6 -DF=3 -DD=4
lengths holds  -DCRASHES=1
lengths holds  -DCRASHES=0 -DLONG=3
lengths holds  -DCRASHES=1 -DLONG=3
TABLE
}

# build MODEL HOW OPTION...: leaves ./pan in $work
build() {
    local model=$1 how=$2
    shift 2
    rm -f "$work"/pan* "$work"/*.trail
    cpp -P "$@" "$here/$model.pml" >"$work/model"
    cd "$work"
    spin -a model >spin.log || { cat spin.log && return 1; }
    case $how in
    holds) gcc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c ;;
    falls) gcc -O0 -w -DSAFETY -DCOLLAPSE -o pan pan.c ;;
    fails) gcc -O0 -w -DSAFETY -DCOLLAPSE -DBFS -o pan pan.c ;;
    esac
}

# one MODEL HOW OPTION...: true if it comes out so
one() {
    local how=$2 result states
    build "$@" || return 1
    # -E: the ends of runs are no errors; an incomplete search says so
    ./pan -E -m10000000 -w20 >out 2>&1 || true
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out)
    if grep -q "assertion violated" out; then
        result=fails
    elif grep -q "errors: 0" out && ! grep -qE "Search not completed|too small|out of memory" out; then
        result=holds
    else
        result=unfinished
    fi
    printf '%-8s %-10s %9s states  %s\n' "$1" "$result" "${states:-?}" "${*:3}"
    [[ $result == "${how/falls/fails}" ]]
}

command -v spin >/dev/null || {
    echo "check.sh: spin is missing (Debian package spin)" >&2
    exit 1
}
table=quick
models=()
case ${1:-} in
--full) table=full && shift ;;
--trail)
    build "$2" fails "${@:3}"
    ./pan -E -m10000000 -w20 >out || true
    spin -t model
    exit
    ;;
esac
models=("$@")
wrong=0
while read -r model how options; do
    if ((${#models[@]} == 0)) || [[ " ${models[*]} " == *" $model "* ]]; then
        # shellcheck disable=SC2086 # one word each
        (one "$model" "$how" $options) || {
            echo "WRONG: $model $options: it must be that it $how"
            wrong=1
        }
    fi
done < <($table)
exit $wrong
