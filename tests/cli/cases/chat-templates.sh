# Named chat templates lie in a directory of their own: they go wherever the model goes.
ckpt llama/text-generation-with-past ck
cp $GOLDENS/../tokenizers/minilm/*.json ck/
mkdir ck/additional_chat_templates
echo '{{ messages[0].content }}!' >ck/chat_template.jinja
echo '{{ messages[0].content }}?' >ck/additional_chat_templates/ask.jinja
echo other >ck/additional_chat_templates/notes.txt
ask() { echo '{"messages": [{"role": "user", "content": "so"}], "chat_template": "ask"}' | $CLI tokenize -t $1 -i - | grep -o '"rendered":"[^"]*"'; }
status $CLI export onnx -q --no-validation --model ck out
ls out out/additional_chat_templates
ask out
status $CLI export onnx -q --no-validation --model ck out
ls -A out/additional_chat_templates
status $CLI onnxruntime quantize -q --avx2 --onnx_model out -o small
ask small
status $CLI tokenize -t ck --save saved >/dev/null
ask saved
# an export that is kept is whole with them, and goes with them
kept() { $CLI pipeline text-generation --export-cache kept -m ck --greedy --max-new-tokens 1 a 2>&1 >/dev/null | grep -c "exported now"; }
kept
kept
ls kept/*/additional_chat_templates
echo x >>kept/*/additional_chat_templates/ask.jinja
kept
cat kept/*/additional_chat_templates/ask.jinja
