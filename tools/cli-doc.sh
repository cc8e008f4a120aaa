#!/bin/bash
# tools/cli-doc.sh CLI FILE: bring the help texts in a Markdown file up to date.
#
# Every fenced block of FILE whose first line is "usage: COMMAND [..." is replaced by what COMMAND --help prints; the rest stays.
# Fails when a command of the program has no such block.
set -eu -o pipefail
export LC_ALL=C
cli=$1 file=$2

help_of()
{
    case $1 in
    optimum-cli) "$cli" --help ;;
    *) # the words of a command's name are arguments of their own
        # shellcheck disable=SC2086
        "$cli" ${1#optimum-cli } --help ;;
    esac
}

update()
{
    local line usage='' skipping='' fence=''

    while IFS= read -r line; do
        if [ -n "$skipping" ]; then
            [ "$line" = '```' ] || continue
            skipping='' fence=''
        elif [[ $line == '```'* ]]; then
            [ -n "$fence" ] && fence='' || fence=first
        elif [ "$fence" = first ]; then
            fence=inside
            usage=${line#usage: }
            usage=${usage%% [\[<]*}
            if [[ $line == 'usage: optimum-cli'* ]]; then
                help_of "$usage"
                skipping=1
                continue
            fi
        fi
        printf '%s\n' "$line"
    done
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT
update <"$file" >"$new"
"$cli" --help | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p' | while IFS= read -r name; do
    grep -q "^usage: optimum-cli $name \[" "$new" || {
        echo "$file: no block starts with \"usage: optimum-cli $name [\"" >&2
        exit 1
    }
done
cmp -s "$new" "$file" || cp "$new" "$file"
