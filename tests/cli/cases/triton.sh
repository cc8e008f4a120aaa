# A model of a Triton repository; of several files it cannot be.
ckpt bert/text-classification ck
status $CLI export onnx -q --no-validation -m ck --triton --weights external repository/bert
find repository -type f | LC_ALL=C sort
cat repository/bert/config.pbtxt
ckpt t5/text2text-generation-with-past t5
status $CLI export onnx -q --no-validation -m t5 --task text2text-generation-with-past --triton repository/t5
ls repository
