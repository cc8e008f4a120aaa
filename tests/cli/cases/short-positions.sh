# The example of the validation fits a table of positions shorter than 16, padding ids included.
ckpt roberta/token-classification ck
sed -i 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 12/; s/"pad_token_id": [0-9]*/"pad_token_id": 4/' ck/config.json
status $CLI export onnx --strict --model ck out
