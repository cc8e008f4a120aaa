# A classifier over a decoder without pad_token_id: the tokenizer's padding token, wherever its files name it.
ckpt gpt2/text-classification ck
sed -i '/pad_token_id/d' ck/config.json
export_it() { rm -rf out; status $CLI export onnx -q --no-validation --model ck out; grep pad_token_id out/config.json; rm -f ck/tokenizer* ck/special* ck/vocab.json; }
export_it
echo '{"pad_token": null}' >ck/tokenizer_config.json; export_it
echo '{"pad_token": "[PAD]", "added_tokens_decoder": {"7": {"content": "x"}, "9": {"content": "[PAD]"}}}' >ck/tokenizer_config.json; export_it
echo '{"pad_token": {"content": "[PAD]"}}' >ck/special_tokens_map.json
echo '{"added_tokens": [{"id": 3, "content": "[PAD"}, {"id": 4, "content": "[PAD]"}]}' >ck/tokenizer.json; export_it
echo '{"pad_token": "b"}' >ck/tokenizer_config.json; echo '{"model": {"vocab": {"a": 1, "b": 2}}}' >ck/tokenizer.json; export_it
echo '{"pad_token": "b"}' >ck/tokenizer_config.json; echo '{"model": {"vocab": [["a", -1.5], ["b", 0]]}}' >ck/tokenizer.json; export_it
echo '{"pad_token": "b"}' >ck/tokenizer_config.json; echo '{"b": 11}' >ck/vocab.json; export_it
echo '{"pad_token": "c"}' >ck/tokenizer_config.json; echo '{"b": 11}' >ck/vocab.json; export_it
echo '{"pad_token": "b"' >ck/tokenizer_config.json; export_it
# Some classes have a default of their own; null is no id.
rm -rf ck
ckpt gemma/text-classification ck
sed -i '/pad_token_id/d' ck/config.json
export_it
sed -i '1s/{/{"pad_token_id": null,/' ck/config.json
export_it
