# The task comes from the class in config.json, decoders with their cache; a class without a task of its own is headless.
for t in bert/fill-mask bert/multiple-choice gpt2/text-generation t5/text2text-generation llama/feature-extraction gemma3/text-generation; do
    ckpt $t ck
    status $CLI export onnx --no-validation --model ck out
    ls out
    rm -r out ck
done
ckpt bert/feature-extraction ck
sed -i s/BertModel/BertForPreTraining/ ck/config.json
status $CLI export onnx --no-validation --model ck out
