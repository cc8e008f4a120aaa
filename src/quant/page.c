/* src/quant/page.c: the report as one self-contained page: tables, and plots that are elements of
 * the page; no scripts, nothing is loaded. */
#include <math.h>
#include <stdlib.h>

#include "quant/report.h"

#define OPEN_WEIGHTS 40 /* of more, the table is folded away */
#define SMALL_PARTS 500 /* those below the total's 500th part share one row */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2430;--dim:#5a6675;--line:#d5dbe3;--row:#f5f7fa;"
    "--page:#fff;--was:#b9c4d4;--now:#2f6fb5;--err:#c2562d;--odd:#d99a2b}"
    "@media(prefers-color-scheme:dark){:root{--ink:#dfe5ee;--dim:#93a0b0;--line:#333d4a;"
    "--row:#1c232c;--page:#151a21;--was:#4d5a6b;--now:#5b9be0;--err:#e07b52;--odd:#e0b04f}}"
    "*{box-sizing:border-box}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--page)}"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid "
    "var(--line);overflow-wrap:anywhere}h3{font-size:1rem;margin:1.6rem 0 .3rem}"
    "p,summary{margin:.2rem 0 .6rem;color:var(--dim)}summary{cursor:pointer}"
    ".facts{display:flex;flex-wrap:wrap;gap:.6rem;padding:0;list-style:none}"
    ".facts li{border:1px solid var(--line);border-radius:.4rem;padding:.4rem .8rem;"
    "color:var(--dim)}.facts b{display:block;color:var(--ink);font-size:1.1rem;"
    "white-space:nowrap}"
    "table{border-collapse:collapse;width:100%;margin:.4rem 0 1rem}"
    "th,td{padding:.2rem .6rem;text-align:left;vertical-align:middle}"
    "th{font-weight:600;border-bottom:1px solid var(--line);white-space:nowrap}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "tr:nth-child(even)>td{background:var(--row)}.name{overflow-wrap:anywhere;min-width:13rem}"
    "a{color:var(--now);text-decoration:none}a:hover{text-decoration:underline}"
    ".same td{color:var(--dim)}"
    ".bar{width:18%;min-width:6rem}.bar i{display:block;height:.45rem;min-width:1px;"
    "background:var(--now)}.bar .was{background:var(--was)}.bar .err{height:.7rem;"
    "background:var(--err)}"
    ".key i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 .8rem;"
    "vertical-align:-.08rem;background:var(--now)}.key .was{background:var(--was)}"
    ".key .err{background:var(--err)}.key .odd{background:var(--odd)}"
    ".dots{position:relative;height:13rem;margin:1rem .6rem 1rem 4rem;"
    "border-left:1px solid var(--line)}.dots u{position:absolute;left:0;right:0;"
    "border-top:1px solid var(--line);text-decoration:none}.dots u b{position:absolute;"
    "right:100%;margin-right:.4rem;transform:translateY(-50%);font-weight:400;font-size:.8rem;"
    "color:var(--dim);white-space:nowrap}.dots i{position:absolute;width:7px;height:7px;"
    "margin:0 0 -3px -3px;border-radius:50%;background:var(--err)}"
    ".dots .odd{background:var(--odd)}"
    "@media(max-width:44rem){body{margin:1rem auto}.plot th{display:none}"
    ".plot tr{display:flex;flex-wrap:wrap;padding:.3rem 0;border-bottom:1px solid var(--line)}"
    ".plot td,.plot tr:nth-child(even)>td{background:none;padding:.1rem .3rem}"
    ".plot .name{flex:1 0 100%;font-weight:600}.plot .bar{flex:1 0 100%;width:100%}"
    ".plot td[data-l]:before{content:attr(data-l) \" \";color:var(--dim)}}";

/* ---- pieces ---- */

static void put_piece(struct om_buf *b, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '<':
            om_buf_adds(b, "&lt;");
            break;
        case '>':
            om_buf_adds(b, "&gt;");
            break;
        case '&':
            om_buf_adds(b, "&amp;");
            break;
        case '"':
            om_buf_adds(b, "&quot;");
            break;
        default:
            om_buf_addc(b, text[i]);
        }
    }
}

static void put_text(struct om_buf *b, const char *text)
{
    put_piece(b, text, strlen(text));
}

/* A path, which may break after its separators. */
static void put_path(struct om_buf *b, const char *text)
{
    while (*text) {
        const size_t len = strcspn(text, "._/:");
        char part[2] = { text[len], '\0' };

        put_piece(b, text, len);
        if (part[0] == '\0')
            break;
        om_buf_adds(b, part);
        if (strchr("._/:", text[len + 1]) == NULL) /* not within a row of them, nor at the end */
            om_buf_adds(b, "<wbr>");
        text += len + 1;
    }
}

static void put_name(struct om_buf *b, const char *text)
{
    om_buf_adds(b, "<td class=name>");
    put_path(b, text);
    om_buf_adds(b, "</td>");
}

static void put_bytes(struct om_buf *b, uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KB", "MB", "GB", "TB" };
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 1000 && u + 1 < OM_COUNT(units); u++)
        v /= 1000;
    om_buf_printf(b, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

/* label: what stands before the number where there is no room for the table's head */
static void put_size(struct om_buf *b, const char *label, uint64_t bytes)
{
    om_buf_printf(b, "<td class=n data-l=\"%s\">", label);
    put_bytes(b, bytes);
    om_buf_adds(b, "</td>");
}

static void put_real(struct om_buf *b, const char *label, double v)
{
    om_buf_printf(b, "<td class=n data-l=\"%s\">%.3g</td>", label, v);
}

static double percent(double part, double whole)
{
    return whole > 0 ? OM_MIN(100 * part / whole, 100) : 0;
}

/* Two bars: before and after, of most. */
static void put_sizes(struct om_buf *b, uint64_t before, uint64_t after, double most)
{
    om_buf_printf(b,
                  "<td class=bar><i class=was style=\"width:%.2f%%\"></i><i "
                  "style=\"width:%.2f%%\"></i></td>",
                  percent((double)before, most), percent((double)after, most));
}

static void put_error(struct om_buf *b, bool measured, double max, double relative, double most)
{
    if (!measured) {
        om_buf_adds(b, "<td class=n></td><td class=n></td><td class=bar></td>");
        return;
    }
    put_real(b, "largest", max);
    put_real(b, "relative", relative);
    om_buf_printf(b, "<td class=bar><i class=err style=\"width:%.2f%%\"></i></td>",
                  percent(relative, most));
}

static const char *verb(const struct om_quant_file *f)
{
    return f->optimized ? "optimized" : "quantized";
}

static bool any_measured(const struct om_quant_file *f)
{
    for (size_t i = 0; i < f->n_weights; i++)
        if (f->weights[i].measured)
            return true;
    return false;
}

static double weight_error(const struct om_quant_weight *w)
{
    return om_quant_relative(w->error, w->total);
}

static double worst_weight(const struct om_quant_file *f)
{
    double worst = 0;

    for (size_t i = 0; i < f->n_weights; i++)
        worst = OM_MAX(worst, weight_error(&f->weights[i]));
    return worst;
}

/* ---- facts ---- */

static void count_nodes(const struct om_quant_file *f, uint64_t *before, uint64_t *after)
{
    *before = *after = 0;
    for (size_t i = 0; i < f->n_ops; i++) {
        *before += f->ops[i].before;
        *after += f->ops[i].after;
    }
}

static void put_facts(struct om_buf *b, const struct om_quant_file *f)
{
    uint64_t before, after;

    count_nodes(f, &before, &after);
    om_buf_adds(b, "<ul class=facts><li><b>");
    put_bytes(b, f->size_before);
    om_buf_adds(b, " → ");
    put_bytes(b, f->size_after);
    om_buf_printf(b, "</b>size: %.1f %%",
                  f->size_before > 0 ? 100 * (double)f->size_after / (double)f->size_before : 0);
    om_buf_printf(b, "<li><b>%" PRIu64 " → %" PRIu64 "</b>nodes: %zu %s", before, after,
                  f->converted, f->optimized ? "fused" : "quantized");
    if (f->n_weights > 0)
        om_buf_printf(b, "<li><b>%zu</b>weights changed", f->n_weights);
    if (any_measured(f))
        om_buf_printf(b, "<li><b>%.3g</b>largest relative error of a weight", worst_weight(f));
    for (size_t i = 0; i < f->n_differences; i++) {
        const struct om_quant_difference *const d = &f->differences[i];

        if (!d->compared)
            continue;
        om_buf_printf(b, "<li><b>%.3g</b>relative error of ",
                      om_quant_relative(d->error, d->total));
        put_text(b, d->name);
        break;
    }
    om_buf_adds(b, "</ul>\n");
}

/* ---- outputs ---- */

static void put_outputs(struct om_buf *b, const struct om_quant_file *f)
{
    if (f->n_differences == 0)
        return;
    om_buf_adds(b,
                "<h3>Outputs on made-up inputs</h3><p>Largest: of one element; relative: the root "
                "of the sum of squared differences over that of squared values.</p>"
                "<table class=plot><tr><th>output<th class=n>largest magnitude"
                "<th class=n>largest<th class=n>relative</tr>\n");
    for (size_t i = 0; i < f->n_differences; i++) {
        const struct om_quant_difference *const d = &f->differences[i];

        if (!d->compared)
            continue;
        om_buf_adds(b, "<tr>");
        put_name(b, d->name);
        put_real(b, "up to", d->largest);
        put_real(b, "largest", d->max);
        put_real(b, "relative", om_quant_relative(d->error, d->total));
        om_buf_adds(b, "</tr>\n");
    }
    om_buf_adds(b, "</table>\n");
}

/* ---- layers ---- */

static void put_part(struct om_buf *b, const struct om_quant_part *p, double size, bool errors,
                     double worst)
{
    om_buf_adds(b, "<tr>");
    put_name(b, p->name);
    put_size(b, "before", p->before);
    put_size(b, "after", p->after);
    put_sizes(b, p->before, p->after, size);
    if (errors)
        put_error(b, p->measured, p->max, om_quant_relative(p->error, p->total), worst);
    om_buf_adds(b, "</tr>\n");
}

static uint64_t part_size(const struct om_quant_part *p)
{
    return OM_MAX(p->before, p->after);
}

static void put_parts(struct om_buf *b, const struct om_quant_file *f)
{
    struct om_quant_part rest = { .name = "other tensors" };
    const bool errors = any_measured(f);
    double size = 0, worst = 0, total = 0;

    for (size_t i = 0; i < f->n_parts; i++) {
        const struct om_quant_part *const p = &f->parts[i];

        size = OM_MAX(size, (double)part_size(p));
        total += (double)part_size(p);
        worst = OM_MAX(worst, om_quant_relative(p->error, p->total));
    }
    om_buf_printf(b,
                  "<h3>Layers</h3><p class=key>Bytes of a layer's tensors:<i class=was></i>before"
                  "<i></i>after%s</p><table class=plot><tr><th>layer<th class=n>before"
                  "<th class=n>after<th>size%s</tr>\n",
                  errors ? "<i class=err></i>relative error of its weights" : "",
                  errors ? "<th class=n>largest<th class=n>relative<th>error" : "");
    for (size_t i = 0; i < f->n_parts; i++) {
        const struct om_quant_part *const p = &f->parts[i];

        if (p->measured || (double)part_size(p) * SMALL_PARTS >= total) {
            put_part(b, p, size, errors, worst);
            continue;
        }
        rest.before += p->before;
        rest.after += p->after;
    }
    if (rest.before + rest.after > 0)
        put_part(b, &rest, size, errors, worst);
    om_buf_adds(b, "</table>\n");
}

/* ---- weights ---- */

/* The decades that the errors lie in. */
static bool decades(const struct om_quant_file *f, int *low, int *high)
{
    double least = INFINITY, most = 0;

    for (size_t i = 0; i < f->n_weights; i++) {
        const double e = weight_error(&f->weights[i]);

        if (!f->weights[i].measured || !(e > 0) || !isfinite(e))
            continue;
        least = OM_MIN(least, e);
        most = OM_MAX(most, e);
    }
    if (!(most > 0))
        return false;
    *low = (int)floor(log10(least));
    *high = OM_MAX((int)ceil(log10(most)), *low + 1);
    return true;
}

/* Errors of weights in their order, on a logarithmic axis; neighbouring layers differ in color. */
static void put_dots(struct om_buf *b, const struct om_quant_file *f)
{
    uint32_t part = 0;
    bool odd = false;
    int low, high;

    if (!decades(f, &low, &high))
        return;
    om_buf_adds(b, "<p class=key>Relative error of each weight, from the first layer to the last; "
                   "colors change with the layer:<i class=err></i><i class=odd></i></p>"
                   "<div class=dots>");
    for (int d = low; d <= high; d++)
        om_buf_printf(b, "<u style=\"bottom:%.2f%%\"><b>%g</b></u>", percent(d - low, high - low),
                      pow(10, d));
    om_buf_addc(b, '\n');
    for (size_t i = 0; i < f->n_weights; i++) {
        const struct om_quant_weight *const w = &f->weights[i];
        const double e = weight_error(w);

        if (!w->measured)
            continue;
        odd = odd != (i > 0 && w->part != part);
        part = w->part;
        om_buf_printf(b, "<i%s style=\"left:%.2f%%;bottom:%.2f%%\" title=\"",
                      odd ? " class=odd" : "", percent((double)i + 0.5, (double)f->n_weights),
                      e > 0 ? percent(log10(e) - low, high - low) : 0);
        put_text(b, w->name);
        om_buf_printf(b, ": %.3g\"></i>\n", e);
    }
    om_buf_adds(b, "</div>\n");
}

static void put_weight(struct om_buf *b, const struct om_quant_weight *w, double size, bool errors,
                       double worst)
{
    om_buf_adds(b, "<tr>");
    put_name(b, w->name);
    om_buf_adds(b, "<td>");
    put_text(b, w->form);
    om_buf_adds(b, "</td>");
    put_size(b, "before", w->before);
    put_size(b, "after", w->after);
    put_sizes(b, w->before, w->after, size);
    if (errors)
        put_error(b, w->measured, w->max, weight_error(w), worst);
    om_buf_adds(b, "</tr>\n");
}

static void put_weights(struct om_buf *b, const struct om_quant_file *f)
{
    const bool errors = any_measured(f);
    const double worst = worst_weight(f);
    double size = 0;

    if (f->n_weights == 0)
        return;
    for (size_t i = 0; i < f->n_weights; i++)
        size = OM_MAX(size, (double)OM_MAX(f->weights[i].before, f->weights[i].after));
    om_buf_adds(b, "<h3>Weights</h3>\n");
    put_dots(b, f);
    om_buf_printf(
        b,
        "<details%s><summary>All %zu weights. Largest: of one element; relative: the root of the "
        "sum of squared differences over that of squared elements</summary>\n"
        "<table class=plot><tr><th>weight<th>form<th class=n>before<th class=n>after<th>size%s"
        "</tr>\n",
        f->n_weights <= OPEN_WEIGHTS ? " open" : "", f->n_weights,
        errors ? "<th class=n>largest<th class=n>relative<th>error" : "");
    for (size_t i = 0; i < f->n_weights; i++)
        put_weight(b, &f->weights[i], size, errors, worst);
    om_buf_adds(b, "</table></details>\n");
}

/* ---- operators ---- */

static void put_operators(struct om_buf *b, const struct om_quant_file *f)
{
    om_buf_adds(b, "<h3>Operators</h3><table><tr><th>operator<th class=n>before<th class=n>after"
                   "</tr>\n");
    for (int same = 0; same < 2; same++)
        for (size_t i = 0; i < f->n_ops; i++) {
            const struct om_quant_op *const o = &f->ops[i];

            if ((o->before == o->after) != (same == 1))
                continue;
            om_buf_adds(b, same ? "<tr class=same>" : "<tr>");
            put_name(b, o->op.ptr);
            om_buf_printf(b, "<td class=n>%" PRIu64 "</td><td class=n>%" PRIu64 "</td></tr>\n",
                          o->before, o->after);
        }
    om_buf_adds(b, "</table>\n");
}

/* ---- the page ---- */

/* both: the page has optimized and quantized files, which may have one name. */
static void put_title(struct om_buf *b, const struct om_quant_file *f, bool both)
{
    put_path(b, f->name);
    if (strcmp(f->name, f->target) != 0) {
        om_buf_adds(b, " → ");
        put_path(b, f->target);
    } else if (both) {
        om_buf_printf(b, ", %s", verb(f));
    }
}

static void put_overview(struct om_buf *b, const struct om_quant_report *r, bool both)
{
    double most = 0;

    if (r->n < 2)
        return;
    for (size_t i = 0; i < r->n; i++)
        most = OM_MAX(most, (double)OM_MAX(r->files[i]->size_before, r->files[i]->size_after));
    om_buf_adds(b, "<table class=plot><tr><th>file<th class=n>nodes<th class=n>before"
                   "<th class=n>after<th>size</tr>\n");
    for (size_t i = 0; i < r->n; i++) {
        const struct om_quant_file *const f = r->files[i];
        uint64_t before, after;

        count_nodes(f, &before, &after);
        om_buf_printf(b, "<tr><td class=name><a href=\"#f%zu\">", i);
        put_title(b, f, both);
        om_buf_printf(b, "</a></td><td class=n data-l=nodes>%" PRIu64 " → %" PRIu64 "</td>", before,
                      after);
        put_size(b, "before", f->size_before);
        put_size(b, "after", f->size_after);
        put_sizes(b, f->size_before, f->size_after, most);
        om_buf_adds(b, "</tr>\n");
    }
    om_buf_adds(b, "</table>\n");
}

static const char *subject(const struct om_quant_report *r, bool *both)
{
    bool optimized = false, quantized = false;

    for (size_t i = 0; i < r->n; i++) {
        optimized = optimized || r->files[i]->optimized;
        quantized = quantized || !r->files[i]->optimized;
    }
    *both = optimized && quantized;
    return *both ? "optimization and quantization" : optimized ? "optimization" : "quantization";
}

void om_quant_report_page(const struct om_quant_report *r, struct om_buf *b)
{
    bool both = false;
    const char *const what = subject(r, &both);

    om_buf_printf(b,
                  "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport "
                  "content=\"width=device-width,initial-scale=1\"><title>What %s "
                  "changed</title><style>%s</style>\n<h1>What %s changed</h1>\n",
                  what, style, what);
    put_overview(b, r, both);
    for (size_t i = 0; i < r->n; i++) {
        const struct om_quant_file *const f = r->files[i];

        om_buf_printf(b, "<h2 id=f%zu>", i);
        put_title(b, f, both);
        om_buf_adds(b, "</h2>\n");
        put_facts(b, f);
        put_outputs(b, f);
        put_parts(b, f);
        put_weights(b, f);
        put_operators(b, f);
    }
    om_buf_adds(b, "</html>\n");
}

static int write_page(const char *path, const struct om_buf *page, bool durable,
                      struct om_error *err)
{
    const char *const slash = strrchr(path, '/');
    struct om_arena a = OM_ARENA_INIT(1u << 20);
    const char *const dir =
        slash ? om_arena_str(&a, (om_sv){ path, (size_t)(slash - path) + 1 }) : ".";
    struct om_out out = OM_OUT_INIT;
    int rc = dir ? om_buf_check(page, err) : om_fail(err, OM_E_NOMEM, "out of memory");

    if (rc == 0)
        rc = om_out_open(&out, dir, slash ? slash + 1 : path, NULL, err);
    if (rc == 0)
        rc = om_out_write(&out, page->ptr, page->len, err);
    if (rc == 0)
        rc = om_out_commit(&out, durable, err);
    om_out_abort(&out);
    om_arena_release(&a);
    return rc;
}

int om_quant_report_write(const struct om_quant_report *r, const char *path, bool durable,
                          struct om_error *err)
{
    struct om_buf page = OM_BUF_INIT(1u << 30);
    int rc;

    om_quant_report_page(r, &page);
    rc = write_page(path, &page, durable, err);
    om_buf_release(&page);
    return rc;
}
