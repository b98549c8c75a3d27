# shellcheck shell=bash
# Sourced by the scripts beside it: where the checkout is, and a .venv with imgclust in it.

set -euo pipefail

checkout=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$checkout/.venv
stamp=$venv/installed # line 1: digest of pyproject.toml, and the checkout; line 2: the extras
pip_log=$venv/pip.log
steps=0 # how many there will be; a script sets it before its first step
steps_done=0

# fail CODE TEXT: one line on standard error, and the end.
fail() {
    printf 'scripts/%s: %s\n' "$(basename -- "$0")" "$2" >&2
    exit "$1"
}

# help: prints the comment at the top of the script that was called, and ends.
help() {
    sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p }' "$0"
    exit 0
}

step() {
    steps_done=$((steps_done + 1))
    if ((steps)); then
        printf '[%d/%d] %s\n' "$steps_done" "$steps" "$1"
    else
        printf '%s\n' "$1"
    fi
}

note() {
    printf '      %s\n' "$1"
}

folder_mb() {
    du -sm -- "$1" | cut -f1
}

has_nvidia_driver() {
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

# engine_here: which extra .venv holds now, cpu or gpu, or nothing; never a failure, as set -e would end the script.
engine_here() {
    local package
    for package in "$venv"/lib/python3*/site-packages/faiss_[cg]pu-*.dist-info; do
        if [[ -d $package ]]; then
            sed -E 's/.*faiss_([cg]pu)-.*/\1/' <<<"$package"
        fi
    done
}

# prepare cpu|gpu [dev]: makes or completes .venv; does nothing when it is right already.
prepare() {
    local engine=$1 dev=${2:-} digest made_for='' extras='' reason
    digest=$(sha256sum <"$checkout/pyproject.toml" | cut -c1-64)
    if [[ -f $stamp ]]; then
        { read -r made_for && read -r extras; } <"$stamp"
    fi
    reason=$(useless "$engine" "$made_for")
    if [[ -n $reason ]]; then
        note "removing .venv: $reason"
        rm -rf -- "$venv"
        made_for='' extras=''
    fi
    if [[ $made_for == "$digest $checkout" && " $extras " == *" ${dev:-$engine} "* ]]; then
        step "imgclust is installed in .venv ($extras)"
        return
    fi
    check_processor
    if [[ ! -d $venv ]]; then
        check_disk "$engine"
        find_python
        "$python" -m venv "$venv" || fail 1 "$python -m venv failed; its reason stands above"
    fi
    if [[ " $extras " == *' dev '* ]]; then
        dev=dev
    fi
    install_extras "$engine,server${dev:+,dev}"
    printf '%s\n' "$digest $checkout" "$engine${dev:+ dev}" >"$stamp"
}

# useless ENGINE MADE_FOR: why the .venv that is there must be made anew, or nothing.
useless() {
    [[ -d $venv ]] || return 0
    local here
    here=$(engine_here)
    if ! "$venv/bin/python" -c 'import pip, sys; assert (3, 11) <= sys.version_info < (3, 14)' 2>/dev/null; then
        echo 'its Python is gone or of another version, or it was never finished'
    elif [[ -n $2 && ${2#* } != "$checkout" ]]; then
        echo 'the checkout was moved'
    elif [[ -n $here && $here != "$1" ]]; then
        echo "it holds the $here packages"
    fi
}

check_processor() {
    if [[ $(uname -m) == x86_64 && -r /proc/cpuinfo ]] && ! grep -qw avx /proc/cpuinfo; then
        fail 1 "this processor has no AVX; TensorFlow's packages need it, so imgclust cannot run here"
    fi
}

check_disk() {
    local need=3000 free
    [[ $1 == gpu ]] && need=12000
    free=$(df -Pm -- "$checkout" | awk 'NR == 2 { print $4 }')
    if ((free < need)); then
        fail 1 "$free MB are free in $checkout, about $need MB are needed; make room and run this again"
    fi
}

# find_python: sets `python` to the newest Python of 3.11 to 3.13 that can make a venv.
find_python() {
    local name version newest='' bare=''
    python=''
    for name in python3.13 python3.12 python3.11 python3 python; do
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        [[ $version =~ ^3\.1[123]$ ]] || continue
        if ! "$name" -c 'import venv, ensurepip' 2>/dev/null; then
            bare=${bare:-$version}
        elif [[ $version > $newest ]]; then
            newest=$version python=$name
        fi
    done
    [[ -n $python ]] && return
    if [[ -z $bare ]]; then
        fail 1 "no Python of 3.11 to 3.13 is there; install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)"
    fi
    if [[ $EUID == 0 ]] && command -v apt-get >/dev/null; then
        note "Python $bare has no venv module: installing python$bare-venv"
        apt_install "python$bare-venv"
        python=python$bare
    else
        fail 1 "Python $bare has no venv module; install it (Debian, Ubuntu: sudo apt install python$bare-venv)"
    fi
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -qq update && apt-get -qq install --yes --no-install-recommends "$@"; } </dev/null >/dev/null ||
        fail 1 "apt-get could not install $*; is there a network?"
}

install_extras() {
    local sizes='about 0.5 GB to download, 2 GB installed' quiet=(-qq --progress-bar off)
    [[ $1 == gpu* ]] && sizes='about 4 GB to download, 9 GB installed'
    [[ -t 1 ]] && quiet=()
    step "Installing imgclust[$1] into .venv with $("$venv/bin/python" -V) ($sizes)"
    rm -f -- "$pip_log"
    if ! "$venv/bin/python" -m pip install "${quiet[@]}" --no-input --disable-pip-version-check \
        --log "$pip_log" --editable "${checkout}[$1]" </dev/null; then
        explain_pip
    fi
    note "$(downloaded_mb) MB downloaded, $(folder_mb "$venv") MB installed"
}

downloaded_mb() {
    sed -nE 's/.*Downloading .*\(([0-9.]+) (kB|MB|GB)\)$/\1 \2/p' "$pip_log" |
        awk '{ sum += $1 * ($2 == "GB" ? 1000 : $2 == "MB" ? 1 : 0.001) } END { printf "%d", sum }'
}

explain_pip() {
    local network='Temporary failure in name resolution|Name or service not known|NewConnectionError'
    network+='|Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|ConnectionError'
    if grep -q 'No space left on device' "$pip_log"; then
        fail 1 "the disk is full: make room in $checkout and in ${TMPDIR:-/tmp}, and run this again"
    elif grep -qE "$network" "$pip_log"; then
        fail 1 "pip cannot reach the package index; connect to the network (or set a proxy) and run this again"
    fi
    fail 1 "pip failed; its reason stands above, everything it did in $pip_log"
}
