# The layout of transformers.js: models in a folder, each in its dtypes; what does not go with it is refused.
ckpt bert/text-classification ck
status $CLI export onnx -q --no-validation -m ck --transformersjs out
find out -type f | LC_ALL=C sort
status $CLI export onnx -q --no-validation -m ck --transformersjs --quantize int4 out
ckpt t5/text2text-generation-with-past t5
status $CLI export onnx -q --no-validation -m t5 --task text2text-generation-with-past --transformersjs t5-js
find t5-js -type f | LC_ALL=C sort
