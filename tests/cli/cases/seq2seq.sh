# An encoder-decoder: which files there are, and that they share their weights.
ckpt t5/text2text-generation-with-past ck
e="$CLI export onnx -q --model ck"
status $e out-auto; ls out-auto
status $e --task text2text-generation out; ls out
status $e --monolith --task text2text-generation out-monolith; ls out-monolith
status $e --no-post-process out-parts; ls out-parts
status $e --weights safetensors out-shared; ls out-shared
[ $(cat out-shared/*.onnx out-shared/model.safetensors | wc -c) -lt $(($(stat -c %s ck/model.safetensors) + 160000)) ] && echo small
grep use_cache out-auto/config.json out/config.json
