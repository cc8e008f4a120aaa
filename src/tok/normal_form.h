/* src/tok/normal_form.h: Unicode normal forms C, D, KC and KD of a piece. */
#ifndef OM_TOK_NORMAL_FORM_H
#define OM_TOK_NORMAL_FORM_H

#include "tok/work.h"

enum { TOK_COMPOSE = 1 << 0, TOK_COMPATIBLE = 1 << 1 };

void tok_normal_form(struct tok_work *w, struct tok_piece *p, unsigned form);

#endif
