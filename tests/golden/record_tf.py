#!/usr/bin/env python3
"""tests/golden/record_tf.py OUT: tiny TensorFlow checkpoints, one of each architecture, with TensorFlow's own outputs.

Every OUT/keras-MODEL_TYPE-TASK is what save_pretrained writes, with expected.safetensors (inputs/NAME, outputs/NAME) beside it.
Needs Python with tensorflow 2.19, tf-keras, h5py, safetensors and a transformers before 5 (4.57 here)."""
import os
import sys

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
import numpy as np
import tensorflow as tf
import transformers
from safetensors.numpy import save_file

TEXT = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=40)
DISTILBERT = dict(vocab_size=67, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=40)
GPT2 = dict(vocab_size=67, n_embd=16, n_layer=2, n_head=4, n_positions=40, pad_token_id=1, bos_token_id=2, eos_token_id=3)
T5 = dict(vocab_size=67, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, relative_attention_num_buckets=8)
BART = dict(vocab_size=67, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=2)
BART |= dict(encoder_ffn_dim=24, decoder_ffn_dim=20, max_position_embeddings=20, pad_token_id=1)
LABELS = dict(num_labels=3)
PADDED = dict(pad_token_id=1)
SHARDS = "-sharded"
SAFETENSORS = "-safetensors"
CASES = (
    ("albert-fill-mask" + SHARDS, "AlbertForMaskedLM", TEXT | dict(embedding_size=8)),
    ("bart-text2text-generation", "BartForConditionalGeneration", BART | dict(scale_embedding=True)),
    ("bert-fill-mask", "BertForMaskedLM", TEXT),
    ("bert-fill-mask" + SAFETENSORS, "BertForMaskedLM", TEXT),
    ("camembert-multiple-choice", "CamembertForMultipleChoice", TEXT | PADDED),
    ("distilbert-question-answering", "DistilBertForQuestionAnswering", DISTILBERT),
    ("electra-multiple-choice", "ElectraForMultipleChoice", TEXT | dict(embedding_size=8)),
    ("gpt2-text-generation" + SHARDS, "GPT2LMHeadModel", GPT2),
    ("marian-text2text-generation" + SAFETENSORS, "MarianMTModel", BART | dict(decoder_vocab_size=67)),
    ("mpnet-feature-extraction", "MPNetModel", TEXT | PADDED | dict(relative_attention_num_buckets=8)),
    ("roberta-token-classification", "RobertaForTokenClassification", TEXT | PADDED | LABELS),
    ("t5-text2text-generation", "T5ForConditionalGeneration", T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    ("xlm-roberta-text-classification", "XLMRobertaForSequenceClassification", TEXT | PADDED | LABELS),
)


def make_inputs(model, rng):
    """Three texts, two of them padded; for multiple choice two times three."""
    ids, mask = rng.integers(4, 67, (3, 7)), np.ones((3, 7), np.int64)
    mask[1, 5:] = mask[2, 4:] = 0
    ids[mask == 0] = model.config.pad_token_id or 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "MultipleChoice" in type(model).__name__:
        inputs = {name: np.stack([value, value[::-1]]) for name, value in inputs.items()}
    if model.config.model_type in ("albert", "bert", "electra"):
        inputs["token_type_ids"] = rng.integers(0, 2, inputs["input_ids"].shape)
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = rng.integers(4, 67, (3, 5))
    return inputs


def is_scale(name):
    return name.endswith("gamma:0") or "layer_norm/weight" in name


def record(out, name, class_name, config):
    cls = getattr(transformers, "TF" + class_name)
    model = cls(cls.config_class(**config))
    rng = np.random.default_rng(1)
    inputs = make_inputs(model, rng)
    feed = {name: tf.constant(value, tf.int32) for name, value in inputs.items()}
    model(feed, training=False)  # which makes the variables
    for variable in model.weights:
        values = rng.uniform(-0.3, 0.3, variable.shape).astype(np.float32)
        variable.assign(values + 1 if is_scale(variable.name) else values)
    outputs = model(feed, training=False)

    path = os.path.join(out, "keras-" + name)
    size = "8KB" if name.endswith(SHARDS) else "1GB"
    model.save_pretrained(path, max_shard_size=size, safe_serialization=name.endswith(SAFETENSORS))
    tensors = {"inputs/" + key: np.ascontiguousarray(value.astype(np.int64)) for key, value in inputs.items()}
    for key, value in outputs.items():
        if tf.is_tensor(value):
            tensors["outputs/" + key] = np.ascontiguousarray(value.numpy())
    save_file(tensors, os.path.join(path, "expected.safetensors"))


for case in CASES:
    record(sys.argv[1], *case)
