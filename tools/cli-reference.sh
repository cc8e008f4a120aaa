#!/bin/bash
# tools/cli-reference.sh [--check] BUILD: the text of docs/cli.md, from what the program says about itself.
#
# With --check nothing is printed when docs/cli.md is up to date; else the difference, and the exit status is 1.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
check=no
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
[ $# -eq 1 ] || {
    echo "usage: tools/cli-reference.sh [--check] BUILD" >&2
    exit 2
}
cli=$1/optimum-cli

# The help of one command as a code block.
help_of()
{
    echo '```'
    "$cli" "$@" --help
    echo '```'
}

# "export onnx", "run" ...: the first column of the list of commands.
commands()
{
    "$cli" --help | sed -n '/^commands:/,/^$/s/^  \([^ ].*[^ ]\)   *[^ ].*$/\1/p' | sed 's/  .*//'
}

# What the program answers to an option of Optimum that it refuses.
refused()
{
    local option=$1 message
    shift
    message=$("$cli" export onnx --model DIR "--$option" "$@" OUTPUT 2>&1 || true)
    message=${message#*is not applicable: }
    printf '| `--%s` | %s |\n' "$option${*:+ $*}" "${message% (see *}"
}

print()
{
    cat <<'EOF'
# optimum-cli

Written by `tools/cli-reference.sh build > docs/cli.md` from the help texts of the program; change those instead.

EOF
    help_of
    commands | while read -r command; do
        printf '\n## optimum-cli %s\n\n' "$command"
        # shellcheck disable=SC2086
        help_of $command
    done
    cat <<'EOF'

Long options may be written with hyphens or underscores (`--batch-size`, `--batch_size`), as `--name VALUE` or `--name=VALUE`, and
shortened while that is unambiguous. `--` ends the options.

### Options of Optimum that are refused

They are known, so that a command line made for Optimum gets an answer; the exit status is 2.

| option | answer |
| --- | --- |
EOF
    refused optimize O2
    refused slim
    refused dynamo
    refused model-kwargs '{}'
    refused trust-remote-code
    refused cache_dir DIR
    refused device cuda
    cat <<'EOF'

`--device cpu`, `--framework pt`, `--variant default` and the shapes of images and audio (`--width`, `--height`, `--num_channels`,
`--feature_size`, `--nb_max_frames`, `--audio_sequence_length`, `--point_batch_size`, `--nb_points_per_image`, `--visual_seq_length`) are
accepted and change nothing.

## Exit status

| status | meaning |
| --- | --- |
| 0 | Success. Also when the validation found a difference: a warning says so, as in Optimum. |
| 1 | Failure, told in one line on stderr; with `--strict` also a difference. `optimum-cli` without a command prints its help and gives 1. |
| 2 | The command line is wrong: an unknown option or task, a value out of range, options that contradict each other. |
| 130 | Interrupted (SIGINT, SIGTERM). Incomplete files have been removed. |

## Streams

Everything that is reported goes to stderr; help, `--version`, `--list` and `env` go to stdout. On a terminal, writes that take longer than half a
second show their progress.

## Environment

| variable | effect |
| --- | --- |
| `OPTIMUM_ORT_LIBRARY` | ONNX Runtime's shared library, or the directory that holds it. It is looked for there and nowhere else. |
| `FORCE_ONNX_EXTERNAL_DATA=1` | `--weights external` where no `--weights` is given. |
| `TRANSFORMERS_VERBOSITY` | `debug`, `info` (the default here), `warning`, `error`, `critical`; `-v` and `-q` go one step up and down from it. |
| `OPENBLAS_NUM_THREADS` | threads of the reference executor's matrix products, when built with OpenBLAS. |

Without `OPTIMUM_ORT_LIBRARY`, ONNX Runtime is looked for in `lib` beside the program or one directory above it, in the system's library path, and
in the `onnxruntime` package of a Python installation: an active virtual, Conda or pyenv environment, `~/.local`, those in `PATH`.
`optimum-cli env` shows which one was found.
EOF
}

if [ $check = yes ]; then
    print | diff -u "$here/docs/cli.md" - || {
        echo "docs/cli.md is out of date: tools/cli-reference.sh $1 > docs/cli.md" >&2
        exit 1
    }
else
    print
fi
