# A special token that only tokenizer_config.json names is found whole and is not decoded, as if tokenizer.json had it.
mkdir tok
echo '{"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"type": "WordLevel", "vocab": {"?": 0, "a": 1, "end": 2}, "unk_token": "?"}}' >tok/tokenizer.json
echo '{"pad_token": "end", "sep_token": "new"}' >tok/tokenizer_config.json
$CLI tokenize -t tok "a enda new"
$CLI decode -t tok --skip-special-tokens 1 2 1 3
