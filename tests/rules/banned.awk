# tests/rules/banned.awk FILE...: print calls that src/ does not make, outside of comments and strings.
#
# The library returns errors instead of printing, exiting or aborting; it does not use calls that cannot be given a bound or
# that keep hidden state.

BEGIN {
    n = split("printf vprintf puts putchar putc perror fputs fputc fwrite_unlocked psignal warn err " \
              "exit _exit _Exit quick_exit abort raise kill system popen fork " \
              "strcpy stpcpy strcat strncat sprintf vsprintf gets scanf strtok alloca " \
              "atoi atol atoll atof rand srand random setlocale setenv putenv unsetenv chdir umask signal sigaction " \
              "tmpnam tempnam mktemp localtime gmtime ctime asctime sleep", names, " ")
    for (i = 1; i <= n; i++)
        banned[names[i]] = 1
}

# The line without comments, strings and characters; in_comment carries over to the next one.
function code(line,    out, c, two, quote)
{
    out = ""
    quote = ""
    while (length(line) > 0) {
        c = substr(line, 1, 1)
        two = substr(line, 1, 2)
        if (in_comment) {
            if (two == "*/") {
                in_comment = 0
                c = two
            }
        } else if (quote != "") {
            if (c == "\\")
                c = two
            else if (c == quote)
                quote = ""
        } else if (two == "/*") {
            in_comment = 1
            c = two
        } else if (two == "//") {
            break
        } else if (c == "\"" || c == "'") {
            quote = c
        } else {
            out = out c
        }
        line = substr(line, length(c) + 1)
    }
    return out
}

FNR == 1 {
    in_comment = 0
    files++
}

{
    text = code($0)
    while (match(text, /[A-Za-z_][A-Za-z_0-9]*/)) {
        word = substr(text, RSTART, RLENGTH)
        before = substr(text, 1, RSTART - 1)
        text = substr(text, RSTART + RLENGTH)
        if (word == "stdout" || word == "stderr")
            bad(word)
        else if ((word in banned) && text ~ /^[ \t]*\(/ && before !~ /(\.|->)[ \t]*$/)
            bad(word "()")
    }
}

function bad(what)
{
    print FILENAME ":" FNR ": " what
    failures++
}

END {
    if (files == 0) {
        print "no file was given"
        exit 1
    }
    exit failures > 0
}
