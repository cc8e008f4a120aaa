# Text to ids and back, as tables and as a filter.
t=$GOLDENS/../tokenizers
status $CLI tokenize -t $t/bert-multi-cased "Hello wörld 你好!" --pair "x"
status $CLI tokenize -t $t/gpt1-bpe/tokenizer.json "one two three four five" --max-length 3 --stride 1
status $CLI tokenize -t $t/starcoder-style "a b" --no-special-tokens --json
printf '%s\n' '{"text": "a b"}' '{"text": 1}' 'no JSON' '' '{"text": "x", "truncation": {"max_length": 1, "strategy": "only_second"}}' \
    '{"batch": ["a", ["a b", "c"]], "padding": {"pad_id": 9}}' >lines
status $CLI tokenize -t $t/starcoder-style --input - <lines
status $CLI tokenize -t $t/starcoder-style --input missing
status $CLI tokenize -t $t/starcoder-style
status $CLI tokenize -t nowhere x
status $CLI decode -t $t/bert-multi-cased 2 12415, 91 3
status $CLI decode -t $t/bert-multi-cased --skip-special-tokens "[2, 12415, 3]"
status $CLI decode -t $t/bert-multi-cased 1x
printf '%s\n' '{"ids": [2, 12415, 3]}' '{"ids": "x"}' '{"ids": [99999]}' | $CLI decode -t $t/bert-multi-cased --input -
echo '{"text": ["Hello wörld", "!"], "pair": []}' | $CLI tokenize -t $t/bert-multi-cased -i -
echo '{"text": ["a", 1]}' | $CLI tokenize -t $t/bert-multi-cased -i -
status $CLI tokenize -t $t/bert-multi-cased --save saved
cmp $t/bert-multi-cased/tokenizer.json saved/tokenizer.json && ls saved
# every recorded line, through the filter
for f in cases batch decode; do
    case $f in decode) command=decode ;; *) command=tokenize ;; esac
    $CLI $command -t $t/mix-digits --input $t/mix-digits/$f.jsonl >$f.out
    python3 - $t/mix-digits/$f.jsonl $f.out <<'EOF'
import json, sys
pairs = list(zip(open(sys.argv[1], encoding="utf-8", newline="\n"), open(sys.argv[2], encoding="utf-8", newline="\n"), strict=True))
same = sum(all(json.loads(w).get(k) == v for k, v in json.loads(g).items() if k != "error") for w, g in pairs)
print(same == len(pairs))
EOF
done
