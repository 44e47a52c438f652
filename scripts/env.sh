# Settings shared by every script: source this file from the root of the clone, do not run it. `. scripts/env.sh`
# works in an interactive shell too, and makes plain `cargo` commands share build results with the scripts.

# Build results live outside the clone, so that the clone stays small and clean to copy. Each clone has a folder of its
# own, named by its path: cargo tells workspace crates apart by their path inside the workspace only, and in a shared
# folder it takes the results of another clone for fresh.
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
    CARGO_TARGET_DIR="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/cacheness-target/$(pwd -P | cksum | cut -d ' ' -f 1)"
fi
export CARGO_TARGET_DIR

# Tools that the scripts install land here, and a CI shell does not always look here.
cacheness_cargo_bin="${CARGO_HOME:-${HOME:-/tmp}/.cargo}/bin"
case ":$PATH:" in
    *":$cacheness_cargo_bin:"*) ;;
    *) PATH="$PATH:$cacheness_cargo_bin" && export PATH ;;
esac
unset cacheness_cargo_bin

# Under a HOME without a toolchain, rustup's `cargo` finds the one that was installed beside it.
if [ -z "${RUSTUP_HOME:-}" ] && [ ! -d "${HOME:-/tmp}/.rustup" ]; then
    cacheness_rustup="$(dirname "$(command -v cargo || echo /)")/../../.rustup"
    if [ -d "$cacheness_rustup" ]; then
        RUSTUP_HOME="$(cd "$cacheness_rustup" && pwd)" && export RUSTUP_HOME
    fi
    unset cacheness_rustup
fi

# install_cargo_tool NAME [CARGO INSTALL ARGS]: installs the cargo subcommand `cargo-NAME` unless there is one.
# Built without optimisation, which takes a fraction of the time, and apart from this workspace's build results.
install_cargo_tool() {
    if cargo "$1" --version >/dev/null 2>&1; then
        return 0
    fi
    (
        tool=$1
        shift
        unset CARGO_TARGET_DIR
        export CARGO_PROFILE_DEV_DEBUG=0
        cargo install "cargo-$tool" --locked --debug "$@"
    )
}
