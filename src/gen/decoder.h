/* src/gen/decoder.h: a model of om_model_open() behind struct om_decoder. */
#ifndef OM_GEN_DECODER_H
#define OM_GEN_DECODER_H

#include "gen/gen.h"

struct om_model_decoder;

/* What the model is given besides the sequences: [batch, length] each; borrowed until it is freed.
 */
struct om_decoder_input {
    size_t batch, length;
    const int64_t *ids;  /* of the encoder; NULL: there is none */
    const int64_t *mask; /* of the prompt, or of the encoder's ids */
    bool use_cache;
    size_t max_length;  /* that sequences get; 0: not known */
    size_t most_logits; /* bytes of logits that a step may give; 0: OM_DECODER_LOGITS. A longer
                         * prompt is read in parts where the graph has a cache to keep them in */
};
#define OM_DECODER_LOGITS ((size_t)256 << 20)
/* The encoder is run here. */
int om_model_decoder_new(const struct om_model *m, const struct om_decoder_input *in,
                         struct om_model_decoder **out, struct om_error *err);
void om_model_decoder_free(struct om_model_decoder *d);
struct om_decoder om_model_decoder_steps(struct om_model_decoder *d);

#endif
