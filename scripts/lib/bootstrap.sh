# Sourced by the other scripts: go to the root of the checkout and have `uv` on PATH.
#
# Nothing but Python 3.11 or newer with pip is taken for granted. `pip install --target` is allowed on systems whose
# Python is "externally managed" (PEP 668) and needs neither python3-venv nor root.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH="$PATH:$PWD/.tools/bin"

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "$0: no Python 3.11 or newer found; install one (Debian: apt install python3 python3-pip)" >&2
    return 1
}

if ! command -v uv >/dev/null; then
    python=$(find_python)
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        echo "$0: $python has no pip; install it (Debian: apt install python3-pip) or uv itself" >&2
        exit 1
    fi
    echo "$0: installing uv into .tools/" >&2
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --upgrade --target .tools 'uv>=0.9' >&2
    # pip puts the launcher into bin/ of the target; say so if some pip does not
    command -v uv >/dev/null || { echo "$0: pip left no .tools/bin/uv" >&2; exit 1; }
fi

# Bring .venv in line with uv.lock.
sync() {
    uv sync --frozen --quiet --all-packages "$@"
}

# The distribution that a word on the command line means: `power`, `jumpstarter-driver-power`, `packages/...` or `core`.
package_name() {
    local name
    name=$(basename "$1")
    [[ $name == core ]] && name=jumpstarter
    [[ -d packages/$name ]] || name=jumpstarter-driver-$name
    if [[ ! -d packages/$name ]]; then
        echo "no package $1; there are: $(cd packages && echo *)" >&2
        return 1
    fi
    echo "$name"
}
