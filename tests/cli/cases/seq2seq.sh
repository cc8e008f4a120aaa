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
# The forms of the decoder.
status $e --decoder merged out-merged; ls out-merged
cmp out-merged/decoder_model_merged.onnx out-auto/decoder_model_merged.onnx && echo same
status $e --decoder single --validate --strict out-single; ls out-single
$CLI inspect out-single/decoder_model_merged.onnx | grep -e use_cache_branch -e " If "
status $e --decoder single --task text2text-generation out-none
status $e --decoder merged --no-post-process out-none
status $e --decoder single --no-dynamic-axes out-none
ls out-none 2>&1 | sed "s|.*: ||"
# A checkpoint of the encoder alone.
ckpt t5/feature-extraction encoder
sed -i 's/"T5Model"/"T5EncoderModel"/' encoder/config.json
status $CLI export onnx -q --model encoder --validate --strict out-encoder; ls out-encoder
$CLI inspect out-encoder/model.onnx | grep _length
status $CLI export onnx -q --model encoder --task feature-extraction-with-past out-none
