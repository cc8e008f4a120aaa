# One line that says what is wrong, exit 1, and nothing written.
e="$CLI export onnx"
status $e -m nowhere out
status $e -m ./nowhere out
status $e -m some/nowhere@v1 out
status $e -m a/b/c out
status $e -m .hidden-/x out
status $e -m no where out
status $e -m "no where" out
status $e -m x@v1 --revision v2 out
status $e -m x --revision ../y out
status $e -m x --subfolder ../y out
touch file; status $e -m file out
mkdir ck; status $e -m ck out
status $e -m ck --revision v1 out
status $e -m ck --subfolder below out
snapshot=models--x/snapshots/0123456789012345678901234567890123456789
mkdir -p $snapshot; status $e -m ck $snapshot/below/it; rm -r models--x
echo '{' >ck/config.json; status $e -m ck out
echo '{}' >ck/config.json; status $e -m ck out
echo '{"model_type": "brt"}' >ck/config.json; status $e -m ck out
echo '{"model_type": "bert"}' >ck/config.json; status $e -m ck out
touch ck/pytorch_model.bin; status $e -m ck out
rm -r ck
ckpt bert/question-answering ck
status $e -m ck --task question-answerin out
status $e -m ck --task text-generation out
status $e -m ck --task fill-mask out
status $e -m ck --task image-classification out
status $e -m ck --library-name sentence_transformers out
status $e -m ck --library-name sentnce_transformers out
status $e -m ck --library-name diffusers out
sed -i 's/"num_attention_heads": 4/"num_attention_heads": 5/' ck/config.json; status $e -m ck out
sed -i 's/"num_attention_heads": 5/"num_attention_heads": "4"/' ck/config.json; status $e -m ck out
sed -i 's/"num_attention_heads": "4"/"num_attention_heads": 4, "hidden_act": "wobble"/;s/"hidden_act": "gelu",//' ck/config.json; status $e -m ck out
sed -i 's/wobble/gelu/' ck/config.json
truncate -s 1000 ck/model.safetensors; status $e -m ck out
truncate -s 4 ck/model.safetensors; status $e -m ck out
rm -r ck
ckpt gpt2/text-classification ck
sed -i '/pad_token_id/d' ck/config.json
status $e -m ck out
status $e -q --no-validation -m ck --pad_token_id 0 out
grep pad_token out/config.json
rm -r ck out
ckpt t5/text2text-generation-with-past ck
status $e -m ck --task text-generation out
status $e -m ck --task text2text-generation-with-past --monolith out
ls
