# A checkpoint as the Hub's cache keeps it, links into a store: its directory cannot serve as OUTPUT with --weights safetensors, as
# ONNX Runtime reads no external data through such a link; another directory gets a copy.
e="$CLI export onnx -q --weights safetensors --task question-answering"
ckpt bert/question-answering store
mkdir snapshot
ln -s ../store/config.json ../store/model.safetensors snapshot
status $e -m snapshot snapshot
ls -A snapshot
status $e -m snapshot out
[ -L out/model.safetensors ] || ls out
