# tests/rules/layers.awk LAYERS FILE...: print each #include of a project header that the table LAYERS does not allow.
# Also checks that the table itself has no upward edge: a module may only use modules listed above it.

function module(path)
{
    if (path ~ /^cli\//)
        return "cli"
    sub(/^src\//, "", path)
    sub(/\/.*/, "", path)
    return path
}

FILENAME == ARGV[1] {
    if ($0 ~ /^#/ || NF == 0)
        next
    name = $1
    sub(/:$/, "", name)
    known[name] = 1
    allowed[name, name] = 1
    for (i = 2; i <= NF; i++) {
        if (!($i in known))
            bad(FILENAME ":" FNR ": " name " may not use " $i ", which is above it")
        allowed[name, $i] = 1
    }
    next
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    from = module(FILENAME)
    split($0, part, "\"")
    to = part[2]
    edges++
    if (to !~ /\//)
        bad(FILENAME ":" FNR ": \"" to "\" names no module")
    sub(/\/.*/, "", to)
    if (!(from in known))
        bad(FILENAME ":" FNR ": the module " from " is not in the table")
    else if (!((from, to) in allowed))
        bad(FILENAME ":" FNR ": " from " may not include " part[2])
}

function bad(message)
{
    print message
    failures++
}

END {
    if (edges == 0)
        bad("no #include was found")
    exit failures > 0
}
