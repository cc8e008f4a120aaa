# Parameters of generation that an older config.json holds move to generation_config.json, as the original moves them.
export_it() { rm -rf out; status $CLI export onnx -q --no-validation --model ck --task "$1" out; grep -E '"(do_sample|max_length|num_beams|top_k|use_cache)"' out/config.json; }
ckpt gpt2/text-generation ck
export_it text-generation; cat out/generation_config.json
sed -i 's/"vocab_size"/"do_sample": true, "max_length": 33, "num_beams": 1, "top_k": 5.5,\n  &/' ck/config.json
export_it text-generation; cat out/generation_config.json
rm ck/generation_config.json
export_it text-generation-with-past; cat out/generation_config.json
export_it feature-extraction; ls out
