# JSON lines through a filter: order with many threads, bad lines in place, signals and closed pipes.
t=$GOLDENS/../tokenizers/starcoder-style
python3 - >lines <<'END'
for i in range(3000):
    print('{"text": "%s"}' % (str(i) + " a" * (i * 37 % 101)))
END
$CLI tokenize -t $t --input lines --threads 1 --batch-size 1 >one
for options in "--threads 8 --batch-size 3" "--threads 16 --batch-size 1" "--threads 2 --batch-size 4096"; do
    $CLI tokenize -t $t --input - $options <lines | cmp - one && echo same
done
$CLI decode -t $t --input one --threads 8 | python3 -c '
import json, sys
want = [json.loads(l)["decoded"] for l in open("one")]
print([json.loads(l)["decoded"] for l in sys.stdin] == want)'
printf '{"text": "a"}\r\n\n{"text": "\xff"}\n{"text": "a\0b"}\n"x"\n{"text": "0123456789012345678901234567890123456789"}\n{"text": "last"}' >bad
status $CLI tokenize -t $t -i bad --max-line 50 | cut -c 1-76
status $CLI tokenize -t $t -i nowhere
status $CLI tokenize -t $t -i lines --threads 0
# interrupted while it waits for input, after it has answered what came
mkfifo in out
$CLI tokenize -t $t -i in >out &
exec 3<>in 4<out
echo '{"text": "a"}' >&3
read -r line <&4 && echo "${line:0:20}"
kill -TERM $!
wait $!
echo "exit $?"
exec 3>&- 4<&-
# nobody reads the rest
{ $CLI tokenize -t $t -i lines; echo "exit $?" >&2; } | head -c 20
echo
$CLI tokenize -t $t -i lines >/dev/full
echo "exit $?"
